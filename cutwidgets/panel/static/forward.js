// @ts-check
/** @import { Tab } from "./types.d.ts" */
/** @import { Store } from "./store.js" */
import { createPictures, empty, facts, h, onChange, table } from "./dom.js";
import { createHeat } from "./heat.js";
import { createJob } from "./job.js";
import { needsKernel, nothing } from "./messages.js";
import { createPhotoChoice } from "./photo.js";
import { predictionTable } from "./predictions.js";
import { createTensorView } from "./tensors.js";

const ABOUT_RUN = "Click Run: the head computes the slice's input, and the slice runs on it.";
const STATISTICS = ["Tensor", "Shape", "Dtype", "Min", "Mean", "Max", "Zeros"];

/** @param {Store} store @returns {Tab} */
export function createForwardTab(store) {
  const pictures = createPictures();
  const features = h("div", { "data-part": "features", class: "cw-features" });
  const choice = createPhotoChoice(store);
  const job = createJob(store, "run", "forward pass");
  const heat = createHeat(store);
  const element = h("div", {}, [choice.element, job.element, features]);
  const draw = onChange(drawAnswer);
  const drawMaps = onChange(replaceMaps);
  /** @type {Record<string, number>} Channels that a slider asks for while others are drawn. */
  const wanted = {};
  /** @type {Map<string, ReturnType<typeof createTensorView>>} */
  const views = new Map();

  function refresh() {
    choice.refresh();
    const running = job.refresh();
    features.hidden = running;
    const answer = store.answer("run");
    draw(answer, JSON.stringify(store.selection()), store.status(), store.offline());
    if (answer) drawMaps(store.answer("maps"));
    heat.refresh();
  }

  /** @param {any} answer */
  function drawAnswer(answer) {
    pictures.clear();
    views.clear();
    const maps = store.answer("maps");
    if (!answer || !maps) {
      const text = store.offline() ? needsKernel(store) : ABOUT_RUN;
      return features.replaceChildren(nothing(store) ?? empty(text));
    }
    const photo = answer.photo && pictures.image(answer.photo, "The photograph");
    // A note on why nothing can be explained is no more than that, and comes last.
    const explains = Boolean(answer.explains?.places.length);
    features.replaceChildren(...[
      h("div", { class: "cw-seen" }, [photo, facts(answer.facts)]),
      explains ? heat.element : null,
      h("div", { class: "cw-grids" }, drawnOf(maps).map((which) => tensor(which, maps))),
      predictionTable(answer.predictions),
      answer.predictions_note ? h("p", { class: "cw-aside" }, answer.predictions_note) : null,
      table("Numbers of the tensors", STATISTICS, answer.statistics),
      explains ? null : heat.element,
    ].filter((one) => one !== null));
  }

  /** @param {string} which @param {any} maps */
  function tensor(which, maps) {
    const options = { offline: store.offline(), slide: (/** @type {number} */ first) => slide(which, first) };
    const view = createTensorView(which, maps[which], options);
    views.set(which, view);
    return view.element;
  }

  // The latest position is sent once the previous one has been answered.
  /** @param {string} which @param {number} first */
  function slide(which, first) {
    const isWaiting = Object.keys(wanted).length > 0;
    wanted[which] = first;
    if (!isWaiting) store.ask("maps", askedFor(which, first));
  }

  /** @param {any} maps */
  function replaceMaps(maps) {
    for (const which of Object.keys(wanted)) {
      if (!maps || maps[which]?.first === wanted[which]) delete wanted[which];
    }
    const [which] = Object.keys(wanted);
    if (maps) views.forEach((view, name) => view.update(maps[name]));
    if (which) store.ask("maps", askedFor(which, wanted[which]));
  }
  function close() {
    pictures.clear();
    heat.close();
  }
  return { id: "run", label: "Forward pass", element, refresh, close };
}

/** The names of the drawn tensors: "input", and "output" or, of several ends, "output C3". @param {object} maps */
function drawnOf(maps) {
  return Object.keys(maps).filter((name) => name === "input" || /^output( |$)/.test(name));
}

/** The question for other channels of a tensor. @param {string} which @param {number} first */
function askedFor(which, first) {
  const key = /^output (.*)$/s.exec(which)?.[1];
  return key === undefined ? { [which]: first } : { output: first, key };
}
