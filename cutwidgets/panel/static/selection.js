// @ts-check
// What is selected, and the kernel's answer to it.
/** @import { State } from "./state.js" */
/** @import { Selection, Status } from "./types.d.ts" */
/** @import { createKernel } from "./kernel.js" */
import { createHistory } from "./history.js";
import { keyedEnds, placesOf } from "./several.js";
import { same } from "./text.js";

/** @typedef {ReturnType<typeof createKernel>} Kernel */

/**
 * @param {State} state
 * @param {Kernel} kernel
 */
export function createSelection(state, kernel) {
  const { model, names, positions, notify } = state;
  const history = createHistory();

  /** @returns {Selection} */
  const selection = () => model.get("selection") ?? [];
  const chosenEnds = () => keyedEnds(selection()[1]);
  /** Start and ends. */
  function places() {
    const [start, end] = selection();
    return start === undefined ? [] : [start, ...placesOf(end)];
  }
  const whole = () => places().every((place) => names.has(String(place)));

  /** The kernel's answer to the selection, or undefined. */
  function result() {
    const answer = model.get("_result");
    return same(answer.selection, selection()) && isCurrent(answer) ? answer : undefined;
  }
  // A saved view may be older than the current choice of these.
  /** @param {any} answer */
  function isCurrent(answer) {
    const chosen = ["allow_bypass", "weights"];
    return chosen.every((key) => answer[key] === undefined || answer[key] === model.get(key));
  }

  /**
   * First and last block of the selection. For a tensor, only the kernel knows them.
   * @returns {[number, number] | undefined}
   */
  function range() {
    const [start, ...ends] = places().map((place) => positions.get(place));
    const isKnown = start !== undefined && ends.every((end) => end !== undefined && start <= end);
    return isKnown ? [start, Math.max(...ends.map(Number))] : result()?.range;
  }
  /** Positions of the blocks that the slice ends in. @returns {number[]} */
  function endBlocks() {
    const ends = chosenEnds().map(({ place }) => positions.get(place));
    if (ends.length > 1 && ends.every((end) => end !== undefined)) return ends.map(Number);
    return result()?.ends ?? range()?.slice(1) ?? [];
  }

  /** @returns {Status} */
  function status() {
    if (!selection().length) return state.pending === null ? "none" : "pending";
    const answer = result();
    if (answer?.rows) return "ready";
    if (answer) return "refused";
    if (model.offline) return "offline";
    return { live: /** @type {const} */ ("waiting"), busy: /** @type {const} */ ("busy"),
      lost: /** @type {const} */ ("lost") }[kernel.connection()];
  }


  /** @param {Record<string, unknown>} values */
  function set(values) {
    state.forget();
    kernel.save(values);
  }
  /** @param {Selection} chosen @param {boolean} [allow] */
  function select(chosen, allow) {
    state.pending = null;
    set(allow === undefined ? { selection: chosen } : { selection: chosen, allow_bypass: allow });
    notify(); // at once: the highlight does not wait for the kernel
  }
  /** @param {boolean} back */
  function step(back) {
    const other = history.step(back);
    if (other) select(other);
  }
  function changed() {
    state.pending = null;
    state.forget();
    state.failed = false;
    history.add(selection());
  }
  // An answer carries its selection; one for an older selection is not shown.
  function settle() {
    const latest = result();
    history.rename(latest?.requested, selection());
    if (latest) state.announcement = latest.announcement ?? state.announcement;
    kernel.expect(!latest && !model.offline);
    notify();
  }
  return {
    history, selection, chosenEnds, endBlocks, whole, result, range, status, set, select, step,
    changed, settle,
  };
}
