// @ts-check
/** @import { Tab } from "./types.d.ts" */
/** @import { Store } from "./store.js" */
import { button, empty, facts, h, listing, onChange, OWN_KEYS } from "./dom.js";
import { createJob } from "./job.js";
import { NEEDS_PYTHON, nothing } from "./messages.js";
import { predictionTable } from "./predictions.js";
import { createTensorView } from "./tensors.js";

const ABOUT_SURGERY = "Compares the model's output for the photograph with and without the change. " +
  "The model and the slice stay as they are.";

/** @param {Store} store @returns {Tab} */
export function createSurgeryTab(store) {
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
      return tools.replaceChildren(nothing(store) ?? empty(store.offline() ? NEEDS_PYTHON : "…"));
    }
    const { removable, swappable } = now;
    /** @param {string} what @param {string[]} blocks */
    const operate = (what, blocks) => store.ask("surgery", { what, blocks });
    const several = removable.length === 1 ? removable[0] : `${removable.length} residual blocks`;
    const list = h("select", { "aria-label": "Neighbours that can be swapped", ...OWN_KEYS },
      swappable.map((/** @type {string[]} */ pair, /** @type {number} */ i) =>
        h("option", { value: i }, pair.join(" ⇄ "))));
    tools.replaceChildren(...[
      removable.length
        ? button(`Remove ${several}`, `Run the model without ${removable.join(", ")}`,
          () => operate("remove", removable))
        : empty("No residual block that lies entirely in the slice can be removed."),
      swappable.length ? h("span", { class: "cw-swap" }, [list, button("Swap",
        "Run the model with these two blocks swapped",
        () => operate("swap", swappable[Number(list.value)]))]) : null,
    ].filter((one) => one !== null));
    for (const one of tools.querySelectorAll("button, select")) {
      /** @type {HTMLButtonElement} */ (one).disabled = running || store.offline();
    }
  }

  /** @param {any} answer */
  function drawOutcome(answer) {
    if (!answer) return outcome.replaceChildren();
    const { title, facts: rows, predictions, before, after, code } = answer;
    if (!title) return outcome.replaceChildren(empty(answer.stopped ? "Stopped." : ABOUT_SURGERY));
    /** @type {[string, string, any][]} */
    const sides = [["Before", "before", before], ["After", "after", after]];
    const drawn = sides.map(([name, when, maps]) => predictions
      ? h("div", {}, [h("strong", {}, name), predictionTable(predictions[when], name)])
      : createTensorView(when, maps).element);
    outcome.replaceChildren(h("h3", {}, title), facts(rows),
      h("div", { class: "cw-sides" }, drawn), listing(code));
  }
  return { id: "surgery", label: "Surgery", element, refresh };
}
