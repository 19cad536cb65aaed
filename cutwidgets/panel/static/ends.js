// @ts-check
// Choosing start and end: which ends a start has, why others are refused, and what to do instead.
/** @import { State } from "./state.js" */
/** @import { Kernel } from "./selection.js" */
/** @import { Action, End, Message, Place, Reach, Reason, Refusal, Wire } from "./types.d.ts" */
/** @import { createSelection } from "./selection.js" */
import {
  forbids, nearestStarts, reasonOf, refusal, waysOut, waysOutOfSeveral, wording,
} from "./legality.js";
import { areSeveral, placesOf, toggledEnd } from "./several.js";

const RUN_THE_CELL = "Run this cell again.";
export const LOST = "The kernel does not answer: it was restarted, has stopped, or has been busy " +
  `for a minute. ${RUN_THE_CELL}`;

/**
 * @param {State} state
 * @param {Kernel} kernel
 * @param {ReturnType<typeof createSelection>} chosen
 */
export function createEnds(state, kernel, chosen) {
  const { model, network, blocks, names, positions, notify } = state;
  const { selection, chosenEnds, whole, result, set, select } = chosen;
  const { ask, lost, offline } = kernel;
  /** @type {Map<string | number, Reach[]>} What the kernel told of the ends of each start. */
  const reaches = new Map();

  /** @param {string} name */
  function begin(name) {
    state.pending = name;
    state.forget();
    state.announcement = `Start: ${name}. Choose the end.`;
    askReach();
    notify();
  }
  /** @param {Place} start @param {End} end */
  function choose(start, end) {
    for (const place of placesOf(end)) {
      const reason = reasonFor(start, place);
      if (reason && forbids(reason, model.get("allow_bypass"))) {
        return explain(start, String(place), reason, areSeveral(end) ? end : undefined);
      }
    }
    select([start, end]);
  }
  /** Add an end to the slice, or remove it. @param {Place} place */
  function toggle(place) {
    const [start, end] = selection();
    if (start === undefined || end === undefined) return begin(String(place));
    const wanted = toggledEnd(end, place);
    if (wanted === undefined) complain(`${place} is the only end. Add another one before you remove it.`);
    else choose(start, wanted);
  }
  /** @param {Place} start @param {string} end @param {Reason} reason @param {End} [wanted] */
  function explain(start, end, reason, wanted) {
    state.explanation = null;
    state.refusedPair = { start, end, wanted };
    state.announcement = wording(reason, start, `at ${end}`);
    askReach();
    notify();
  }
  function clear() {
    if (state.pending !== null) {
      state.pending = null;
      state.forget();
      state.announcement = "Start cleared.";
      askReach();
      notify();
    } else if (state.explanation || state.refusedPair) {
      state.forget();
      notify();
    } else select([]);
  }
  /** Why the selected blocks make no slice, as the page itself knows. @returns {Refusal | null} */
  function refused() {
    const start = positions.get(selection()[0] ?? "");
    for (const { place } of chosenEnds()) {
      const end = positions.get(place);
      if (start === undefined || end === undefined) continue;
      const reason = refusal(network, start, end, model.get("allow_bypass"));
      if (reason) return reason;
    }
    return null;
  }

  /**
   * The kernel's answer on a start, and on the layers of a block if they are meant.
   * @param {string | number} start @param {string | null} block
   */
  function told(start, block) {
    return reaches.get(start)?.find((reach) => block === null || reach.block === block);
  }
  /**
   * Why a slice cannot run from one place to another; null if it can, undefined until the kernel
   * has told.
   * @param {string | number} start @param {string | number} end
   * @returns {Reason | null | undefined}
   */
  function reasonFor(start, end) {
    const to = positions.get(end);
    if (to === undefined) return undefined;
    const isBlock = names.has(String(end));
    const reach = told(start, isBlock ? null : blocks[to].name);
    if (reach?.blocks && isBlock) return reach.blocks[to] ?? null;
    if (reach?.layers && !isBlock) return reach.layers[end] ?? null;
    const from = positions.get(start);
    if (from === undefined || !isBlock || !names.has(String(start))) return undefined;
    return reasonOf(network, from, to);
  }
  /**
   * Why a place cannot be the end while a start is pending.
   * @param {string} end
   * @returns {Refusal | null}
   */
  function refusalOf(end) {
    const reason = state.pending === null ? null : reasonFor(state.pending, end);
    if (!reason || state.pending === null || !forbids(reason, model.get("allow_bypass"))) return null;
    return { text: wording(reason, state.pending), wires: reason.wires };
  }
  /** @param {string | number} place */
  function blockAround(place) {
    const i = positions.get(place);
    return i === undefined || names.has(String(place)) ? null : blocks[i].name;
  }
  /** Ask for the ends of the start, and whether a refused slice can be swapped, if not known. */
  function askReach() {
    if (offline() || kernel.isAsked("reach")) return;
    /** @type {[string | number, string | null][]} */
    const wanted = [];
    const start = state.pending ?? selection()[0];
    // Of the other starts, the page knows the ends itself; the question would delay the slice.
    const needsKernel = state.refusedPair || state.opened || !names.has(String(start));
    if (start !== undefined && needsKernel) wanted.push([start, state.opened?.block ?? null]);
    const [first, last] = state.refusedPair ? [state.refusedPair.start, state.refusedPair.end]
      : result()?.reason ? selection() : [];
    if (first !== undefined && last !== undefined && !areSeveral(last)) {
      wanted.push([last, blockAround(first)]); // swapped
    }
    const next = wanted.find((one) => !told(...one));
    if (!next) return;
    const [from, block] = next;
    ask("reach", { start: from, block }, { isQuiet: true, answered: () => {
      const reply = model.get("_reach");
      const isThis = reply?.start === from && reply.block === block;
      const answer = isThis ? reply : { start: from, block }; // failed, or another view was faster
      reaches.set(from, [...reaches.get(from) ?? [], answer]);
      askReach();
    } });
  }
  /** @returns {Wire[]} What makes a slice impossible: that of a click, or the selected one. */
  function crossing() {
    if (state.refusedPair) return reasonFor(state.refusedPair.start, state.refusedPair.end)?.wires ?? [];
    return state.pending === null ? result()?.reason?.wires ?? [] : [];
  }
  /**
   * The inputs of the slice beside those of its start.
   * @returns {{names: string[], wires: Wire[]}}
   */
  function extra() {
    return (state.pending === null && result()?.extra) || { names: [], wires: [] };
  }
  /**
   * @param {string | number} start @param {string} end @param {Reason} reason
   * @param {[Place, Place][]} [nearest]
   */
  function instead(start, end, reason, nearest) {
    const [allow, from, to] = [model.get("allow_bypass"), positions.get(start), positions.get(end)];
    const back = reason.kind === "before" ? reasonFor(end, start) : undefined;
    const canSwap = back !== undefined && !forbids(back, allow);
    /** @type {[Place, Place][]} */
    let near = nearest ?? [];
    if (!nearest && reason.kind === "bypassed" && from !== undefined && to !== undefined) {
      const starts = names.has(end) ? nearestStarts(network, from, to) : [to];
      near = starts.map((i) => [blocks[i].name, end]);
    }
    return waysOut({ start, end, reason, canSwap, nearest: near });
  }
  /** @param {Action} action */
  function act(action) {
    if (action.begin !== undefined) begin(action.begin);
    else if (action.selection) select(action.selection, action.allow_bypass);
    else set({ allow_bypass: Boolean(action.allow_bypass) });
    // The button goes, the focus must not.
    const place = action.begin ?? placesOf(action.selection?.[1]).at(-1);
    if (place !== undefined) state.goal = { name: String(place), focus: true, where: "near" };
  }

  /** @returns {Message} What went wrong, or why a click did nothing. */
  function message() {
    if (state.explanation) return state.explanation;
    if (state.refusedPair) {
      const { start, end, wanted } = state.refusedPair;
      const reason = reasonFor(start, end);
      if (reason) {
        const actions = wanted === undefined ? instead(start, end, reason)
          : waysOutOfSeveral(start, wanted, end, reason);
        return { text: wording(reason, start, `at ${end}`), actions };
      }
    }
    if (lost() && !kernel.isDetached()) return { text: LOST, actions: [] };
    if (kernel.isDetached()) {
      return { text: (whole() && refused()?.text) || "", actions: [] };
    }
    const latest = result();
    if (!latest && !state.failed) return { text: "", actions: [] };
    if (state.pending !== null && !state.failed) return { text: "", actions: [] };
    if (state.failed || !latest?.reason) return { text: model.get("error"), actions: [] };
    const [start, end] = selection();
    const actions = start === undefined || areSeveral(end) ? latest.actions ?? []
      : instead(start, String(end), latest.reason, latest.nearest);
    return { text: model.get("error"), actions };
  }
  /** @param {string} what */
  function needsPython(what) {
    return `${what} needs Python${kernel.isDetached() ? ", which a saved page does not have." : `. ${RUN_THE_CELL}`}`;
  }
  /** An error of the page itself. @param {string} text */
  function complain(text) {
    state.forget();
    state.explanation = { text, actions: [] };
    notify();
  }
  return {
    begin, choose, toggle, clear, act, message, complain, needsPython, askReach,
    refused, refusalOf, crossing, extra,
  };
}
