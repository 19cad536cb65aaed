// @ts-check
// What the diagram shows: all blocks, the blocks of a run, or the layers of a block.
/** @import { State } from "./state.js" */
/** @import { Kernel } from "./selection.js" */
/** @import { Card } from "./types.d.ts" */
/** @import { createEnds } from "./ends.js" */
/** @import { createSelection } from "./selection.js" */

/**
 * @param {State} state
 * @param {Kernel} kernel
 * @param {ReturnType<typeof createSelection>} chosen
 * @param {ReturnType<typeof createEnds>} ends
 */
export function createShown(state, kernel, chosen, ends) {
  const { model, network, blocks, positions, notify } = state;
  const { ask, offline, isAsked } = kernel;
  const { begin, choose, complain, needsPython, askReach } = ends;

  /** @returns {Card[]} */
  const cards = () => (state.unfolded ?? network).cards;
  /** @param {number} i */
  const cardOf = (i) => cards().findIndex(({ first, last }) => first <= i && i <= last);
  /** The card of a run of blocks, by its name. @param {string | undefined} name */
  const runOf = (name) =>
    state.opened ? undefined : cards().find((card) => card.name === name && card.name);

  /** The first or the last block of a card. @param {string} name @param {"first" | "last"} end */
  function blockOf(name, end) {
    const run = runOf(name);
    return run ? blocks[run[end]].name : name;
  }
  /** A click on a card. @param {string} name */
  function pick(name) {
    const run = runOf(name);
    if (run) unfold(run);
    else if (state.pending === null) begin(name);
    else choose(state.pending, name);
  }
  /** A click with Ctrl or Cmd on a card: one end more, or less. @param {string} name */
  function add(name) {
    if (state.pending !== null) choose(state.pending, blockOf(name, "last"));
    else if (chosen.selection().length) ends.toggle(blockOf(name, "last"));
    else pick(name);
  }
  /** A click with Shift on a card. @param {string} name @param {string} from */
  function extend(name, from) {
    choose(state.pending ?? chosen.selection()[0] ?? blockOf(from, "first"), blockOf(name, "last"));
  }
  /**
   * Show the layers of a block.
   * @param {string | undefined} name @param {string} [layer] @param {boolean} [focus]
   */
  function open(name, layer, focus = true) {
    const run = runOf(name);
    if (run) return unfold(run);
    if (state.opened || !name || isAsked("open")) return;
    if (offline()) return complain(needsPython("Opening a block"));
    ask("open", { block: name }, { answered: () => {
      const reply = model.get("_open");
      if (!reply.svg || reply.block !== name) return;
      state.opened = reply;
      state.goal = { name: layer ?? reply.calls[0].name, focus, where: layer ? "middle" : "top" };
      askReach();
    } });
  }
  /** Show the blocks of a run, with all other runs closed. @param {Card} card @param {() => void} [afterwards] */
  function unfold({ first, last, name }, afterwards) {
    if (isAsked("unfold")) return;
    if (offline()) return complain(needsPython("Opening a run of blocks"));
    const title = name ?? blocks[first].name;
    ask("unfold", { first, last }, { answered: () => {
      const reply = model.get("_unfold");
      if (!reply.svg) return;
      state.unfolded = { svg: reply.svg, cards: reply.cards, first, last, name: title };
      state.announcement = `Opened ${title}.`;
      if (afterwards) afterwards();
      else goToCard(first);
    } });
  }
  function back() {
    if (state.opened) {
      const { block } = state.opened;
      state.opened = null;
      goToCard(positions.get(block) ?? 0);
    } else if (state.unfolded) {
      const { first } = state.unfolded;
      state.unfolded = null;
      goToCard(first);
    }
    notify();
  }
  /** @param {number} i @param {boolean} [focus] */
  function goToCard(i, focus = true) {
    state.goal = { name: cards()[cardOf(i)].name ?? blocks[i].name, focus, where: "near" };
  }
  /** @param {string} block @param {string | null} layer @param {boolean} [focus] */
  function goToPlace(block, layer, focus = true) {
    state.forget();
    state.failed = false;
    const i = positions.get(block) ?? 0;
    if (state.opened && state.opened.block === block && layer) state.goal = { name: layer, focus, where: "middle" };
    else {
      state.opened = null;
      const isFolded = Boolean(cards()[cardOf(i)].name);
      const inside = () => (goToCard(i, focus), layer && !offline() && open(block, layer, focus));
      if (isFolded) unfold({ first: i, last: i }, inside);
      else inside();
    }
    notify();
  }

  return { cards, cardOf, runOf, pick, add, extend, open, back, goToPlace };
}
