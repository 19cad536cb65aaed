// @ts-check
import assert from "node:assert/strict";
import test from "node:test";
import { LOST } from "../../cutwidgets/panel/static/ends.js";
import { createStore } from "../../cutwidgets/panel/static/store.js";
import { createClock, createModel, ready } from "./fakes.js";

function start(values = {}) {
  const clock = createClock();
  const model = createModel(values);
  return { clock, model, store: createStore(model, clock.timers) };
}
/** A second view of the same panel. @param {ReturnType<typeof createModel>} model */
const another = (model) => createStore(model, createClock().timers);

test("none, pending, waiting, busy, ready, refused and lost are different", () => {
  const { clock, model, store } = start();
  assert.equal(store.status(), "none");
  store.pick("a");
  assert.equal(store.status(), "pending");
  assert.equal(store.pending(), "a");
  store.pick("b");
  assert.deepEqual(store.selection(), ["a", "b"]);
  assert.equal(store.status(), "waiting");
  clock.run(1000);
  assert.equal(store.status(), "busy");
  model.receive({ _result: ready(["a", "b"]) });
  assert.equal(store.status(), "ready");
  store.select(["b", "a_conv"]);
  model.receive({ _result: { selection: ["b", "a_conv"] }, error: "no" });
  assert.equal(store.status(), "refused");
  assert.equal(store.message().text, "no");
  store.select(["a", "c"]);
  clock.run(60_000);
  assert.equal(store.status(), "lost");
  assert.equal(store.message().text, LOST);
});

test("a saved page without an answer is offline, and never waits", () => {
  const { clock, store } = start({ selection: ["a", "b"] });
  store.close();
  const model = Object.assign(createModel(), { offline: true });
  const saved = createStore(model, clock.timers);
  saved.select(["a", "b"]);
  assert.equal(saved.status(), "offline");
  saved.ask("run");
  assert.equal(model.sent.length, 0);
  assert.equal(clock.waiting(), 0);
});

test("the answer to an older selection is not shown", () => {
  const { model, store } = start();
  store.select(["a", "b"]);
  store.select(["a", "c"]);
  model.receive({ _result: ready(["a", "b"]) });
  assert.equal(store.status(), "waiting");
  assert.equal(store.result(), undefined);
  model.receive({ _result: ready(["a", "c"]) });
  assert.equal(store.status(), "ready");
});

test("the answer to an older choice of weights or bypass is not shown", () => {
  const { model, store } = start();
  store.select(["a", "b"]);
  model.receive({ _result: ready(["a", "b"]) });
  store.set({ weights: "copy" });
  assert.equal(store.status(), "waiting");
  model.receive({ _result: ready(["a", "b"], { weights: "copy" }) });
  assert.equal(store.status(), "ready");
});

test("answers to questions belong to their selection", () => {
  const { model, store } = start();
  store.select(["a", "b"]);
  model.receive({ _result: ready(["a", "b"]) });
  store.ask("run");
  store.select(["a", "c"]);
  model.receive({ _run: { count: 4, selection: ["a", "b"] } });
  assert.equal(store.answer("run"), null);
  model.receive({ _run: { count: 5, selection: ["a", "c"] } });
  assert.equal(store.answer("run").count, 5);
  model.receive({ _costs: { count: 6, selection: ["a", "b"] } });
  assert.equal(store.answer("costs").count, 6); // of the whole model
});

test("a question runs until its answer, and is not asked twice meanwhile", () => {
  const { model, store } = start();
  store.ask("costs");
  store.ask("costs");
  assert.equal(model.sent.length, 1);
  assert.ok(store.isRunning("costs"));
  model.receive({ _costs: { count: 1 } });
  assert.ok(!store.isRunning("costs"));
  store.ask("costs");
  assert.equal(model.sent.length, 2);
});

test("a job of another view is seen here, but only its own view acts on the answer", () => {
  const { model, store } = start();
  const other = another(model);
  let acted = 0;
  other.ask("lab", { study: "lesions" }, { answered: () => (acted += 1) });
  assert.ok(!store.isRunning("lab"));
  model.receive({ _progress: { lab: { done: 1, total: 4, label: "Lesion" } } });
  assert.ok(store.isRunning("lab"));
  model.receive({ _progress: {}, _lab: { count: 3 } });
  assert.ok(!store.isRunning("lab") && !other.isRunning("lab"));
  assert.equal(acted, 1);
});

test("a failed answer is told where it was asked", () => {
  const { model, store } = start();
  store.ask("costs");
  model.receive({ error: "no memory", _costs: { count: 1, failed: true } });
  assert.equal(store.message().text, "no memory");
  assert.ok(store.hasFailed("costs"));
  assert.equal(store.answer("costs"), null);
});

test("a lost kernel awaits nothing, is asked again, and comes back with an answer", () => {
  const { clock, model, store } = start();
  store.ask("costs");
  clock.run(60_000);
  assert.ok(store.lost() && store.offline());
  assert.ok(!store.isRunning("costs"));
  store.ask("costs");
  assert.equal(model.sent.filter(({ ask }) => ask === "costs").length, 2);
  model.receive({ _costs: { count: 1 } });
  assert.ok(!store.lost());
  assert.equal(store.message().text, "");
});

test("a restarted kernel, which reads and answers nothing, is lost within 10 s", () => {
  const { clock, model, store } = start();
  store.select(["a", "b"]);
  let spent = 0;
  for (; !store.lost() && spent < 60_000; spent += 500) {
    clock.run(500);
    model.idle();
  }
  assert.ok(spent <= 10_000, `${spent}`);
});

