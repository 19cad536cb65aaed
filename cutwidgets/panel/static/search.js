// @ts-check
// The field to find blocks, stages and layers by name.
/** @import { Block, Network } from "./types.d.ts" */
/** @import { Store } from "./store.js" */
import { h, OWN_KEYS } from "./dom.js";

/**
 * @typedef {{block: string, layer: string | null, stage?: string}} Hit
 *   A stage is shown by its first block.
 */

/**
 * The places that a text means, the best first: those of that very name, then blocks and stages
 * before layers, and the beginning of a name before another part of it.
 * @param {Network} network
 * @param {string} text
 * @returns {Hit[]}
 */
export function placesFor({ blocks, stages = [] }, text) {
  const wanted = text.toLowerCase();
  const [large, layers] = [largePlaces(blocks, stages), layerPlaces(blocks)];
  /** @type {((name: string) => boolean)[]} */
  const whole = [(name) => name === text, (name) => name.toLowerCase() === wanted];
  /** @type {((name: string) => boolean)[]} */
  const parts = [(name) => name.toLowerCase().startsWith(wanted),
    (name) => name.toLowerCase().includes(wanted)];
  /** @type {Map<string, Hit>} */
  const found = new Map();
  /** @param {[string, Hit][]} places @param {(name: string) => boolean} fits */
  function add(places, fits) {
    for (const [name, hit] of places) if (fits(name) && !found.has(name)) found.set(name, hit);
  }
  for (const fits of whole) add([...large, ...layers], fits);
  for (const fits of parts) add(large, fits);
  for (const fits of parts) add(layers, fits);
  return [...found.values()];
}

/**
 * @param {Block[]} blocks @param {NonNullable<Network["stages"]>} stages
 * @returns {[string, Hit][]}
 */
function largePlaces(blocks, stages) {
  const own = blocks.map(({ name }) => ({ block: name, layer: null }));
  const others = stages.map(({ name, first }) => (
    { block: blocks[first].name, layer: null, stage: name }));
  return [...own.map((hit) => /** @type {[string, Hit]} */ ([hit.block, hit])),
    ...others.map((hit) => /** @type {[string, Hit]} */ ([hit.stage, hit]))];
}

/** @param {Block[]} blocks @returns {[string, Hit][]} */
function layerPlaces(blocks) {
  return blocks.flatMap((block) => block.layers.map((layer) =>
    /** @type {[string, Hit]} */ ([layer, { block: block.name, layer }])));
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
    "aria-label": "Find a layer, block or stage by name", ...OWN_KEYS,
  });
  const count = h("span", { class: "cw-hits", "data-part": "hits", "aria-hidden": "true" });
  let text = ""; // what was looked for last
  /** @type {Hit[]} */
  let hits = [];
  let at = 0;
  field.addEventListener("keydown", (event) => {
    event.stopPropagation();
    if (event.key === "Enter") find(field.value.trim());
    else if (event.key === "Escape") field.value = "";
    if (event.key === "Escape") count.textContent = "";
  });
  field.addEventListener("input", (event) => {
    count.textContent = "";
    const { inputType } = /** @type {InputEvent} */ (event);
    // A name picked from the list arrives without a typed letter.
    if (!inputType || inputType === "insertReplacementText") find(field.value.trim());
  });

  /** @param {string} wanted */
  function find(wanted) {
    if (!wanted) return;
    const isNext = wanted === text && count.textContent !== "";
    if (!isNext) [text, hits] = [wanted, placesFor(network, wanted)];
    at = isNext ? (at + 1) % hits.length : 0;
    if (hits.length) return show(hits[at]);
    if (store.offline()) return store.complain(`No block, stage or layer is named ${wanted}.`);
    // The kernel knows the names of older Keras.
    store.ask("find", { text: wanted }, { answered: () => {
      const { block, layer, failed } = store.model.get("_find");
      if (block && !failed) store.goToPlace(block, layer);
    } });
  }
  /** @param {Hit} hit */
  function show({ block, layer, stage }) {
    const several = hits.length > 1; // Enter again goes to the next, so the field keeps the focus
    count.textContent = [stage && "stage", several && `${at + 1} of ${hits.length}`]
      .filter(Boolean).join(", ");
    const place = stage ? `Stage ${stage}: its first block is ${block}.` : `${layer ?? block}.`;
    store.announce(several ? `${at + 1} of ${hits.length}: ${place}` : place);
    store.goToPlace(block, layer, !several);
  }
  return [field, count, list];
}
