// @ts-check
/** @import { Tab } from "./types.d.ts" */
/** @import { Store } from "./store.js" */
import { button, empty, facts, h, listing, onChange, OWN_KEYS } from "./dom.js";
import { createJob } from "./job.js";
import { needsKernel, nothing } from "./messages.js";
import { predictionTable } from "./predictions.js";
import { FLAG, readSvg } from "./svg.js";
import { createTensorView } from "./tensors.js";

const ABOUT_SURGERY = "Compares the model's output for the photograph with and without the change. " +
  "The model and the slice stay as they are.";

/** @param {Store} store @param {string} prefix @returns {Tab} */
export function createSurgeryTab(store, prefix) {
  const tools = h("div", { class: "cw-tools" });
  const job = createJob(store, "surgery", "surgery");
  const outcome = h("div", {});
  const element = h("div", { "data-part": "surgery" }, [tools, job.element, outcome]);
  /** @type {any} What can be removed or swapped, also after a failure. */
  let options = null;
  const drawTools = onChange(replaceTools);
  const draw = onChange(drawOutcome);

  function refresh() {
    const [answer, failed] = [store.answer("surgery"), store.hasFailed("surgery")];
    const running = job.refresh();
    if (answer?.removable) options = answer;
    else if (!answer && !failed && !running) options = null;
    drawTools(options, running, store.status(), store.offline());
    outcome.hidden = running;
    draw(answer, failed);
    const isMissing = !answer && !failed && !running;
    if (isMissing && store.status() === "ready" && !store.offline()) store.ask("surgery");
  }

  /** @param {any} now @param {boolean} running */
  function replaceTools(now, running) {
    if (!now) {
      return tools.replaceChildren(nothing(store) ?? empty(store.offline() ? needsKernel(store) : "…"));
    }
    const { removable, swappable, reasons } = now;
    /** @param {string} what @param {string[]} blocks */
    const operate = (what, blocks) => store.ask("surgery", { what, blocks });
    const list = h("select", { "aria-label": "Neighbours that can be swapped", ...OWN_KEYS },
      swappable.map((/** @type {string[]} */ pair, /** @type {number} */ i) =>
        h("option", { value: i }, pair.join(" ⇄ "))));
    tools.replaceChildren(...[
      removable.length ? createRemoval(removable, (blocks) => operate("remove", blocks))
        : empty("No block of the slice can be removed."),
      reasons?.length ? reasonList(reasons) : null,
      swappable.length ? h("span", { class: "cw-swap" }, [list, button("Swap",
        "Run the model with these two blocks swapped",
        () => operate("swap", swappable[Number(list.value)]))]) : null,
    ].filter((one) => one !== null));
    for (const one of tools.querySelectorAll("button, select, input")) {
      /** @type {HTMLButtonElement} */ (one).disabled = running || store.offline();
    }
  }

  /** @param {any} answer */
  function drawOutcome(answer) {
    if (!answer) return outcome.replaceChildren();
    const { title, facts: rows, predictions, predictions_note: note, before, after } = answer;
    if (!title) return outcome.replaceChildren(empty(answer.stopped ? "Stopped." : ABOUT_SURGERY));
    /** @type {[string, string, any][]} */
    const sides = [["Before", "before", before], ["After", "after", after]];
    const drawn = sides.map(([name, when, maps]) => predictions
      ? h("div", {}, [h("strong", {}, name), predictionTable(predictions[when], name)])
      : createTensorView(when, maps).element);
    outcome.replaceChildren(h("h3", {}, title), facts(rows),
      createComparison(answer.comparison, prefix), h("div", { class: "cw-sides" }, drawn),
      note ? h("p", { class: "cw-aside" }, note) : "", listing(answer.code));
  }
  return { id: "surgery", label: "Surgery", element, refresh };
}

/**
 * Boxes to choose blocks, and the button that removes them.
 * @param {string[]} blocks
 * @param {(blocks: string[]) => void} remove
 */
function createRemoval(blocks, remove) {
  const boxes = blocks.map((block) => h("input", { type: "checkbox", value: block, ...OWN_KEYS }));
  const chosen = () => boxes.filter((box) => box.checked).map((box) => box.value);
  const run = button("", "Run the model without these blocks", () => remove(chosen()));
  const choice = h("fieldset", { class: "cw-choice" }, [
    h("legend", {}, "Blocks to remove"),
    ...boxes.map((box) => h("label", {}, [box, box.value])),
  ]);
  function refresh() {
    const { length } = chosen();
    run.textContent = length === 1 ? `Remove ${chosen()[0]}` : `Remove ${length} blocks`;
    run.setAttribute("aria-disabled", String(!length));
  }
  boxes.forEach((box) => (box.checked = true));
  choice.addEventListener("change", refresh);
  refresh();
  return h("div", { class: "cw-removal" }, [choice, run]);
}

/**
 * Both models side by side, and what differs in words.
 * @param {{svg: string, finding: string}} comparison
 * @param {string} prefix
 */
function createComparison({ svg, finding }, prefix) {
  const picture = readSvg(svg, `${prefix}surgery-`).svg;
  const { x, y, width, height } = picture.viewBox.baseVal;
  picture.setAttribute("viewBox", `${x + FLAG} ${y} ${width - FLAG} ${height}`); // no flags here
  picture.setAttribute("role", "img");
  picture.setAttribute("aria-label", finding);
  const box = h("div", { class: "cw-comparison", tabindex: "0", role: "group",
    "aria-label": "Before and after" }, [picture]);
  return h("div", {}, [h("p", {}, finding), box]);
}

/** @param {[string, string][]} reasons */
function reasonList(reasons) {
  return h("details", {}, [h("summary", {}, "Why not the others?"),
    h("ul", {}, reasons.map(([block, reason]) => h("li", {}, `${block}: ${reason}.`)))]);
}
