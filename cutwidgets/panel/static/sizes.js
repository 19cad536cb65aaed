// @ts-check
// What the user chose about the room of a view: it lasts over redraws and, where the browser may
// store it, over pages.

const KEY = "cutwidgets.sizes";
const SHARES = { min: 0.2, max: 0.8 }; // of the width, for the diagram
const HEIGHTS = { min: 300, max: 3000 }; // pixels

/**
 * @typedef {{share: number | null, height: number | null, large: boolean,
 *   zoom: number | "auto" | "fit"}} Chosen  Null where nothing is chosen. `zoom` may be a scale.
 * @typedef {ReturnType<typeof createSizes>} Sizes
 */

/** @param {any} stored @returns {Chosen} What is valid of a stored value. */
function valid(stored) {
  const { share, height, large, zoom } = Object(stored);
  return {
    share: Number.isFinite(share) ? within(share, SHARES) : null,
    height: Number.isFinite(height) ? within(height, HEIGHTS) : null,
    large: large === true,
    zoom: zoom === "fit" || Number.isFinite(zoom) ? zoom : "auto",
  };
}

/** @param {number} value @param {{min: number, max: number}} range */
function within(value, { min, max }) {
  return Math.max(min, Math.min(max, value));
}

/** @returns {Pick<Storage, "getItem" | "setItem"> | null} Even to name the storage may be forbidden. */
function browserStorage() {
  try {
    return globalThis.localStorage ?? null;
  } catch {
    return null;
  }
}

/** @param {Pick<Storage, "getItem" | "setItem"> | null} storage */
export function createSizes(storage = browserStorage()) {
  let chosen = valid(read());
  /** @type {Set<() => void>} */
  const listeners = new Set();

  function read() {
    try {
      return JSON.parse(storage?.getItem(KEY) ?? "null");
    } catch {
      return null;
    }
  }
  function write() {
    // A scale suits one model; the next page begins with a readable one.
    const { zoom, ...others } = chosen;
    try {
      storage?.setItem(KEY, JSON.stringify({ ...others, zoom: zoom === "fit" ? zoom : "auto" }));
    } catch {
      // Full or forbidden: the sizes then last as long as the view.
    }
  }
  return {
    get: () => chosen,
    /** How much larger text is. */
    enlarged: () => (chosen.large ? 1.5 : 1),
    /** @param {Partial<Chosen>} change */
    set(change) {
      chosen = valid({ ...chosen, ...change });
      write();
      for (const listener of [...listeners]) listener();
    },
    /** @param {() => void} listener @returns {() => void} Ends the subscription. */
    subscribe(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    shares: SHARES,
    heights: HEIGHTS,
  };
}