test("a front end without a kernel says so at once", () => {
  const { model, store } = start();
  model.widget_manager = { kernel: { status: "dead" } };
  store.select(["a", "b"]);
  assert.equal(store.status(), "lost");
});

test("undo returns to the selection before", () => {
  const { model, store } = start();
  store.select(["a", "b"]);
  store.select(["a", "c"]);
  store.step(true);
  assert.deepEqual(model.get("selection"), ["a", "b"]);
  store.step(false);
  assert.deepEqual(model.get("selection"), ["a", "c"]);
});

test("what changes in one turn is drawn once", async () => {
  const { store } = start();
  let drawn = 0;
  store.subscribe(() => (drawn += 1));
  store.pick("a");
  store.pick("b");
  await Promise.resolve();
  assert.equal(drawn, 1);
});

test("a closed view listens no more", () => {
  const { model, store } = start();
  store.close();
  assert.equal(model.listening(), 0);
});

const BYPASSED = { kind: "bypassed", names: ["a_add"], wires: [{ source: 0, block: 3, shortcut: false }] };

test("a refused end is explained, and start and selection stay", () => {
  const { model, store } = start();
  store.select(["a", "b"]);
  model.receive({ _result: ready(["a", "b"]) });
  store.pick("c");
  store.pick("b");
  assert.deepEqual(store.selection(), ["a", "b"]);
  assert.equal(store.pending(), "c");
  assert.match(store.message().text, /^Cannot end at b: it comes before the start, c\.$/);
  assert.deepEqual(store.message().actions.map(({ label }) => label),
    ["Swap: b to c", "Start at b instead"]);
  store.act(store.message().actions[0]);
  assert.deepEqual(store.selection(), ["b", "c"]);
  assert.equal(store.pending(), null);
  assert.equal(store.message().text, "");
});

test("an explained skip connection may become an input", () => {
  const { model, store } = start();
  store.pick("b");
  store.extend("d", "d");
  assert.equal(store.pending(), "b");
  assert.match(store.message().text, /needs the output of a_add/);
  assert.equal(store.crossing().length, 1);
  store.act(store.message().actions[0]);
  assert.equal(model.get("allow_bypass"), true);
  assert.deepEqual(store.selection(), ["b", "d"]);
  assert.deepEqual(store.crossing(), []);
});

test("with Shift, a refused end is explained and the slice stays", () => {
  const { model, store } = start();
  store.select(["c", "c"]);
  model.receive({ _result: ready(["c", "c"]) });
  store.extend("d", "c");
  assert.deepEqual(store.selection(), ["c", "c"]);
  assert.match(store.message().text, /Cannot end at d/);
  store.clear(); // Escape first takes the explanation away
  assert.equal(store.message().text, "");
  assert.deepEqual(store.selection(), ["c", "c"]);
});

test("the ends of a layer are greyed only when the kernel has told", () => {
  const { model, store } = start();
  store.begin("b_conv");
  assert.deepEqual(model.sent.at(-1), { ask: "reach", id: model.sent.at(-1).id, start: "b_conv", block: null });
  assert.equal(store.refusalOf("d"), null);
  assert.equal(store.refusalOf("a"), null);
  const blocks = { 0: { kind: "before", names: [], wires: [] }, 3: BYPASSED };
  model.receive({ _reach: { count: 1, start: "b_conv", block: null, blocks, layers: {} } });
  assert.match(store.refusalOf("d")?.text ?? "", /a_add/);
  assert.match(store.refusalOf("a")?.text ?? "", /before the start, b_conv/);
  assert.equal(store.refusalOf("c"), null);
  const asked = model.sent.length;
  store.begin("b_conv"); // known by now
  assert.equal(model.sent.length, asked);
});

test("an answer on another start is not taken for this one", () => {
  const { model, store } = start();
  store.begin("b_conv");
  store.begin("c_conv");
  assert.equal(model.sent.length, 1); // one question at a time
  model.receive({ _reach: { count: 1, start: "b_conv", block: null, blocks: { 3: BYPASSED }, layers: {} } });
  assert.equal(store.refusalOf("d"), null);
  assert.equal(model.sent.at(-1).start, "c_conv");
  model.receive({ _reach: { count: 2, start: "c_conv", block: null, blocks: { 4: BYPASSED }, layers: {} } });
  assert.equal(store.refusalOf("d"), null);
  assert.match(store.refusalOf("e")?.text ?? "", /a_add/);
});

test("a question on the ends that fails is not asked for ever", () => {
  const { model, store } = start();
  store.begin("b_conv");
  model.receive({ _reach: { count: 1, failed: true } });
  assert.equal(model.sent.length, 1);
  assert.equal(store.refusalOf("d"), null);
});

test("the layers of an opened block are asked for too", () => {
  const { model, store } = start();
  store.open("d");
  const calls = [{ name: "d_conv", index: 7 }, { name: "d_add", index: 8 }];
  model.receive({ _open: { count: 1, block: "d", svg: "<svg/>", calls, entries: [] } });
  store.begin("b");
  assert.equal(model.sent.at(-1).block, "d");
  const layers = { d_add: BYPASSED };
  model.receive({ _reach: { count: 2, start: "b", block: "d", blocks: { 3: BYPASSED }, layers } });
  assert.equal(store.refusalOf("d_conv"), null);
  store.pick("d_add");
  assert.equal(store.pending(), "b");
  assert.deepEqual(store.message().actions.map(({ label }) => label), [
    "Let skip connections become extra inputs", "d to d_add", "Start at d_add instead"]);
});
