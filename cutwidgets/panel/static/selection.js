// @ts-check
// What is selected, and the kernel's answer to it.
/** @import { State } from "./state.js" */
/** @import { Status } from "./types.d.ts" */
/** @import { createKernel } from "./kernel.js" */
import { createHistory } from "./history.js";
import { same } from "./text.js";

/** @typedef {ReturnType<typeof createKernel>} Kernel */

/**
 * @param {State} state
 * @param {Kernel} kernel
 */
export function createSelection(state, kernel) {
  const { model, names, positions, notify } = state;
  const history = createHistory();

  /** @returns {(string | number)[]} */
  const selection = () => model.get("selection") ?? [];
  const whole = () => selection().every((place) => names.has(String(place)));

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
    const [start, end] = selection().map((place) => positions.get(place));
    if (start !== undefined && end !== undefined && start <= end) return [start, end];
    return result()?.range;
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
  /** @param {readonly (string | number)[]} places @param {boolean} [allow] */
  function select(places, allow) {
    state.pending = null;
    set(allow === undefined ? { selection: places } : { selection: places, allow_bypass: allow });
    notify(); // at once: the highlight does not wait for the kernel
  }
  /** @param {boolean} back */
  function step(back) {
    const places = history.step(back);
    if (places) select(places);
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
  return { history, selection, whole, result, range, status, set, select, step, changed, settle };
}
