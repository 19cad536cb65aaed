// @ts-check
// A view of a CutPanel: it draws what the kernel computed, and sends what the user chose.
/** @import { Model } from "./types.d.ts" */
import { createCanvas } from "./canvas.js";
import { createCheckTab } from "./check.js";
import { createCodeTab } from "./code.js";
import { createControls, createToolbar } from "./controls.js";
import { createCostsTab } from "./costs.js";
import { button, h, isDark } from "./dom.js";
import { createForwardTab } from "./forward.js";
import { createLabTab } from "./lab.js";
import { createMessageBox, createStatusLine } from "./messages.js";
import { createSaveTab } from "./save.js";
import { createStore } from "./store.js";
import { createSummaryTab } from "./summary.js";
import { createSurgeryTab } from "./surgery.js";
import { createTabs } from "./tablist.js";

/** @param {Model} model @param {string} prefix */
export function createPanel(model, prefix) {
  const store = createStore(model);
  const shows = new Set(model.get("_parts"));
  const hasDiagram = shows.has("diagram");
  const lab = createLabTab(store);
  const shown = () => {
    const run = store.unfolded();
    return {
      colours: lab.values() !== null, unfolded: run && [run.first, run.last], dark: isDark(root),
      tab: store.tab(),
    };
  };
  const tabs = [createSummaryTab(store), createForwardTab(store), createCheckTab(store),
    createCodeTab(store), createCostsTab(store), createSurgeryTab(store), lab,
    createSaveTab(store, shown)].filter(({ id }) => shows.has(id));
  const tabList = createTabs(store, tabs, prefix);
  const run = createRunButton();
  const controls = createControls(store, { prefix, hasDiagram, run: shows.has("run") ? run.element : null });
  const canvas = hasDiagram ? createCanvas(store, prefix, lab.values) : null;
  const toolbar = canvas && createToolbar(store, canvas.zoom);
  const message = createMessageBox(store);
  const status = createStatusLine(store);
  const live = h("div", { class: "cw-live", "aria-live": "polite" });
  const left = canvas && toolbar && h("div", { class: "cw-left" }, [toolbar.row, canvas.element]);
  const right = h("div", { class: "cw-right" }, // nothing above the tabs may move them
    [tabList.list, status.element, message.element, ...tabList.panels]);
  /** @type {HTMLElement} */
  const root = h("div", { class: "cutwidgets cw-panel" }, [
    left || shows.has("run") ? controls.row : null,
    left ? controls.below : null,
    h("div", { class: left && tabs.length ? "cw-body" : "cw-body cw-single" }, [left, right]),
    live,
  ]);
  root.addEventListener("keydown", pressed);

  function createRunButton() {
    const element = button("Run", "Run the slice on the photograph", () => {
      if (store.isRunning("run")) return;
      store.ask("run");
      store.show("run");
    });
    element.dataset.part = "run";
    function refresh() {
      const running = store.isRunning("run");
      element.textContent = running ? "Running…" : "Run";
      element.setAttribute("aria-disabled", String(running));
      element.disabled = store.offline() || store.status() !== "ready" || store.pending() !== null;
    }
    return { element, refresh };
  }

  /** @param {KeyboardEvent} event */
  function pressed(event) {
    const target = /** @type {HTMLElement} */ (event.target);
    const undo = (event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z";
    if (target.matches("input[type=search]")) return;
    if (undo) store.step(!event.shiftKey);
    else if (event.key === "Escape" && target.tagName !== "SELECT") {
      canvas?.hideTip();
      store.clear();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  function refresh() {
    canvas?.refresh(); // first: a click lights up before anything else
    controls.refresh();
    toolbar?.refresh();
    run.refresh();
    status.refresh();
    message.refresh();
    tabList.refresh();
    if (live.textContent !== store.announcement()) live.textContent = store.announcement();
    const isShown = store.status() === "ready" || (store.offline() && store.whole() && isLegal());
    if (isShown && store.selection().length) root.dataset.selection = store.selection().join("..");
    else delete root.dataset.selection;
    const isWaiting = ["waiting", "busy"].includes(store.status());
    if (isWaiting) root.setAttribute("aria-busy", "true");
    else root.removeAttribute("aria-busy");
  }
  function isLegal() {
    const range = store.range();
    return range !== undefined && !store.refused(...range);
  }

  return {
    root,
    start() {
      store.subscribe(refresh);
      const saved = tabs.find(({ id }) => id === model.get("_tab")); // of a page in a file
      store.show((saved ?? tabs[0])?.id ?? "");
    },
    close() {
      store.close();
      canvas?.close();
      tabs.forEach((tab) => tab.close?.());
    },
  };
}
