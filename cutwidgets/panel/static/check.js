// @ts-check
/** @import { Tab } from "./types.d.ts" */
/** @import { Store } from "./store.js" */
import { button, empty, h, onChange, table } from "./dom.js";
import { createJob } from "./job.js";
import { needsKernel, nothing } from "./messages.js";

/** @param {Store} store @returns {Tab} */
export function createCheckTab(store) {
  const check = button("Run the check",
    "Run the model, then head, slice and tail, and compare the outputs", () => store.ask("check"));
  const job = createJob(store, "check", "check");
  const outcome = h("div", {});
  const words = "Do head, slice and tail, run one after another, give the full model's output?";
  const element = h("div", { "data-part": "check" }, [h("p", {}, words), check, job.element, outcome]);
  const draw = onChange(drawAnswer);

  function refresh() {
    const running = job.refresh();
    check.hidden = store.offline();
    check.disabled = running || Boolean(nothing(store));
    outcome.hidden = running;
    draw(store.answer("check"), store.status(), store.offline());
  }
  /** @param {any} answer */
  function drawAnswer(answer) {
    if (!answer || answer.stopped) {
      const text = answer ? "Stopped." : store.offline() ? needsKernel(store) : "";
      return outcome.replaceChildren(nothing(store) ?? empty(text));
    }
    const mark = answer.ok ? (answer.conclusive ? "cw-exact" : "cw-inexact") : "cw-wrong";
    outcome.replaceChildren(
      h("p", { class: `cw-note ${mark}` }, answer.text),
      table("Differences by block", ["Block", "Largest difference"], answer.rows),
    );
  }
  return { id: "check", label: "Check", element, refresh };
}
