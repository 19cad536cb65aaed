// @ts-check
/** @import { Store } from "./store.js" */
import { button, h } from "./dom.js";

/**
 * The bar of a question that takes long, and the button that stops it.
 * @param {Store} store
 * @param {string} question
 * @param {string} name  What runs, for screen readers.
 */
export function createJob(store, question, name) {
  const meter = h("progress", { "aria-label": `Progress: ${name}` });
  const step = h("span", {});
  const stop = button("Stop", `Stop: ${name}`, () => store.stop(question));
  const element = h("div", { class: "cw-progress", hidden: "" }, [meter, h("div", {}, [step, stop])]);

  function refresh() {
    const running = store.isRunning(question);
    const { done = 0, total = 0, label = "Starting", stopping } = store.progress(question) ?? {};
    element.hidden = !running;
    stop.setAttribute("aria-disabled", String(Boolean(stopping))); // disabled, it would lose the focus
    if (total) [meter.max, meter.value] = [total, done];
    else meter.removeAttribute("value");
    step.textContent = stopping ? "Stopping…" : total ? `${label}: ${done} of ${total}` : `${label}…`;
    return running;
  }
  return { element, stop, refresh };
}
