// @ts-check
// The diagram of what the store shows: all blocks, or the layers of one.
/** @import { Card, Refusal, View, Value, Wire } from "./types.d.ts" */
/** @import { Store } from "./store.js" */
import { h, onChange } from "./dom.js";
import { createDiagram } from "./diagram.js";
import { drawnWires, layerWires } from "./legality.js";
import { listed } from "./text.js";

/**
 * @param {Store} store
 * @param {string} prefix
 * @param {() => (Value | null)[] | null} measured  A number for each block, or null.
 * @param {import("./sizes.js").Sizes} sizes
 */
export function createCanvas(store, prefix, measured, sizes) {
  const { network } = store;
  const { blocks } = network;
  const element = h("div", { class: "cw-canvas" });
  /** @type {ReturnType<typeof createDiagram>} */
  let diagram;
  let hadFocus = false; // the diagram that is replaced
  const replace = onChange(replaceDiagram);
  const reveal = onChange((/** @type {string} */ _selection) => {
    if (store.opened() || store.pending() !== null) return;
    const ends = store.range()?.map(store.cardOf);
    const current = diagram;
    requestAnimationFrame(() => current === diagram && current.reveal(ends)); // measures
  });
  const key = h("p", { class: "cw-key", "data-part": "key", hidden: "" });

  /** @param {unknown} opened */
  function replaceDiagram(opened) {
    hadFocus = diagram?.box === document.activeElement;
    diagram?.close();
    diagram = opened ? layerDiagram() : blockDiagram();
    element.replaceChildren(diagram.box, diagram.overview, diagram.tip, key);
  }
  function blockDiagram() {
    const cards = store.cards();
    const items = cards.map((card) => {
      const part = `block-${card.first}`;
      return card.name ? { name: card.name, about: card.about, part, attribute: "data-run" }
        : { ...blocks[card.first], part, attribute: "data-block" };
    });
    const about = { label: `Blocks of ${network.name}`, prefix, sizes };
    return createDiagram((store.unfolded() ?? network).svg, items, about, store);
  }
  function layerDiagram() {
    const { block, svg, calls } = /** @type {import("./types.d.ts").Opened} */ (store.opened());
    const items = calls.map((call) => ({ ...call, part: call.id, attribute: "data-layer" }));
    return createDiagram(svg, items, { label: `Layers of ${block}`, prefix, sizes }, store);
  }

  function refresh() {
    replace(store.opened(), store.unfolded());
    diagram.show(store.opened() ? layerView() : blockView());
    showKey();
    const goal = store.takeGoal();
    if (goal) diagram.goTo(goal);
    else reveal(JSON.stringify(store.selection()));
    if (hadFocus && !goal?.focus) diagram.box.focus({ preventScroll: true });
    hadFocus = false;
  }

  /** What the thick lines in the diagram mean. */
  function showKey() {
    const [crossing, extra] = [store.crossing(), store.extra()];
    const [isCrossed, isEntered] = [crossing.length > 0, extra.names.length > 0];
    key.hidden = !isCrossed && !isEntered;
    key.classList.toggle("cw-of-crossing", isCrossed);
    key.textContent = isCrossed ? "bypasses the start"
      : isEntered ? `extra input: ${listed(extra.names)}` : "";
  }

  /** @returns {View} */
  function blockView() {
    const [cards, range, pending] = [store.cards(), store.range(), store.pending()];
    const first = pending === null ? range?.[0] : store.positions.get(pending);
    const values = measured();
    return {
      lit: (k) => {
        const { first: from, last: to } = cards[k];
        if (pending !== null) return first !== undefined && from <= first && first <= to;
        return range !== undefined && range[0] <= to && from <= range[1];
      },
      reason: (k) => withEdges(refusalOfCard(cards[k]), edges),
      chosen: pending === null && Boolean(range),
      flags: pending !== null && first !== undefined ? [[store.cardOf(first), "START"]]
        : pending === null && range
          ? flagsOn([store.cardOf(range[0])], store.endBlocks().map(store.cardOf)) : [],
      ends: severalOf(store.endBlocks().map(store.cardOf)),
      values: values && cards.map((card) => (card.name ? null : values[card.first])),
      crossing: edges(store.crossing()),
      entering: edges(store.extra().wires),
    };
  }
  /** Why none of a card's blocks can be the end. @param {Card} card */
  function refusalOfCard({ first, last }) {
    /** @type {Refusal | null} */
    let refusal = null;
    for (let i = first; i <= last; i++) {
      refusal = store.refusalOf(blocks[i].name);
      if (!refusal) return null;
    }
    return refusal;
  }
  /** @param {readonly Wire[]} wires */
  function edges(wires) {
    return wires.length ? drawnWires(network, store.cards(), wires, diagram.has) : [];
  }
  /** @param {Refusal | null} refusal @param {(wires: readonly Wire[]) => string[]} draw */
  function withEdges(refusal, draw) {
    return refusal && { ...refusal, edges: draw(refusal.wires ?? []) };
  }

  /** The cards of the ends, if the slice has several. @param {number[]} cards */
  function severalOf(cards) {
    return store.pending() === null && store.chosenEnds().length > 1 ? cards : [];
  }
  /** @returns {View} */
  function layerView() {
    const opened = /** @type {import("./types.d.ts").Opened} */ (store.opened());
    const { block, calls } = opened;
    const [pending, inside] = [store.pending(), new Set(store.result()?.calls)];
    /** @param {import("./types.d.ts").Place | undefined} place @param {number} edge */
    const at = (place, edge) => {
      const i = place === block ? edge : calls.findIndex((call) => call.name === place);
      return i < 0 ? [] : [i];
    };
    const start = at(pending ?? store.selection()[0], 0);
    const ends = pending !== null ? []
      : store.chosenEnds().flatMap(({ place }) => at(place, calls.length - 1));
    const flags = flagsOn(start, ends);
    /** @param {number} i */
    const lit = (i) => (pending === null ? inside.has(calls[i].index) : calls[i].name === pending);
    const chosen = pending === null && inside.size > 0 && !calls.every((_, i) => lit(i));
    /** @param {readonly Wire[]} wires */
    const draw = (wires) => layerWires(opened, wires);
    return {
      lit, chosen, flags, ends: severalOf(ends),
      reason: (i) => withEdges(store.refusalOf(calls[i].name), draw),
      crossing: draw(store.crossing()),
      entering: draw(store.extra().wires),
    };
  }
  return {
    element, refresh,
    zoom: () => diagram.zoom,
    hideTip: () => diagram.hideTip(),
    close: () => diagram.close(),
  };
}

/**
 * The flags on the cards of start and ends, each once.
 * @param {number[]} starts
 * @param {number[]} ends
 * @returns {[number, string][]}
 */
function flagsOn(starts, ends) {
  return [...starts.map((i) => /** @type {[number, string]} */ ([i, "START"])),
    ...[...new Set(ends)].map((i) => /** @type {[number, string]} */ ([i, "END"]))];
}
