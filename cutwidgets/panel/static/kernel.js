// @ts-check
// Questions to the kernel and its answers, and whether it answers at all.
/** @import { State } from "./state.js" */
/** @import { Progress } from "./types.d.ts" */
import { createConnection } from "./connection.js";
import { QUESTIONS } from "./questions.js";
import { same } from "./text.js";

/**
 * @param {State} state
 * @param {import("./connection.js").Timers} timers
 */
export function createKernel(state, timers) {
  const { model, notify } = state;
  /** @type {Map<string, number>} The questions that wait for an answer, and their numbers. */
  const waiting = new Map();
  /** @type {Map<string, () => void>} What to do with an answer of this view's own question. */
  const then = new Map();
  let serial = 0;
  let isDetached = Boolean(model.offline); // in a page that was saved there never was a kernel
  const connection = createConnection({
    timers,
    probe: () => send({ ask: "alive", id: ++serial }),
    isGone,
    changed(now) {
      if (now === "lost") [waiting, then].forEach((map) => map.clear());
      notify();
    },
  });

  // JupyterLab tells when the kernel has read a message; its answer then follows, or never does.
  function callbacks() {
    const number = connection.sent();
    /** @param {any} message */
    const status = (message) => {
      if (message?.content?.execution_state === "idle") connection.read(number);
    };
    // marimo takes a function and calls it as soon as the message is on its way.
    return Object.assign(() => {}, { iopub: { status } });
  }
  function isGone() {
    const manager = model.widget_manager;
    if (!manager || !("kernel" in manager)) return false;
    return !manager.kernel || ["dead", "terminating"].includes(manager.kernel.status ?? "");
  }
  /** @param {object} message @param {ArrayBuffer[]} [buffers] */
  function send(message, buffers = []) {
    whileConnected(() => model.send(message, callbacks(), buffers));
  }
  // A front end that has lost its kernel may refuse to send.
  /** @param {() => void} action */
  function whileConnected(action) {
    try {
      action();
    } catch {
      connection.gone();
    }
  }
  /** @param {boolean} isFirst  As this view begins. */
  async function liveChanged(isFirst = false) {
    const own = await model.widget_manager?.get_model?.(model.get("_kernel")?.id);
    if (isFirst && own?.comm_live === false) isDetached = true;
    if (own?.comm_live === false) connection.gone();
    else if (own?.comm_live) connection.back();
  }
  function isWaiting() {
    return state.asked || waiting.size > 0;
  }
  const lost = () => connection.state() === "lost";
  const offline = () => Boolean(model.offline) || lost();

  /**
   * Ask the kernel.
   * @param {string} question
   * @param {object} details
   * @param {{answered?: () => void, buffers?: ArrayBuffer[], isQuiet?: boolean}} options
   */
  function ask(question, details = {}, { answered, buffers = [], isQuiet = false } = {}) {
    if (model.offline) return;
    if (waiting.has(question) && question !== "maps") return;
    if (!isQuiet) state.forget();
    waiting.set(question, ++serial);
    if (answered) then.set(question, answered);
    connection.asked();
    notify();
    send({ ask: question, id: serial, ...details }, buffers);
  }
  /** @param {string} question */
  function stop(question) {
    if (!progress(question)?.stopping) send({ ask: "stop", question });
  }
  /** @param {string} question @returns {Progress | undefined} */
  function progress(question) {
    return offline() ? undefined : model.get("_progress")?.[question];
  }
  /** Whether an answer is awaited, here or in another view. @param {string} question */
  function isRunning(question) {
    return !offline() && (waiting.has(question) || Boolean(progress(question)));
  }
  /**
   * The kernel's answer to a question, if it belongs to the current selection, model or panel.
   * @param {string} question
   */
  function answer(question) {
    const latest = model.get(`_${question}`);
    if (!latest?.count || latest.failed) return null;
    return isOld(question, latest) ? null : latest;
  }
  /** @param {string} question */
  function hasFailed(question) {
    const latest = model.get(`_${question}`);
    return Boolean(latest?.failed) && !isOld(question, latest);
  }
  /** @param {string} question @param {any} latest */
  function isOld(question, latest) {
    const isAboutSlice = QUESTIONS[question].about === "selection";
    return isAboutSlice && !same(latest.selection, model.get("selection"));
  }

  /** @param {Record<string, unknown>} values */
  function save(values) {
    for (const [key, value] of Object.entries(values)) model.set(key, value);
    whileConnected(() => model.save_changes(callbacks()));
  }
  /** @param {string} question */
  function answered(question) {
    const own = waiting.delete(question); // or another view has asked
    const action = then.get(question);
    then.delete(question);
    connection.heard(isWaiting());
    const latest = model.get(`_${question}`);
    if (own) state.failed = Boolean(latest?.failed);
    if (QUESTIONS[question].job && latest?.count) state.announcement = announcementOf(latest);
    if (own) action?.();
    notify();
  }
  /** @param {any} latest  The answer of a job. */
  function announcementOf(latest) {
    return latest.stopped ? "Stopped." : latest.finding ?? latest.text ?? state.announcement;
  }
  function heard() {
    connection.heard(isWaiting());
    notify();
  }

  /** The selection waits for its answer, or has it. @param {boolean} now */
  function expect(now) {
    state.asked = now;
    if (now) connection.asked();
    else if (!model.offline) connection.heard(isWaiting());
  }
  return {
    ask, stop, progress, isRunning, answer, hasFailed, save, answered, heard, liveChanged, offline, lost,
    expect, connection: connection.state, close: connection.close,
    /** Whether there never was a kernel for this view. */
    isDetached: () => isDetached,
    /** @param {string} question */
    isAsked: (question) => waiting.has(question),
  };
}
