// @ts-check
/** @import { Tab } from "./types.d.ts" */
/** @import { Store } from "./store.js" */
import { button, download, h } from "./dom.js";
import { needsKernel } from "./messages.js";

/** @type {[string, string, string][]} Kind, label and explanation of each file. */
const KINDS = [
  ["keras", "Save slice (.keras)", ""],
  ["svg", "Download diagram (SVG)", ""],
  ["png", "Download diagram (PNG)", ""],
  ["dot", "Download diagram (DOT, for Graphviz)", ""],
  ["html", "Download panel (one HTML file)", "A page that works without Python"],
];

/** @param {Store} store @param {() => object} shown  What the pictures have to show. @returns {Tab} */
export function createSaveTab(store, shown) {
  const buttons = KINDS.map(([kind, label, title]) => button(label, title, () => save(kind)));
  const status = h("p", { class: "cw-aside", role: "status" });
  const about = h("p", { class: "cw-aside" });
  const element = h("div", { "data-part": "save", class: "cw-save" }, [...buttons, status, about]);

  /** @param {string} kind */
  function save(kind) {
    status.textContent = "Saving…";
    // Other views of this panel receive the answer too, and save nothing.
    store.ask("save", { kind, ...(kind === "keras" ? {} : shown()) }, { answered: saved });
  }
  function saved() {
    const file = store.model.get("_save");
    status.textContent = file.failed ? "" : (file.saved ?? `Downloaded as ${file.name}.`);
    if (file.content) download(file.name, file.content);
  }
  function refresh() {
    const running = store.isRunning("save");
    if (!running && status.textContent === "Saving…") status.textContent = "";
    buttons.forEach((one, i) => {
      one.disabled = running || store.offline() || (KINDS[i][0] === "keras" && store.status() !== "ready");
    });
    about.textContent = store.offline() ? needsKernel(store)
      : "The slice is saved next to the notebook; the rest is downloaded.";
  }
  return { id: "save", label: "Save", element, refresh };
}
