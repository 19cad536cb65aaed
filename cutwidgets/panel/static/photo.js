// @ts-check
/** @import { Store } from "./store.js" */
import { h, OWN_KEYS } from "./dom.js";

const LARGEST_UPLOAD = 8e6; // bytes: the limit of a message on a notebook's connection

/**
 * The sample photographs, and an upload.
 * @param {Store} store
 */
export function createPhotoChoice(store) {
  const select = h("select", { "data-part": "photo", ...OWN_KEYS });
  const file = h("input", {
    type: "file", accept: "image/*", "data-part": "upload", "aria-label": "Upload a photograph",
    ...OWN_KEYS,
  });
  const element = h("div", { class: "cw-photo" }, [h("label", {}, ["Photograph ", select]), file]);
  select.addEventListener("change", () => ask({ name: select.value }));
  file.addEventListener("change", () => void upload());

  /** @param {object} details @param {ArrayBuffer[]} [buffers] */
  function ask(details, buffers) {
    const answered = () => {
      const isNew = !store.model.get("_photo").failed;
      if (isNew && store.answer("run")) store.ask("run");
    };
    store.ask("photo", details, { answered, buffers });
  }
  async function upload() {
    const [chosen] = file.files ?? [];
    if (!chosen) return;
    const name = JSON.stringify(chosen.name);
    if (chosen.size > LARGEST_UPLOAD) {
      const size = (chosen.size / 1e6).toFixed(1);
      return store.complain(`The file ${name} has ${size} MB; the limit is ` +
        `${LARGEST_UPLOAD / 1e6} MB. Make it smaller, or pass its path: CutPanel(model, photo=…).`);
    }
    try {
      ask({ name: chosen.name }, [await chosen.arrayBuffer()]);
    } catch (problem) {
      store.complain(`Cannot read ${name}: ${/** @type {Error} */ (problem).message}`);
    }
    file.value = ""; // so that the same file can be chosen again
  }
  function refresh() {
    const { name, names } = store.model.get("_photo");
    const all = names.includes(name) ? names : [...names, name];
    const options = all.map((/** @type {string} */ one) => h("option", { value: one }, one));
    if (select.options.length !== all.length || select.value !== name) {
      select.replaceChildren(...options);
      select.value = name;
    }
    element.hidden = store.offline() || !store.network.images;
  }
  return { element, refresh };
}
