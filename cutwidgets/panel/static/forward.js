// @ts-check
/** @import { Tab } from "./types.d.ts" */
/** @import { Store } from "./store.js" */
import { createPictures, empty, facts, h, onChange, OWN_KEYS, table } from "./dom.js";
import { createJob } from "./job.js";
import { NEEDS_PYTHON, nothing } from "./messages.js";
import { createPhotoChoice } from "./photo.js";
import { predictionTable } from "./predictions.js";

const ABOUT_RUN = "Click Run: the head computes the slice's input, and the slice runs on it.";
const STATISTICS = ["Tensor", "Shape", "Dtype", "Min", "Mean", "Max", "Zeros"];

/** @param {Store} store @returns {Tab} */
export function createForwardTab(store) {
  const pictures = createPictures();
  const features = h("div", { "data-part": "features", class: "cw-features" });
  const choice = createPhotoChoice(store);
  const job = createJob(store, "run", "forward pass");
  const element = h("div", {}, [choice.element, job.element, features]);
  const draw = onChange(drawAnswer);
  const drawMaps = onChange(replaceMaps);
  /** @type {Record<string, number>} Channels that a slider asks for while others are drawn. */
  const wanted = {};

  function refresh() {
    choice.refresh();
    const running = job.refresh();
    features.hidden = running;
    const answer = store.answer("run");
    draw(answer, store.selection().join(), store.status(), store.offline());
    if (answer) drawMaps(store.answer("maps"));
  }

  /** @param {any} answer */
  function drawAnswer(answer) {
    pictures.clear();
    const maps = store.answer("maps");
    if (!answer || !maps) {
      const text = store.offline() ? NEEDS_PYTHON : ABOUT_RUN;
      return features.replaceChildren(nothing(store) ?? empty(text));
    }
    const photo = answer.photo && pictures.image(answer.photo, "The photograph");
    features.replaceChildren(...[
      h("div", { class: "cw-seen" }, [photo, facts(answer.facts)]),
      h("div", { class: "cw-grids" }, ["input", "output"].map((which) => grid(which, maps[which]))),
      predictionTable(answer.predictions),
      answer.predictions_note ? h("p", { class: "cw-aside" }, answer.predictions_note) : null,
      table("Numbers of the tensors", STATISTICS, answer.statistics),
    ].filter((one) => one !== null));
  }

  /** @param {string} which @param {any} maps */
  function grid(which, { picture, first, channels, words }) {
    const name = which === "input" ? "Slice input" : "Slice output";
    const alt = `${name}: ${words}, each scaled from its minimum (dark) to its maximum (bright)`;
    const window = Math.min(channels, 32);
    const slider = channels > window ? h("input", {
      type: "range", min: 0, max: channels - window, step: 1, value: first,
      "data-part": `channels-${which}`, "aria-label": `${name}: first channel`, ...OWN_KEYS,
    }) : null;
    if (slider) slider.disabled = store.offline();
    slider?.addEventListener("input", () => slide(which, Number(slider.value)));
    return h("figure", { "data-maps": which }, [
      h("figcaption", {}, [h("strong", {}, name), ` ${words}`]),
      pictures.image(picture, alt),
      slider,
    ]);
  }

  // The latest position is sent once the previous one has been answered.
  /** @param {string} which @param {number} first */
  function slide(which, first) {
    const isWaiting = Object.keys(wanted).length > 0;
    wanted[which] = first;
    if (!isWaiting) store.ask("maps", { [which]: first });
  }

  /** @param {any} maps */
  function replaceMaps(maps) {
    for (const which of Object.keys(wanted)) {
      if (!maps || maps[which]?.first === wanted[which]) delete wanted[which];
    }
    const [which] = Object.keys(wanted);
    for (const figure of maps ? features.querySelectorAll("figure") : []) {
      const { picture, words } = maps[figure.dataset.maps ?? ""];
      const image = /** @type {HTMLImageElement} */ (figure.querySelector("img"));
      image.replaceWith(pictures.image(picture, image.alt));
      if (image.complete) pictures.release(image.src);
      const caption = /** @type {Element} */ (figure.querySelector("figcaption"));
      /** @type {Node} */ (caption.lastChild).textContent = ` ${words}`;
    }
    if (which) store.ask("maps", { [which]: wanted[which] });
  }
  return { id: "run", label: "Forward pass", element, refresh, close: pictures.clear };
}
