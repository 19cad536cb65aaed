// @ts-check
// A view of a CutPanel: it draws what the kernel computed, and sends what the user chose.
/** @import { Model } from "./types.d.ts" */
/** @import { Sizes } from "./sizes.js" */
import { createCanvas } from "./canvas.js";
import { createCheckTab } from "./check.js";
import { createCodeTab } from "./code.js";
import { createControls, createToolbar } from "./controls.js";
import { createCostsTab } from "./costs.js";
import { button, h, isDark } from "./dom.js";
import { createForwardTab } from "./forward.js";
import { createLabTab } from "./lab.js";
import { createLayout } from "./layout.js";
import { createMessageBox, createStatusLine } from "./messages.js";
import { createSaveTab } from "./save.js";
import { limitsOf } from "./scale.js";
import { placesOf } from "./several.js";
import { createStore } from "./store.js";
import { createSummaryTab } from "./summary.js";
import { createSurgeryTab } from "./surgery.js";
import { FLAG } from "./svg.js";
import { createTabs } from "./tablist.js";

/** @param {Model} model @param {string} prefix @param {Sizes} sizes */
export function createPanel(model, prefix, sizes) {
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
    createCodeTab(store), createCostsTab(store), createSurgeryTab(store, prefix), lab,
    createSaveTab(store, shown)].filter(({ id }) => shows.has(id));
  const tabList = createTabs(store, tabs, prefix);
  const run = createRunButton();
  const controls = createControls(store, { prefix, hasDiagram, run: shows.has("run") ? run.element : null });
  const canvas = hasDiagram ? createCanvas(store, prefix, lab.values, sizes) : null;
  const toolbar = canvas && createToolbar(store, canvas.zoom);
  const message = createMessageBox(store);
  const status = createStatusLine(store);
  const live = h("div", { class: "cw-live", "aria-live": "polite" });
  const left = canvas && toolbar && h("div", { class: "cw-left" }, [toolbar.row, canvas.element]);
  const right = h("div", { class: "cw-right" }, // nothing above the tabs may move them
    [tabList.list, status.element, message.element, ...tabList.panels]);
  const hasRow = Boolean(left) || shows.has("run");
  const isDivided = Boolean(left) && tabs.length > 0;
  const body = h("div", { class: isDivided ? "cw-body" : "cw-body cw-single" });
  /** @type {HTMLElement} */
  const root = h("div", { class: "cutwidgets cw-panel" });
  const layout = createLayout(root, body, sizes, hasDiagram ? widthOf(store.network.svg) : 0);
  (toolbar?.row ?? (hasRow ? controls.row : root)).append(layout.buttons);
  body.append(...[left, isDivided && layout.divider, right].filter((one) => one instanceof Node));
  root.append(...[hasRow && controls.row, left && controls.below, body, layout.handle, live]
    .filter((one) => one instanceof Node));
  root.addEventListener("keydown", pressed);

  function createRunButton() {
    const element = button("Run", "Run the slice on the photograph", () => {
      if (store.isRunning("run")) return;
      store.ask("run");
      store.show("run");
      showResult();
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

  let wasPending = false;
  /** In one column, the result of the second click is brought into sight, if it is not. */
  function showChosen() {
    const isPending = store.pending() !== null;
    const isChosen = wasPending && !isPending && store.selection().length;
    if (isChosen) requestAnimationFrame(showResult); // measuring now would delay the highlight
    wasPending = isPending;
  }
  function showResult() {
    if (!layout.isStacked() || !isDivided) return;
    const { top } = right.getBoundingClientRect();
    if (top < 0 || top > innerHeight - 100) right.scrollIntoView();
  }

  function refresh() {
    canvas?.refresh(); // first: a click lights up before anything else
    controls.refresh();
    toolbar?.refresh();
    run.refresh();
    status.refresh();
    message.refresh();
    tabList.refresh();
    showChosen();
    if (live.textContent !== store.announcement()) live.textContent = store.announcement();
    const isShown = store.status() === "ready" || (store.offline() && store.whole() && isLegal());
    const [start, end] = store.selection();
    const shownSlice = isShown && start !== undefined ? `${start}..${placesOf(end).join()}` : "";
    if (!shownSlice) delete root.dataset.selection;
    else if (root.dataset.selection !== shownSlice) root.dataset.selection = shownSlice;
    const isWaiting = ["waiting", "busy"].includes(store.status());
    if (isWaiting) root.setAttribute("aria-busy", "true");
    else root.removeAttribute("aria-busy");
  }
  function isLegal() {
    return store.range() !== undefined && !store.refused();
  }

  return {
    root,
    start() {
      layout.refresh();
      store.subscribe(refresh);
      const saved = tabs.find(({ id }) => id === model.get("_tab")); // of a page in a file
      store.show((saved ?? tabs[0])?.id ?? "");
    },
    close() {
      store.close();
      canvas?.close();
      layout.close();
      tabs.forEach((tab) => tab.close?.());
    },
  };
}

/** Pixels that a diagram takes with all beside it, at the least scale. @param {string} svg */
function widthOf(svg) {
  const width = Number(/viewBox="\S+ \S+ (\S+)/.exec(svg)?.[1] ?? 0);
  return (width + FLAG) * limitsOf(9, 1).least + 110; // 110: the map and the scroll bar
}
