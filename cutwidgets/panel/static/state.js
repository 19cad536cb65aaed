// @ts-check
// What a view remembers: plain values that the parts of the store share.
/** @import { End, Goal, Message, Model, Network, Opened, Place, Unfolded } from "./types.d.ts" */

/** @typedef {ReturnType<typeof createState>} State */

/** @param {Model} model */
export function createState(model) {
  /** @type {Network} */
  const network = model.get("_network");
  const { blocks } = network;
  /** @type {Map<string | number, number>} Positions of the blocks, by their names and their layers' */
  const positions = new Map();
  blocks.forEach((block, i) => block.layers.forEach((layer) => positions.set(layer, i)));
  blocks.forEach((block, i) => positions.set(block.name, i));
  /** @type {Set<() => void>} */
  const listeners = new Set();
  let isDrawing = false; // what changes in one turn is drawn once, at its end

  return {
    model, network, blocks, positions, listeners,
    names: new Set(blocks.map((block) => block.name)),
    pending: /** @type {string | null} The start, while the end is not chosen yet. */ (null),
    /** Why a click did nothing, and what to do instead. */
    explanation: /** @type {Message | null} */ (null),
    /** The slice that a click asked for in vain; `wanted` are all its ends, if they are several. */
    refusedPair: /** @type {{start: Place, end: string, wanted?: End} | null} */ (null),
    opened: /** @type {Opened | null} */ (null),
    unfolded: /** @type {Unfolded | null} */ (null),
    /** The card with the keyboard's focus. */
    active: /** @type {string | undefined} */ (undefined),
    tab: "", // the tab in front
    announcement: "",
    /** A card that the diagram has to bring into sight. */
    goal: /** @type {Goal | null} */ (null),
    asked: false, // whether the selection waits for its answer
    failed: false, // whether the latest answer to a question was an error
    forget() {
      this.explanation = this.refusedPair = null;
    },
    notify() {
      if (isDrawing) return;
      isDrawing = true;
      queueMicrotask(() => {
        isDrawing = false;
        for (const listener of [...listeners]) listener();
      });
    },
  };
}
