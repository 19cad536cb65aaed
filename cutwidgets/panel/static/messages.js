// @ts-check
// What went wrong, and what belongs to the current slice.
/** @import { Status } from "./types.d.ts" */
/** @import { Store } from "./store.js" */
import { button, empty, h, onChange } from "./dom.js";
import { titleOf } from "./text.js";

const NEEDS_PYTHON = "This needs Python: it was not computed before the page was saved.";

/** @type {Record<Exclude<Status, "ready">, string>} Why there is nothing to show. */
const NOTHING = {
  none: "No slice yet: choose a start and an end.",
  pending: "No slice yet: choose its end.",
  waiting: "Waiting for the kernel…",
  busy: "Waiting for the kernel, which is busy…",
  refused: "This cut is not possible (see above).",
  lost: "This needs the kernel, which does not answer (see above).",
  offline: NEEDS_PYTHON,
};

/**
 * Why something cannot be computed now: there is no kernel, or none any more.
 * @param {Store} store
 */
export function needsKernel(store) {
  return store.isDetached() ? NEEDS_PYTHON : NOTHING.lost;
}

/**
 * Why a tab has nothing to show; null where the slice is ready.
 * @param {Store} store
 */
export function nothing(store) {
  const isLost = store.lost() && store.selection().length;
  const status = isLost ? (store.isDetached() ? "offline" : "lost") : store.status();
  return status === "ready" ? null : empty(NOTHING[status]);
}

/**
 * The error or explanation, with buttons for what works instead.
 * @param {Store} store
 */
export function createMessageBox(store) {
  const element = h("div", { class: "cw-error", "data-part": "error", role: "alert" });
  const draw = onChange((/** @type {string} */ _key) => {
    const { text, actions } = store.message();
    if (!text) return element.replaceChildren();
    const buttons = actions.map((action) => button(action.label, "", () => store.act(action)));
    element.replaceChildren(text, h("span", { class: "cw-actions" }, buttons));
  });
  return { element, refresh: () => draw(JSON.stringify(store.message())) };
}

/**
 * A line that says which slice the tabs show, and whether that is still the selected one.
 * @param {Store} store
 */
export function createStatusLine(store) {
  const element = h("p", { class: "cw-status", "data-part": "status", role: "status" });
  function text() {
    const [selection, pending] = [store.selection(), store.pending()];
    const title = selection.length ? titleOf(...selection) : "";
    if (store.lost() && !store.isDetached()) return "The kernel does not answer.";
    if (store.connection() === "busy") return "The kernel is busy. This panel goes on when it is free.";
    if (pending !== null && title) return `Shown below: the previous slice, ${title}. Choose the new end.`;
    if (pending !== null) return "Choose the end of the slice.";
    return title ? `Slice: ${title}` : "No slice yet.";
  }
  const draw = onChange((/** @type {string} */ words, /** @type {boolean} */ isOld) => {
    element.textContent = words;
    element.title = words;
    element.classList.toggle("cw-old", isOld);
  });
  return { element, refresh: () => draw(text(), store.pending() !== null || store.lost()) };
}
