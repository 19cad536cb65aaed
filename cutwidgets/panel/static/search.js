// @ts-check
// The field to find blocks, stages and layers by name.
/** @import { Network } from "./types.d.ts" */
/** @import { Store } from "./store.js" */
import { h, OWN_KEYS } from "./dom.js";

/**
 * The place that a text means: a block or a stage before a layer, and a whole name before a part.
 * @param {Network} network
 * @param {string} text
 * @returns {{block: string, layer: string | null} | undefined}
 */
export function placeFor({ blocks, stages = [] }, text) {
  const wanted = text.toLowerCase();
  /** @type {((name: string) => boolean)[]} */
  const tests = [(name) => name === text, (name) => name.toLowerCase() === wanted,
    (name) => name.toLowerCase().includes(wanted)];
  for (const fits of tests) {
    const block = blocks.find(({ name }) => fits(name));
    if (block) return { block: block.name, layer: null };
    const stage = stages.find(({ name }) => fits(name));
    if (stage) return { block: blocks[stage.first].name, layer: null };
    const holder = blocks.find(({ layers }) => layers.some(fits));
    const layer = holder?.layers.find(fits);
    if (holder && layer) return { block: holder.name, layer };
  }
  return undefined;
}

/** @param {Store} store @param {string} prefix */
export function createSearch(store, prefix) {
  const { network } = store;
  const names = (network.stages ?? []).map(({ name }) => name)
    .concat(network.blocks.flatMap((block) => [block.name, ...block.layers]));
  const list = h("datalist", { id: `${prefix}names` });
  list.append(...[...new Set(names)].map((name) => h("option", { value: name })));
  const field = h("input", {
    type: "search", list: list.id, placeholder: "Find a layer or block", "data-part": "search",
    "aria-label": "Find a layer or block by name", ...OWN_KEYS,
  });
  field.addEventListener("keydown", (event) => {
    event.stopPropagation();
    if (event.key === "Enter") find(field.value.trim());
    else if (event.key === "Escape") field.value = "";
  });
  field.addEventListener("input", (event) => {
    const { inputType } = /** @type {InputEvent} */ (event);
    // A name picked from the list arrives without a typed letter.
    if (!inputType || inputType === "insertReplacementText") find(field.value.trim());
  });

  /** @param {string} text */
  function find(text) {
    if (!text) return;
    const place = placeFor(network, text);
    if (place) return store.goToPlace(place.block, place.layer);
    if (store.offline()) return store.complain(`No block or layer is named ${text}.`);
    store.ask("find", { text }, { answered: () => { // the kernel knows the names of older Keras
      const { block, layer, failed } = store.model.get("_find");
      if (block && !failed) store.goToPlace(block, layer);
    } });
  }
  return [field, list];
}
