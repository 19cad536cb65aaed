// @ts-check
/** @import { Tab, Value } from "./types.d.ts" */
/** @import { Store } from "./store.js" */
import { colourOf, SCALE } from "./colours.js";
import { button, cost, empty, h, listing, onChange, OWN_KEYS, table } from "./dom.js";
import { createJob } from "./job.js";
import { needsKernel } from "./messages.js";

/**
 * @typedef {{name: string, label: string, about: string, missing: string}} Study
 * @param {Store} store
 * @returns {Tab & {values(): (Value | null)[] | null}}
 */
export function createLabTab(store) {
  const { model, network } = store;
  /** @type {Study[]} */
  const studies = model.get("_experiments").studies;
  const hasDiagram = model.get("_parts").includes("diagram");
  const select = h("select", { "data-part": "experiment", ...OWN_KEYS },
    studies.map(({ name, label, missing }) => h("option",
      { value: name, ...(missing ? { disabled: "" } : {}) }, label)));
  const run = button("Run experiment", "Run the experiment, and colour the diagram by its result",
    () => store.ask("lab", { study: select.value }));
  const colours = button("", "", () => {
    coloured = !coloured;
    store.notify();
  });
  const about = h("p", { class: "cw-aside" });
  const job = createJob(store, "lab", "experiment");
  const outcome = h("div", {});
  const tools = h("div", { class: "cw-tools" }, [h("label", {}, ["Experiment ", select]), run]);
  const element = h("div", { "data-part": "lab" }, [tools, about, job.element, outcome]);
  let coloured = model.get("_coloured") ?? true; // a page in a file begins as it was saved
  const drawAbout = onChange(showAbout);
  const draw = onChange(drawOutcome);
  let drawn = false;
  const computeValues = createValues();
  select.addEventListener("change", refresh);

  function refresh() {
    const focused = document.activeElement;
    const running = job.refresh();
    tools.hidden = store.offline();
    about.hidden = store.offline();
    select.disabled = running;
    run.disabled = running;
    if (running && focused === run) job.stop.focus();
    if (!running && focused === job.stop) run.focus();
    outcome.hidden = running;
    colours.textContent = coloured ? "Clear colours" : "Colour the diagram";
    drawAbout(select.value, model.get("_experiments"));
    draw(store.answer("lab"), store.hasFailed("lab"), store.offline());
  }

  /** @param {string} chosen */
  function showAbout(chosen) {
    const { on, dropped } = model.get("_experiments");
    const words = studies.find(({ name }) => name === chosen)?.about ?? "";
    const missing = [...new Set(studies.map((study) => study.missing))].filter(Boolean);
    const lines = [`${words} Uses ${on}.`, dropped, ...missing].filter(Boolean);
    // Code is not broken across lines.
    /** @param {string} line */
    const parts = (line) => line.split(/(CutPanel\(.*\))/)
      .map((part, i) => (i % 2 ? h("code", {}, part) : part));
    about.replaceChildren(...lines.map((line) => h("span", {}, parts(line))));
  }

  /** @param {any} result @param {boolean} failed */
  function drawOutcome(result, failed) {
    if (result?.values) {
      if (drawn) coloured = true;
      drawn = true;
      colours.textContent = coloured ? "Clear colours" : "Colour the diagram";
      return outcome.replaceChildren(...drawResult(result));
    }
    outcome.replaceChildren(empty(result?.stopped ? "Stopped."
      : failed ? "The experiment failed (see above)." : store.offline() ? needsKernel(store) : ""));
  }

  /** @param {any} result */
  function drawResult(result) {
    const most = Math.max(...result.values) || 1;
    const names = network.blocks.map((block) => block.name);
    const rows = result.rows.map((/** @type {string[]} */ [name, text, ...others]) =>
      [name, cost(text, result.values[names.indexOf(name)] / most), ...others]);
    return [
      h("p", { "data-part": "finding" }, result.finding),
      h("p", { class: "cw-aside" }, `Measured on ${result.on}.`),
      ...(hasDiagram ? [h("div", { class: "cw-colours" }, [legend(result), colours])] : []),
      table("Result by block", result.columns, rows),
      listing(result.code),
    ];
  }

  // What the diagram shows: for each block a number on its colour, or null.
  function values() {
    const isShown = coloured && ["lab", "save"].includes(store.tab()) && !store.isRunning("lab");
    const result = isShown ? store.answer("lab") : null;
    return result?.values ? computeValues(result) : null;
  }
  return {
    id: "lab", label: "Lab", element, refresh, values,
  };
}

function createValues() {
  /** @type {any} */
  let last;
  /** @type {(Value | null)[]} */
  let values = [];
  /** @param {any} result */
  return (result) => {
    if (result === last) return values;
    last = result;
    /** @type {number[]} */
    const finite = result.values.filter((/** @type {number | null} */ value) => value !== null);
    const [low, high] = [Math.min(...finite), Math.max(...finite)];
    values = result.values.map((/** @type {number | null} */ value, /** @type {number} */ i) =>
      value === null ? null : {
        ...colourOf((value - low) / (high - low || 1)),
        text: result.texts[i],
        words: `${result.title}: ${result.texts[i]}.`,
      });
    return values;
  };
}

/** @param {{title: string, low: string, high: string}} result */
function legend({ title, low, high }) {
  const scale = h("span", { class: "cw-scale" });
  scale.style.background = `linear-gradient(to right, ${SCALE.join(", ")})`;
  const label = `Colour scale of the diagram: ${title}, from ${low} (dark) to ${high} (bright)`;
  return h("div", { class: "cw-legend", "data-part": "legend", role: "img", "aria-label": label }, [
    h("strong", {}, title), h("span", {}, low), scale, h("span", {}, high),
  ]);
}
