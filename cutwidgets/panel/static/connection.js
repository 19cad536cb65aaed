// @ts-check
// Whether the kernel answers: a state machine that knows neither page nor kernel.

const BUSY_AFTER = 1000; // milliseconds without a sign of the kernel
const PROBE_EVERY = 3000;
const GRACE = 1500; // from "the kernel has read this" to its answer
const LOST_AFTER = 60_000;

/**
 * The states: "live", "busy" (it has not answered for a second), and "lost" (it was restarted, has
 * stopped, or has not answered for a minute).
 *
 * A kernel that is busy with another cell reads no message until it is done. One that was restarted
 * reads it, says so, and does not know this panel: it answers nothing.
 *
 * @typedef {"live" | "busy" | "lost"} State
 * @typedef {{set: (f: () => void, ms: number) => unknown, clear: (timer: any) => void}} Timers
 *
 * @param {object} options
 * @param {Timers} options.timers
 * @param {() => void} options.probe  Ask the kernel for a sign. When it has read that, call `read`.
 * @param {() => boolean} options.isGone  Whether the front end says that there is no kernel.
 * @param {(state: State) => void} options.changed
 */
export function createConnection({ timers, probe, isGone, changed }) {
  /** @type {State} */
  let state = "live";
  let awaiting = false;
  let messages = 0; // so many were sent,
  let signed = 0; // and to so many of them there was a sign
  /** @type {unknown[]} */
  let running = [];
  /** @type {unknown} */
  let grace;

  /** @param {State} next */
  function become(next) {
    if (next === state) return;
    state = next;
    changed(state);
  }
  /** @param {() => void} action @param {number} ms */
  function later(action, ms) {
    running.push(timers.set(action, ms));
  }
  function rest() {
    running.forEach(timers.clear);
    running = [];
    timers.clear(grace);
    grace = undefined;
  }
  function lose() {
    rest();
    become("lost");
  }
  function probeAgain() {
    if (isGone()) return lose();
    probe();
    later(probeAgain, PROBE_EVERY);
  }
  function watch() {
    rest();
    if (isGone()) return lose();
    later(() => {
      if (state === "live") become("busy");
      probeAgain();
    }, BUSY_AFTER);
    later(lose, LOST_AFTER);
  }

  return {
    state: () => state,
    /** The page has asked something, and waits. */
    asked() {
      if (awaiting && state !== "lost") return;
      awaiting = true;
      watch();
    },
    /** A sign of the kernel: an answer, or its progress. @param {boolean} more  Whether the page still waits. */
    heard(more) {
      awaiting = more;
      signed = messages;
      rest();
      become("live");
      if (more) watch();
    },
    /** A message is sent; its number. */
    sent: () => ++messages,
    /**
     * The kernel has read a message; a sign of it comes now or never, unless there was one before.
     * @param {number} message
     */
    read(message) {
      if (awaiting && message > signed && grace === undefined) grace = timers.set(lose, GRACE);
    },
    /** The front end says that the connection is closed. */
    gone: lose,
    /** The front end says that the connection is there again. */
    back() {
      rest();
      become("live");
      if (awaiting) watch();
    },
    close: rest,
  };
}
