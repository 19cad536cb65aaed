// @ts-check
import assert from "node:assert/strict";
import test from "node:test";
import { areSeveral, keyedEnds, placesOf, toggledEnd, withFirst } from "../../cutwidgets/panel/static/several.js";
import { createStore } from "../../cutwidgets/panel/static/store.js";
import { same, titleOf } from "../../cutwidgets/panel/static/text.js";
import { createClock, createModel, ready } from "./fakes.js";

function start(values = {}) {
  const model = createModel(values);
  return { model, store: createStore(model, createClock().timers) };
}

test("an end is a place, a list or a dictionary", () => {
  assert.deepEqual(keyedEnds(undefined), []);
  assert.deepEqual(keyedEnds("a"), [{ key: "a", place: "a" }]);
  assert.deepEqual(placesOf(["b", "a"]), ["b", "a"]);
  assert.deepEqual(keyedEnds({ z: "a" }), [{ key: "z", place: "a" }]);
  assert.deepEqual(["a", ["a"], { z: "a" }].map(areSeveral), [false, true, true]);
});

test("what is added can be removed, and keys stay", () => {
  for (const end of ["a", ["a", "b"], { z: "a", y: "b" }]) {
    const more = toggledEnd(end, "c");
    assert.deepEqual(placesOf(more), [...placesOf(end), "c"]);
    assert.deepEqual(toggledEnd(/** @type {any} */ (more), "c"), end);
  }
  assert.deepEqual(toggledEnd({ z: "a" }, "b"), { z: "a", b: "b" });
  assert.deepEqual(toggledEnd({ b: "a" }, "b"), { b: "a", b_: "b" });
  assert.equal(toggledEnd("a", "a"), undefined);
  assert.equal(toggledEnd({ z: "a" }, "a"), undefined);
});

test("the first end is replaced, under its own key", () => {
  assert.equal(withFirst("a", "c"), "c");
  assert.deepEqual(withFirst(["a", "b"], "c"), ["c", "b"]);
  assert.equal(withFirst(["a", "b"], "b"), "b");
  assert.deepEqual(withFirst({ z: "a", y: "b" }, "c"), { z: "c", y: "b" });
});

test("titles and equality", () => {
  assert.equal(titleOf("a", "a"), "a");
  assert.equal(titleOf("a", { z: "b", y: "c" }), "a to b and c");
  assert.ok(same(["a", { z: "b" }], ["a", { z: "b" }]));
  assert.ok(!same(["a", ["b", "c"]], ["a", ["c", "b"]]));
  assert.ok(!same(["a", "b"], ["a", ["b"]]));
  assert.ok(!same(undefined, undefined));
});

test("Ctrl+click adds an end, and without a slice it is a click", () => {
  const { model, store } = start();
  store.add("a");
  assert.equal(store.pending(), "a");
  store.add("b");
  assert.deepEqual(store.selection(), ["a", "b"]);
  store.add("c");
  assert.deepEqual(store.selection(), ["a", ["b", "c"]]);
  assert.deepEqual(store.range(), [0, 2]);
  assert.deepEqual(store.endBlocks(), [1, 2]);
  assert.ok(store.whole());
  model.receive({ _result: ready(/** @type {any} */ (["a", ["b", "c"]])) });
  assert.equal(store.status(), "ready");
  store.step(true);
  assert.deepEqual(store.selection(), ["a", "b"]);
});

test("an end that cannot be added is explained, and the ends stay", () => {
  const { store } = start({ selection: ["b", ["b", "c"]] });
  store.add("d");
  assert.deepEqual(store.selection(), ["b", ["b", "c"]]);
  assert.match(store.message().text, /^Cannot end at d: it also needs the output of a_add/);
  store.act(store.message().actions[0]);
  assert.deepEqual(store.selection(), ["b", ["b", "c", "d"]]);
  assert.equal(store.model.get("allow_bypass"), true);
});

test("the ways out of a refused slice of several ends are the kernel's", () => {
  const { model, store } = start({ selection: ["c", ["d", "b"]] });
  const actions = [{ label: "Leave out b", selection: ["c", "d"] }];
  const reason = { kind: "before", names: [], wires: [] };
  model.receive({ _result: { selection: ["c", ["d", "b"]], reason, actions }, error: "no" });
  assert.deepEqual(store.message(), { text: "no", actions });
  store.act(store.message().actions[0]);
  assert.deepEqual(store.selection(), ["c", "d"]);
});

test("a saved page says which end makes no slice", () => {
  const values = { selection: ["b", ["c", "a"]] };
  const model = Object.assign(createModel(values), { offline: true });
  const store = createStore(model, createClock().timers);
  assert.match(store.refused()?.text ?? "", /it comes before the start, b/);
});
