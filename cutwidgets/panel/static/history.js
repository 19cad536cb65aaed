// @ts-check
/** @import { Selection } from "./types.d.ts" */
import { same } from "./text.js";

/** Past and future selections. */
export function createHistory() {
  /** @type {Selection[]} */
  const past = [];
  /** @type {Selection[]} */
  let future = [];
  /** @type {Selection} */
  let now = [];
  return {
    past: () => past.length,
    future: () => future.length,
    /** @param {Selection} selection */
    add(selection) {
      if (same(selection, now)) return;
      past.push(now);
      future = [];
      now = selection;
    },
    /**
     * The kernel renamed the requested places: one step, not two.
     * @param {Selection | undefined} requested
     * @param {Selection} selection
     */
    rename(requested, selection) {
      const isRenamed = requested && same(selection, now) && !same(requested, now);
      if (isRenamed && same(requested, past.at(-1))) past.pop();
    },
    /**
     * The selection before or after the present one, which it replaces; undefined at the end.
     * @param {boolean} back
     * @returns {Selection | undefined}
     */
    step(back) {
      const [from, to] = back ? [past, future] : [future, past];
      const next = from.pop();
      if (next === undefined) return undefined;
      to.push(now);
      now = next;
      return now;
    },
  };
}
