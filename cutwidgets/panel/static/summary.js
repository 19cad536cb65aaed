// @ts-check
/** @import { End, Place, Tab } from "./types.d.ts" */
/** @import { Store } from "./store.js" */
import { empty, facts, h, onChange, OWN_KEYS, table } from "./dom.js";
import { needsKernel, nothing } from "./messages.js";
import { areSeveral } from "./several.js";
import { counted, titleOf } from "./text.js";

/** @param {Store} store @returns {Tab} */
export function createSummaryTab(store) {
  const element = h("div", { "data-part": "summary" });
  const pre = h("pre", { tabindex: "0", ...OWN_KEYS });
  const details = h("details", {}, [h("summary", {}, "Keras summary()"), pre]);
  details.addEventListener("toggle", () => details.open && askText());
  const draw = onChange(drawSummary);
  const local = createLocalSummary(store);

  function refresh() {
    const latest = store.result();
    const result = latest?.rows ? latest : local();
    draw(result, store.status(), store.offline(), store.model.get("weights"));
    const text = store.answer("text")?.text;
    pre.textContent = text ?? (store.offline() ? needsKernel(store) : "…");
    if (details.open && !text && latest?.rows && !store.hasFailed("text")) askText();
  }
  function askText() {
    if (!store.answer("text") && !store.offline()) store.ask("text");
  }

  /** @param {any} result @param {string} _status @param {boolean} offline @param {string} weights */
  function drawSummary(result, _status, offline, weights) {
    if (!result?.rows) return element.replaceChildren(nothing(store) ?? empty(""));
    const note = result.exact === undefined ? "" : result.exact ? "cw-exact" : "cw-inexact";
    element.replaceChildren(
      h("h3", {}, result.title),
      facts(result.facts),
      h("p", { class: `cw-note ${note}` }, result.note ?? "…"),
      weightsBox(store, result.sharing ?? "…", weights === "copy", offline),
      table("Blocks of the slice", ["Block", "Output", "Parameters"], result.rows),
      details,
    );
  }
  return { id: "summary", label: "Summary", element, refresh };
}

/**
 * Whether slice and model share their weights, and the switch.
 * @param {Store} store @param {string} words @param {boolean} copied @param {boolean} offline
 */
function weightsBox(store, words, copied, offline) {
  const box = h("input", { type: "checkbox", "data-part": "weights", ...OWN_KEYS });
  box.checked = copied;
  box.disabled = offline;
  box.addEventListener("change", () => store.set({ weights: box.checked ? "copy" : "share" }));
  return h("div", { class: "cw-weights" }, [
    h("span", { class: `cw-badge ${copied ? "cw-copied" : "cw-shared"}` },
      copied ? "⧉ Own weights" : "⇄ Shared weights"),
    h("label", {}, [box, "Copy the weights"]),
    h("p", { class: "cw-aside" }, words),
  ]);
}

/**
 * A summary by the page itself, until the kernel answers or where there is none.
 * @param {Store} store
 */
function createLocalSummary(store) {
  let key = "";
  /** @type {ReturnType<typeof localSummary> | null} */
  let summary = null;
  return () => {
    const now = JSON.stringify([store.selection(), store.model.get("allow_bypass"), store.offline()]);
    if (now !== key) [key, summary] = [now, localSummary(store)];
    return summary;
  };
}

/** @param {Store} store */
function localSummary(store) {
  const { blocks, refused, shared } = store.network;
  const range = store.range();
  if (!range || !store.whole()) return null;
  // Inputs that bypass the start: only the kernel knows their shapes.
  if (store.refused() || store.endBlocks().some((end) => refused[range[0]]?.[end])) return null;
  const chosen = blocks.slice(range[0], range[1] + 1);
  const parameters = chosen.reduce((sum, block) => sum + block.parameters, 0);
  const offline = store.offline();
  const [start, end] = /** @type {[Place, End]} */ (store.selection());
  const ends = store.chosenEnds().map(({ key, place }) => /** @type {[string, string]} */ (
    [areSeveral(end) ? `Output ${key}` : "Output", blocks[Number(store.positions.get(place))].output]));
  return {
    title: titleOf(start, end),
    facts: /** @type {[string, string][]} */ ([
      ["Input", chosen[0].input],
      ...ends,
      ["Layers", offline ? `${chosen.flatMap((block) => block.layers).length}` : "…"],
      ["Parameters", `${shared ? "at most " : ""}${counted(parameters)}`],
    ]),
    exact: undefined,
    note: offline ? "This page has no kernel, so it shows only what it knows itself." : "…",
    sharing: offline ? "" : "…",
    rows: chosen.map((b) => [b.name, b.shape, counted(b.parameters)]),
  };
}
