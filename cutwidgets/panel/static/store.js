// @ts-check
// The state of a view, without a page: what is chosen, what was asked, and what the kernel answered.
/** @import { Action, Card, Message, Model, Network, Opened, Progress, Reach, Reason, Refusal, Status, Unfolded, Wire } from "./types.d.ts" */
import { createConnection } from "./connection.js";
import { createHistory } from "./history.js";
import { forbids, nearestStarts, reasonOf, refusal, waysOut, wording } from "./legality.js";
import { QUESTIONS } from "./questions.js";
import { same } from "./text.js";

const RUN_THE_CELL = "Run this cell again.";
export const LOST = "The kernel does not answer: it was restarted, has stopped, or has been busy " +
  `for a minute. ${RUN_THE_CELL}`;
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
  /** @type {Network} */
  const network = model.get("_network");
  const { blocks } = network;
  /** @type {Map<string | number, number>} Positions of the blocks, by their names and their layers' */
  const positions = new Map();
  blocks.forEach((block, i) => block.layers.forEach((layer) => positions.set(layer, i)));
  blocks.forEach((block, i) => positions.set(block.name, i));
  const names = new Set(blocks.map((block) => block.name));
  const history = createHistory();
  /** @type {Set<() => void>} */
  const listeners = new Set();

  /** @type {string | null} The start, while the end is not chosen yet. */
  let pending = null;
  /** @type {Message | null} Why a click did nothing, and what to do instead. */
  let explanation = null;
  /** @type {{start: string | number, end: string} | null} The slice that a click asked for in vain. */
  let refusedPair = null;
  /** @type {Map<string | number, Reach[]>} What the kernel told of the ends of each start. */
  const reaches = new Map();
  /** @type {Opened | null} */
  let opened = null;
  /** @type {Unfolded | null} */
  let unfolded = null;
  /** @type {string | undefined} The card with the keyboard's focus. */
  let active;
  /** @type {string} The tab in front. */
  let tab = "";
  let announcement = "";
  /** @type {import("./types.d.ts").Goal | null} A card that the diagram has to bring into sight. */
  let goal = null;
  let asked = false; // whether the selection waits for its answer
  let failed = false; // whether the latest answer to a question was an error
  /** @type {Map<string, number>} The questions that wait for an answer, and their numbers. */
  const waiting = new Map();
  /** @type {Map<string, () => void>} What to do with an answer of this view's own question. */
  const then = new Map();
  let serial = 0;

  const connection = createConnection({
    timers,
    probe: () => send({ ask: "alive", id: ++serial }),
    isGone,
    changed(state) {
      if (state === "lost") [waiting, then].forEach((map) => map.clear());
      notify();
    },
  });

  let isDrawing = false; // what changes in one turn is drawn once, at its end
  function notify() {
    if (isDrawing) return;
    isDrawing = true;
    queueMicrotask(() => {
      isDrawing = false;
      for (const listener of [...listeners]) listener();
    });
  }

  // -------------------------------------------------------------------------- the connection

  // JupyterLab tells when the kernel has read a message; its answer then follows, or never does.
  function callbacks() {
    const number = connection.sent();
    /** @param {any} message */
    const status = (message) => {
      if (message?.content?.execution_state === "idle") connection.read(number);
    };
    return { iopub: { status } };
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
  async function liveChanged() {
    const own = await model.widget_manager?.get_model?.(model.get("_kernel")?.id);
    if (own?.comm_live === false) connection.gone();
    else if (own?.comm_live) connection.back();
  }
  function isWaiting() {
    return asked || waiting.size > 0;
  }
  const lost = () => connection.state() === "lost";
  const offline = () => Boolean(model.offline) || lost();

  // -------------------------------------------------------------------------- the selection

  /** @returns {(string | number)[]} */
  const selection = () => model.get("selection") ?? [];
  const whole = () => selection().every((place) => names.has(String(place)));

  /** The kernel's answer to the selection, or undefined. */
  function result() {
    const answer = model.get("_result");
    return same(answer.selection, selection()) && isCurrent(answer) ? answer : undefined;
  }
  // A saved view may be older than the current choice of these.
  /** @param {any} answer */
  function isCurrent(answer) {
    const chosen = ["allow_bypass", "weights"];
    return chosen.every((key) => answer[key] === undefined || answer[key] === model.get(key));
  }

  /**
   * First and last block of the selection. For a tensor, only the kernel knows them.
   * @returns {[number, number] | undefined}
   */
  function range() {
    const [start, end] = selection().map((place) => positions.get(place));
    if (start !== undefined && end !== undefined && start <= end) return [start, end];
    return result()?.range;
  }

  /** @returns {Status} */
  function status() {
    if (!selection().length) return pending === null ? "none" : "pending";
    const answer = result();
    if (answer?.rows) return "ready";
    if (answer) return "refused";
    if (model.offline) return "offline";
    return { live: /** @type {const} */ ("waiting"), busy: /** @type {const} */ ("busy"),
      lost: /** @type {const} */ ("lost") }[connection.state()];
  }

  function forget() {
    explanation = refusedPair = null;
  }
  /** @param {Record<string, unknown>} values */
  function set(values) {
    forget();
    for (const [key, value] of Object.entries(values)) model.set(key, value);
    whileConnected(() => model.save_changes(callbacks()));
  }
  /** @param {string} name */
  function begin(name) {
    pending = name;
    forget();
    announcement = `Start: ${name}. Choose the end.`;
    askReach();
    notify();
  }
  /** @param {readonly (string | number)[]} places @param {boolean} [allow] */
  function select(places, allow) {
    pending = null;
    set(allow === undefined ? { selection: places } : { selection: places, allow_bypass: allow });
    notify(); // at once: the highlight does not wait for the kernel
  }
  /** @param {string | number} start @param {string} end */
  function choose(start, end) {
    const reason = reasonFor(start, end);
    if (reason && forbids(reason, model.get("allow_bypass"))) explain(start, end, reason);
    else select([start, end]);
  }
  /** @param {string | number} start @param {string} end @param {Reason} reason */
  function explain(start, end, reason) {
    explanation = null;
    refusedPair = { start, end };
    announcement = wording(reason, start, `at ${end}`);
    askReach();
    notify();
  }
  function clear() {
    if (pending !== null) {
      pending = null;
      forget();
      announcement = "Start cleared.";
      askReach();
      notify();
    } else if (explanation || refusedPair) {
      forget();
      notify();
    } else select([]);
  }
  /** @param {boolean} back */
  function step(back) {
    const places = history.step(back);
    if (places) select(places);
  }
  /** @param {number} start @param {number} end @returns {Refusal | null} */
  function refused(start, end) {
    return refusal(network, start, end, model.get("allow_bypass"));
  }

  // --------------------------------------------------------------------- which ends a start has

  /**
   * The kernel's answer on a start, and on the layers of a block if they are meant.
   * @param {string | number} start @param {string | null} block
   */
  function told(start, block) {
    return reaches.get(start)?.find((reach) => block === null || reach.block === block);
  }
  /**
   * Why a slice cannot run from one place to another; null if it can, undefined until the kernel
   * has told.
   * @param {string | number} start @param {string | number} end
   * @returns {Reason | null | undefined}
   */
  function reasonFor(start, end) {
    const to = positions.get(end);
    if (to === undefined) return undefined;
    const isBlock = names.has(String(end));
    const reach = told(start, isBlock ? null : blocks[to].name);
    if (reach?.blocks && isBlock) return reach.blocks[to] ?? null;
    if (reach?.layers && !isBlock) return reach.layers[end] ?? null;
    const from = positions.get(start);
    if (from === undefined || !isBlock || !names.has(String(start))) return undefined;
    return reasonOf(network, from, to);
  }
  /**
   * Why a place cannot be the end while a start is pending.
   * @param {string} end
   * @returns {Refusal | null}
   */
  function refusalOf(end) {
    const reason = pending === null ? null : reasonFor(pending, end);
    if (!reason || pending === null || !forbids(reason, model.get("allow_bypass"))) return null;
    return { text: wording(reason, pending), wires: reason.wires };
  }
  /** @param {string | number} place */
  function blockAround(place) {
    const i = positions.get(place);
    return i === undefined || names.has(String(place)) ? null : blocks[i].name;
  }
  /** Ask for the ends of the start, and whether a refused slice can be swapped, if not known. */
  function askReach() {
    if (offline() || waiting.has("reach")) return;
    /** @type {[string | number, string | null][]} */
    const wanted = [];
    const start = pending ?? selection()[0];
    const needsKernel = pending !== null || opened || !names.has(String(start));
    if (start !== undefined && needsKernel) wanted.push([start, opened?.block ?? null]);
    const [first, last] = refusedPair ? [refusedPair.start, refusedPair.end]
      : result()?.reason ? selection() : [];
    if (first !== undefined && last !== undefined) wanted.push([last, blockAround(first)]); // swapped
    const next = wanted.find((one) => !told(...one));
    if (!next) return;
    const [from, block] = next;
    ask("reach", { start: from, block }, { isQuiet: true, answered: () => {
      const reply = model.get("_reach");
      const isThis = reply?.start === from && reply.block === block;
      const answer = isThis ? reply : { start: from, block }; // failed, or another view was faster
      reaches.set(from, [...reaches.get(from) ?? [], answer]);
      askReach();
    } });
  }
  /** @returns {Wire[]} What makes a slice impossible: that of a click, or the selected one. */
  function crossing() {
    if (refusedPair) return reasonFor(refusedPair.start, refusedPair.end)?.wires ?? [];
    return pending === null ? result()?.reason?.wires ?? [] : [];
  }
  /**
   * The inputs of the slice beside those of its start.
   * @returns {{names: string[], wires: Wire[]}}
   */
  function extra() {
    return (pending === null && result()?.extra) || { names: [], wires: [] };
  }
  /**
   * @param {string | number} start @param {string} end @param {Reason} reason
   * @param {(string | number)[][]} [nearest]
   */
  function instead(start, end, reason, nearest) {
    const [allow, from, to] = [model.get("allow_bypass"), positions.get(start), positions.get(end)];
    const back = reason.kind === "before" ? reasonFor(end, start) : undefined;
    const canSwap = back !== undefined && !forbids(back, allow);
    /** @type {(string | number)[][]} */
    let near = nearest ?? [];
    if (!nearest && reason.kind === "bypassed" && from !== undefined && to !== undefined) {
      const starts = names.has(end) ? nearestStarts(network, from, to) : [to];
      near = starts.map((i) => [blocks[i].name, end]);
    }
    return waysOut({ start, end, reason, canSwap, nearest: near });
  }
  /** @param {Action} action */
  function act(action) {
    if (action.begin !== undefined) begin(action.begin);
    else if (action.selection) select(action.selection, action.allow_bypass);
    else set({ allow_bypass: Boolean(action.allow_bypass) });
    const place = action.begin ?? action.selection?.at(-1); // the button goes, the focus must not
    if (place !== undefined) goal = { name: String(place), focus: true, where: "near" };
  }

  // -------------------------------------------------------------------------- the questions

  /**
   * Ask the kernel.
   * @param {string} question
   * @param {object} details
   * @param {{answered?: () => void, buffers?: ArrayBuffer[], isQuiet?: boolean}} options
   */
  function ask(question, details = {}, { answered, buffers = [], isQuiet = false } = {}) {
    if (model.offline) return;
    if (waiting.has(question) && question !== "maps") return;
    if (!isQuiet) forget();
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
    const isOld = QUESTIONS[question].about === "selection" && !same(latest.selection, selection());
    return isOld ? null : latest;
  }
  /** @param {string} question */
  function hasFailed(question) {
    const latest = model.get(`_${question}`);
    if (!latest?.failed) return false;
    return QUESTIONS[question].about !== "selection" || same(latest.selection, selection());
  }

  /** @returns {Message} What went wrong, or why a click did nothing. */
  function message() {
    if (explanation) return explanation;
    if (refusedPair) {
      const { start, end } = refusedPair;
      const reason = reasonFor(start, end);
      if (reason) {
        return { text: wording(reason, start, `at ${end}`), actions: instead(start, end, reason) };
      }
    }
    if (lost()) return { text: LOST, actions: [] };
    if (model.offline) {
      const chosen = range();
      const reason = chosen && whole() ? refused(...chosen) : null;
      return { text: reason?.text ?? "", actions: [] };
    }
    const latest = result();
    if (!latest && !failed) return { text: "", actions: [] };
    if (pending !== null && !failed) return { text: "", actions: [] };
    if (failed || !latest?.reason) return { text: model.get("error"), actions: [] };
    const [start, end] = selection();
    const actions = instead(start, String(end), latest.reason, latest.nearest);
    return { text: model.get("error"), actions };
  }
  /** @param {string} what */
  function needsPython(what) {
    return `${what} needs Python${model.offline ? ", which a saved page does not have." : `. ${RUN_THE_CELL}`}`;
  }
  /** An error of the page itself. @param {string} text */
  function complain(text) {
    forget();
    explanation = { text, actions: [] };
    notify();
  }

  // ------------------------------------------------------------------- what the diagram shows

  /** @returns {Card[]} */
  const cards = () => (unfolded ?? network).cards;
  /** @param {number} i */
  const cardOf = (i) => cards().findIndex(({ first, last }) => first <= i && i <= last);
  /** The card of a run of blocks, by its name. @param {string | undefined} name */
  const runOf = (name) =>
    opened ? undefined : cards().find((card) => card.name === name && card.name);

  /** The first or the last block of a card. @param {string} name @param {"first" | "last"} end */
  function blockOf(name, end) {
    const run = runOf(name);
    return run ? blocks[run[end]].name : name;
  }
  /** A click on a card. @param {string} name */
  function pick(name) {
    const run = runOf(name);
    if (run) unfold(run);
    else if (pending === null) begin(name);
    else choose(pending, name);
  }
  /** A click with Shift on a card. @param {string} name @param {string} from */
  function extend(name, from) {
    choose(pending ?? selection()[0] ?? blockOf(from, "first"), blockOf(name, "last"));
  }
  /**
   * Show the layers of a block.
   * @param {string | undefined} name @param {string} [layer] @param {boolean} [focus]
   */
  function open(name, layer, focus = true) {
    const run = runOf(name);
    if (run) return unfold(run);
    if (opened || !name || waiting.has("open")) return;
    if (offline()) return complain(needsPython("Opening a block"));
    ask("open", { block: name }, { answered: () => {
      const reply = model.get("_open");
      if (!reply.svg || reply.block !== name) return;
      opened = reply;
      goal = { name: layer ?? reply.calls[0].name, focus, where: layer ? "middle" : "top" };
      askReach();
    } });
  }
  /** Show the blocks of a run, with all other runs closed. @param {Card} card @param {() => void} [afterwards] */
  function unfold({ first, last, name }, afterwards) {
    if (waiting.has("unfold")) return;
    if (offline()) return complain(needsPython("Opening a run of blocks"));
    const title = name ?? blocks[first].name;
    ask("unfold", { first, last }, { answered: () => {
      const reply = model.get("_unfold");
      if (!reply.svg) return;
      unfolded = { svg: reply.svg, cards: reply.cards, first, last, name: title };
      announcement = `Opened ${title}.`;
      if (afterwards) afterwards();
      else goToCard(first);
    } });
  }
  function back() {
    if (opened) {
      const { block } = opened;
      opened = null;
      goToCard(positions.get(block) ?? 0);
    } else if (unfolded) {
      const { first } = unfolded;
      unfolded = null;
      goToCard(first);
    }
    notify();
  }
  /** @param {number} i @param {boolean} [focus] */
  function goToCard(i, focus = true) {
    goal = { name: cards()[cardOf(i)].name ?? blocks[i].name, focus, where: "near" };
  }
  /** @param {string} block @param {string | null} layer @param {boolean} [focus] */
  function goToPlace(block, layer, focus = true) {
    forget();
    failed = false;
    const i = positions.get(block) ?? 0;
    if (opened && opened.block === block && layer) goal = { name: layer, focus, where: "middle" };
    else {
      opened = null;
      const isFolded = Boolean(cards()[cardOf(i)].name);
      const inside = () => (goToCard(i, focus), layer && !offline() && open(block, layer, focus));
      if (isFolded) unfold({ first: i, last: i }, inside);
      else inside();
    }
    notify();
  }

  // ----------------------------------------------------------------- what the kernel answers

  function selectionChanged() {
    pending = null;
    forget();
    failed = false;
    history.add(selection());
    settle();
  }
  // An answer carries its selection; one for an older selection is not shown.
  function settle() {
    const latest = result();
    history.rename(latest?.requested, selection());
    asked = !latest && !model.offline;
    if (latest) announcement = latest.announcement ?? announcement;
    if (asked) connection.asked();
    else if (latest && !model.offline) connection.heard(isWaiting());
    if (latest) askReach();
    notify();
  }
  /** @param {string} question */
  function answered(question) {
    const own = waiting.delete(question); // or another view has asked
    const action = then.get(question);
    then.delete(question);
    connection.heard(isWaiting());
    const latest = model.get(`_${question}`);
    if (own) failed = Boolean(latest?.failed);
    if (QUESTIONS[question].job && latest?.count) announcement = announcementOf(latest);
    if (own) action?.();
    notify();
  }
  /** @param {any} latest  The answer of a job. */
  function announcementOf(latest) {
    return latest.stopped ? "Stopped." : latest.finding ?? latest.text ?? announcement;
  }
  function heard() {
    connection.heard(isWaiting());
    notify();
  }

  /** @type {Record<string, () => void>} */
  const events = {
    "change:selection": selectionChanged,
    "change:allow_bypass": settle,
    "change:weights": settle,
    "change:_result": settle,
    "change:_progress": heard,
    "change:_reply": heard,
    "change:error": notify,
    "comm_live_update": () => void liveChanged(),
  };
  for (const question of Object.keys(QUESTIONS)) {
    events[`change:_${question}`] = () => answered(question);
  }
  for (const [event, listener] of Object.entries(events)) model.on(event, listener);
  selectionChanged();

  return {
    model, network, positions, names, history,
    selection, whole, result, range, status, offline, lost, message, complain, act,
    refused, refusalOf, crossing, extra,
    connection: connection.state,
    pending: () => pending,
    announcement: () => announcement,
    begin, select, choose, clear, step, set,
    ask, stop, progress, isRunning, answer, hasFailed,
    cards, cardOf, runOf, pick, extend, open, back, goToPlace,
    opened: () => opened,
    unfolded: () => unfolded,
    active: () => active,
    /** @param {string} name */
    activate(name) {
      active = name;
      notify();
    },
    takeGoal() {
      const next = goal;
      goal = null;
      return next;
    },
    tab: () => tab,
    /** @param {string} id */
    show(id) {
      tab = id;
      notify();
    },
    notify,
    /** Say something to a screen reader. @param {string} text */
    announce(text) {
      announcement = text;
      notify();
    },
    /** @param {() => void} listener */
    subscribe: (listener) => void listeners.add(listener),
    close() {
      for (const [event, listener] of Object.entries(events)) model.off(event, listener);
      connection.close();
      listeners.clear();
    },
  };
}
