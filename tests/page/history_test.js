// @ts-check
import assert from "node:assert/strict";
import test from "node:test";
import { createHistory } from "../../cutwidgets/panel/static/history.js";

test("undo and redo go through all selections", () => {
  const history = createHistory();
  history.add(["a", "b"]);
  history.add(["b", "c"]);
  assert.deepEqual(history.step(true), ["a", "b"]);
  assert.deepEqual(history.step(true), []);
  assert.equal(history.step(true), undefined);
  assert.equal(history.past(), 0);
  assert.equal(history.future(), 2);
  assert.deepEqual(history.step(false), ["a", "b"]);
  assert.deepEqual(history.step(false), ["b", "c"]);
  assert.equal(history.step(false), undefined);
});

test("a new selection takes the place of what was undone", () => {
  const history = createHistory();
  history.add(["a", "b"]);
  history.step(true);
  history.add(["c", "d"]);
  assert.equal(history.future(), 0);
  assert.deepEqual(history.step(true), []);
});

test("the same selection again is no step", () => {
  const history = createHistory();
  history.add(["a", "b"]);
  history.add(["a", "b"]);
  assert.equal(history.past(), 1);
});

test("what the kernel only names otherwise is one step", () => {
  const history = createHistory();
  history.add(["x", "y"]);
  history.add(["a_conv", "b"]); // as requested
  history.add(["a", "b"]); // as the kernel names it
  history.rename(["a_conv", "b"], ["a", "b"]);
  assert.deepEqual(history.step(true), ["x", "y"]);
});

test("a selection that was not requested stays a step", () => {
  const history = createHistory();
  history.add(["x", "y"]);
  history.add(["a", "b"]);
  history.rename(["other", "b"], ["a", "b"]);
  assert.deepEqual(history.step(true), ["x", "y"]);
  history.step(false);
  history.rename(["a", "b"], ["a", "b"]);
  assert.equal(history.past(), 2);
});
