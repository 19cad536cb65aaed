// @ts-check
import assert from "node:assert/strict";
import test from "node:test";
import { heatClasses, heatQuestion } from "../../cutwidgets/panel/static/heat.js";
import { createStore } from "../../cutwidgets/panel/static/store.js";
import { createClock, createModel, ready } from "./fakes.js";

/** @type {import("../../cutwidgets/panel/static/heat.js").Offer} */
const OFFER = { places: ["a", "b"], place: "b", classes: [], note: "" };

test("before an answer, only what is predicted can be explained", () => {
  assert.deepEqual(heatClasses(OFFER, null), [["", "the predicted one"]]);
  assert.deepEqual(heatQuestion("b", ""), { place: "b", target: null });
});

test("an answer offers its classes, beside what is predicted", () => {
  const classes = heatClasses(OFFER, { place: "b", class: 7, classes: [[7, "cat, 0.9"], [0, "dog, 0.1"]] });
  assert.deepEqual(classes.map(([value]) => value), ["", "7", "0"]);
  assert.deepEqual(heatQuestion("b", "0"), { place: "b", target: 0 });
});

test("where it is not clear what is predicted, the run's own choices are all there are", () => {
  /** @type {[number, string][]} */
  const known = [[1, "what raises it"], [0, "what lowers it"]];
  const offer = { ...OFFER, classes: known };
  assert.deepEqual(heatClasses(offer, null).map(([value]) => value), ["1", "0"]);
  assert.deepEqual(heatClasses(offer, { place: "b", class: 0, classes: known }).length, 2);
});

test("heat of another slice is not shown, and a job in progress is known to run", () => {
  const clock = createClock();
  const model = createModel({ selection: ["a", "b"], _result: ready(["a", "b"]) });
  const store = createStore(model, clock.timers);
  model.receive({ _heat: { selection: ["a", "b"], count: 1, place: "b" } });
  assert.equal(store.answer("heat").place, "b");
  model.set("selection", ["a", "a"]);
  assert.equal(store.answer("heat"), null);
  store.ask("heat", heatQuestion("a", "3"));
  const { ask, place, target } = model.sent.at(-1);
  assert.deepEqual([ask, place, target], ["heat", "a", 3]);
  assert.equal(store.isRunning("heat"), true);
  store.close();
});
