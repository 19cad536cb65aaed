// @ts-check
// The state of a view, without a page: what is chosen, what was asked, and what the kernel answered.
/** @import { Model } from "./types.d.ts" */
import { createEnds } from "./ends.js";
import { createKernel } from "./kernel.js";
import { QUESTIONS } from "./questions.js";
import { createSelection } from "./selection.js";
import { createShown } from "./shown.js";
import { createState } from "./state.js";

const TIMERS = {
  /** @param {() => void} f @param {number} ms */
  set: (f, ms) => setTimeout(f, ms),
  /** @param {any} timer */
  clear: (timer) => clearTimeout(timer),
};

/** @typedef {ReturnType<typeof createStore>} Store */

/**
 * @param {Model} model
 * @param {import("./connection.js").Timers} timers
 */
export function createStore(model, timers = TIMERS) {
  const state = createState(model);
  const kernel = createKernel(state, timers);
  const chosen = createSelection(state, kernel);
  const ends = createEnds(state, kernel, chosen);
  const shown = createShown(state, kernel, chosen, ends);
  const events = listen(state, kernel, chosen, ends);
  for (const [event, listener] of Object.entries(events)) model.on(event, listener);
  events["change:selection"]();
  void kernel.liveChanged(true);

  return {
    model, network: state.network, positions: state.positions, names: state.names,
    ...kernel, ...chosen, ...ends, ...shown, ...memory(state),
    notify: state.notify,
    /** @param {() => void} listener */
    subscribe: (listener) => void state.listeners.add(listener),
    close() {
      for (const [event, listener] of Object.entries(events)) model.off(event, listener);
      kernel.close();
      state.listeners.clear();
    },
  };
}

/**
 * What the views read and set.
 * @param {import("./state.js").State} state
 */
function memory(state) {
  /** @param {object} values */
  const change = (values) => (Object.assign(state, values), state.notify());
  return {
    pending: () => state.pending,
    announcement: () => state.announcement,
    opened: () => state.opened,
    unfolded: () => state.unfolded,
    active: () => state.active,
    tab: () => state.tab,
    /** @param {string} name */
    activate: (name) => change({ active: name }),
    /** Bring a tab to the front. @param {string} id */
    show: (id) => change({ tab: id }),
    /** Say something to a screen reader. @param {string} text */
    announce: (text) => change({ announcement: text }),
    takeGoal() {
      const { goal } = state;
      state.goal = null;
      return goal;
    },
  };
}

/**
 * What to do with what the kernel tells.
 * @param {import("./state.js").State} state
 * @param {ReturnType<typeof createKernel>} kernel
 * @param {ReturnType<typeof createSelection>} chosen
 * @param {ReturnType<typeof createEnds>} ends
 */
function listen(state, kernel, chosen, ends) {
  function settle() {
    chosen.settle();
    if (chosen.result()) ends.askReach();
  }
  /** @type {Record<string, () => void>} */
  const events = {
    "change:selection": () => (chosen.changed(), settle()),
    "change:allow_bypass": settle,
    "change:weights": settle,
    "change:_result": settle,
    "change:_progress": kernel.heard,
    "change:_reply": kernel.heard,
    "change:error": state.notify,
    "comm_live_update": () => void kernel.liveChanged(),
  };
  for (const question of Object.keys(QUESTIONS)) {
    events[`change:_${question}`] = () => kernel.answered(question);
  }
  return events;
}
