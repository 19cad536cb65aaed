// @ts-check
// Grad-CAM: where in the photograph the whole model finds a class, as seen at a block of the slice.
/** @import { Store } from "./store.js" */
import { SCALE } from "./colours.js";
import { button, createPictures, empty, h, listing, onChange, OWN_KEYS } from "./dom.js";
import { createJob } from "./job.js";
import { createTensorView } from "./tensors.js";

/**
 * What a run says of it. Where there are no places, the note says why.
 * @typedef {{places: string[], place: string, classes: [number, string][], note: string}} Offer
 */

/**
 * An answer: heat over a photograph, or as a tensor.
 * @typedef {object} Heat
 * @property {string} [place]
 * @property {number} [class]
 * @property {[number, string][]} [classes]
 * @property {string} [size]
 * @property {string} [finding]
 * @property {string} [code]
 * @property {BlobPart} [photo]
 * @property {BlobPart} [heat]
 * @property {import("./tensors.js").TensorData} [maps]
 * @property {boolean} [stopped]
 */

const HEAT_ABOUT = "Where does the whole model find a class? Bright is where the block's feature " +
  "maps speak for it.";
const PREDICTED = "the predicted one";

/**
 * The classes to choose from: pairs of a value and words. The value "" stands for what is predicted.
 * @param {Offer} offer
 * @param {Heat | null} answer
 * @returns {[string, string][]}
 */
export function heatClasses(offer, answer) {
  const known = answer?.classes ?? offer.classes;
  /** @type {[string, string][]} */
  const pairs = known.map(([number, words]) => [String(number), words]);
  return offer.classes.length ? pairs : [["", PREDICTED], ...pairs];
}

/**
 * The question to the kernel.
 * @param {string} place
 * @param {string} chosen  A value of `heatClasses`.
 */
export function heatQuestion(place, chosen) {
  return { place, target: chosen === "" ? null : Number(chosen) };
}

/** @param {Store} store */
export function createHeat(store) {
  const pictures = createPictures();
  const where = h("select", { "data-part": "heat-place", ...OWN_KEYS });
  const which = h("select", { "data-part": "heat-class", ...OWN_KEYS });
  const show = button("Show heat", "Run the whole model, and show where it finds the class", ask);
  const job = createJob(store, "heat", "Grad-CAM");
  const tools = h("div", { class: "cw-tools" }, [
    h("label", {}, ["At ", where]), h("label", {}, ["Class ", which]), show,
  ]);
  const outcome = h("div", {});
  const about = h("p", { class: "cw-aside" });
  const element = h("section", { "data-part": "heat", "aria-label": "Grad-CAM" },
    [h("h3", {}, "Grad-CAM"), about, tools, job.element, outcome]);
  const drawTools = onChange(replaceTools);
  const draw = onChange(drawAnswer);

  function ask() {
    store.ask("heat", heatQuestion(where.value, which.value));
  }
  function refresh() {
    /** @type {Offer | undefined} */
    const offer = store.answer("run")?.explains;
    /** @type {Heat | null} */
    const answer = store.answer("heat");
    element.hidden = !offer;
    if (!offer) return;
    const focused = document.activeElement;
    const running = job.refresh();
    about.textContent = offer.places.length ? HEAT_ABOUT : offer.note;
    tools.hidden = !offer.places.length;
    drawTools(offer, answer);
    for (const one of [where, which, show]) one.disabled = running || store.offline();
    if (running && focused === show) job.stop.focus();
    if (!running && focused === job.stop) show.focus();
    outcome.hidden = running;
    draw(answer, store.hasFailed("heat"));
  }

  /** @param {Offer} offer @param {Heat | null} answer */
  function replaceTools(offer, answer) {
    const place = answer?.place ?? offer.place;
    const isNew = !offer.places.includes(where.value) || Boolean(answer?.place);
    where.replaceChildren(...offer.places.map((name) => h("option", { value: name }, name)));
    where.value = isNew ? place : where.value;
    const before = which.value;
    const classes = heatClasses(offer, answer);
    which.replaceChildren(...classes.map(([value, words]) => h("option", { value }, words)));
    which.value = classes.some(([value]) => value === before) ? before : classes[0]?.[0] ?? "";
  }

  /** @param {Heat | null} answer @param {boolean} failed */
  function drawAnswer(answer, failed) {
    pictures.clear();
    if (!answer?.place) {
      const words = answer?.stopped ? "Stopped." : failed ? "This failed (see above)." : "";
      return outcome.replaceChildren(...(words ? [empty(words)] : []));
    }
    const words = h("div", {}, [
      h("p", { "data-part": "heat-finding" }, answer.finding), listing(answer.code ?? ""),
    ]);
    if (answer.photo) return outcome.replaceChildren(photograph(answer, words));
    outcome.replaceChildren(tensor(answer), words);
  }

  /** @param {Heat} answer @param {HTMLElement} words */
  function photograph({ photo, heat, finding }, words) {
    const [above, below] = [pictures.image(heat ?? "", ""), pictures.image(photo ?? "", finding ?? "")];
    const strength = h("input", {
      type: "range", min: 0, max: 1, step: 0.05, value: 1, "data-part": "heat-strength", ...OWN_KEYS,
    });
    strength.addEventListener("input", () => (above.style.opacity = strength.value));
    words.prepend(h("label", {}, ["Heat ", strength]), heatLegend());
    return h("figure", { class: "cw-heat" },
      [h("div", { class: "cw-heat-layers" }, [below, above]), words]);
  }

  /** @param {Heat} answer */
  function tensor({ maps }) {
    return maps ? createTensorView("heat", maps, { offline: store.offline() }).element : "";
  }
  return { element, refresh, close: pictures.clear };
}

/** The colours of the heat, as inference/pictures.py draws it. */
function heatLegend() {
  const colours = h("span", { class: "cw-viridis", "aria-hidden": "true" });
  colours.style.background = `linear-gradient(to right, ${SCALE.slice(3).join(", ")})`;
  return h("div", { class: "cw-colourbar" }, [colours,
    h("span", { class: "cw-colour-texts" }, [h("span", {}, "0"), h("span", {}, "largest")])]);
}
