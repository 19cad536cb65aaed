// @ts-check
/** @import { Tab } from "./types.d.ts" */
/** @import { Store } from "./store.js" */
import { empty, h, listing, onChange } from "./dom.js";
import { needsKernel, nothing } from "./messages.js";

/** @param {Store} store @returns {Tab} */
export function createCodeTab(store) {
  const element = h("div", { "data-part": "code" });
  const draw = onChange(drawAnswer);

  function refresh() {
    const [answer, failed] = [store.answer("code"), store.hasFailed("code")];
    draw(answer, failed, store.status(), store.offline());
    const isMissing = !answer && !failed && !store.isRunning("code");
    if (isMissing && store.status() === "ready" && !store.offline()) store.ask("code");
  }
  /** @param {any} answer @param {boolean} failed */
  function drawAnswer(answer, failed) {
    if (!answer) {
      const words = store.offline() ? needsKernel(store)
        : failed ? "This slice cannot be written as a script (see above)." : "Writing the code…";
      return element.replaceChildren(nothing(store) ?? empty(words));
    }
    element.replaceChildren(
      h("h3", {}, "With cutwidgets"), listing(answer.lines),
      h("h3", {}, "A plain Keras script, without cutwidgets"), listing(answer.script),
    );
  }
  return { id: "code", label: "Code", element, refresh };
}
