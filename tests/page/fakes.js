// @ts-check
// A clock, a kernel and a network for tests of what needs no page.
/** @import { Model, Network } from "../../cutwidgets/panel/static/types.d.ts" */

/** A clock that only moves when told to. */
export function createClock() {
  let now = 0;
  let serial = 0;
  /** @type {Map<number, {at: number, f: () => void}>} */
  const waiting = new Map();
  return {
    timers: {
      /** @param {() => void} f @param {number} ms */
      set(f, ms) {
        waiting.set(++serial, { at: now + ms, f });
        return serial;
      },
      /** @param {number} timer */
      clear: (timer) => void waiting.delete(timer),
    },
    waiting: () => waiting.size,
    /** @param {number} ms */
    run(ms) {
      const end = now + ms;
      for (;;) {
        const due = [...waiting].filter(([, { at }]) => at <= end)
          .sort(([a, one], [b, other]) => one.at - other.at || a - b)[0];
        if (!due) break;
        waiting.delete(due[0]);
        now = due[1].at;
        due[1].f();
      }
      now = end;
    },
  };
}

/** @param {string} name @param {string[]} [layers] */
function block(name, layers = [`${name}_conv`, `${name}_add`]) {
  return { name, about: "", layers, input: "8 float32", output: "8 float32", shape: "8", parameters: 10 };
}

/**
 * Five blocks in a row. Another output of `a` skips `b` and `c` to `d`; `e` has an input of its own,
 * and is not computed from `b`.
 * @returns {Network}
 */
export function network() {
  const skipped = { names: ["a_add"], makers: [0] };
  const apart = { names: [], makers: [] };
  return {
    name: "net", svg: "<svg/>", images: false, shared: false,
    cards: [0, 1, 2, 3, 4].map((i) => ({ first: i, last: i })),
    blocks: ["a", "b", "c", "d", "e"].map((name) => block(name)),
    stages: [{ name: "first", first: 0, last: 1 }, { name: "second", first: 2, last: 4 }],
    sources: [[-1], [0], [1], [2, 0], [-1], [3, 4]],
    refused: [{}, { 3: skipped, 4: apart }, { 3: skipped }, {}, {}],
  };
}

/** What anywidget gives to a view; `sent` and `saved` hold what would go to the kernel. */
export function createModel(values = {}) {
  /** @type {Record<string, any>} */
  const state = {
    selection: [], allow_bypass: false, weights: "share", error: "", _parts: ["diagram"],
    _network: network(), _result: { selection: [] }, _progress: {}, _reply: {}, ...values,
  };
  /** @type {Map<string, Set<() => void>>} */
  const listeners = new Map();
  /** @param {string} event */
  const tell = (event) => [...listeners.get(event) ?? []].forEach((f) => f());
  /** @type {any[]} */
  const sent = [];
  /** @type {any[]} */
  const read = [];
  /** @type {any} */
  const manager = undefined;
  const model = {
    sent, state, tell, saved: 0, widget_manager: manager,
    /** @param {string} key */
    get: (key) => state[key] ?? (key.startsWith("_") ? {} : undefined),
    /** @param {string} key @param {unknown} value */
    set(key, value) {
      const isSame = JSON.stringify(state[key]) === JSON.stringify(value);
      state[key] = value;
      if (!isSame) tell(`change:${key}`);
    },
    /** @param {string} event @param {() => void} f */
    on: (event, f) => void listeners.set(event, (listeners.get(event) ?? new Set()).add(f)),
    /** @param {string} event @param {() => void} f */
    off: (event, f) => void listeners.get(event)?.delete(f),
    /** @param {object} [callbacks] */
    save_changes(callbacks) {
      this.saved += 1;
      read.push(callbacks);
    },
    /** @param {object} content @param {object} [callbacks] */
    send(content, callbacks) {
      sent.push(content);
      read.push(callbacks);
    },
    /** The kernel has read all messages. */
    idle: () => read.splice(0).forEach((one) =>
      one?.iopub.status({ content: { execution_state: "idle" } })),
    /** The kernel's answers. @param {Record<string, any>} news */
    receive(news) {
      Object.assign(state, news);
      Object.keys(news).forEach((key) => tell(`change:${key}`));
    },
    listening: () => [...listeners.values()].reduce((sum, { size }) => sum + size, 0),
  };
  return /** @type {typeof model & Model} */ (model);
}

/** The kernel's answer to a selection that can be cut. @param {string[]} selection */
export function ready(selection, more = {}) {
  return { selection, allow_bypass: false, weights: "share", requested: selection, rows: [["a"]], ...more };
}
