// @ts-check
import assert from "node:assert/strict";
import test from "node:test";
import {
  ALLOW_BYPASS, crossing, nearestStart, refusal, waysOut,
} from "../../cutwidgets/panel/static/legality.js";
import { network } from "./fakes.js";

const net = network();

test("an end before the start", () => {
  assert.match(refusal(net, 2, 1, false)?.text ?? "", /it comes before the start, c\./);
  assert.match(refusal(net, 2, 1, true)?.text ?? "", /before the start/);
});

test("an end that a skip connection makes impossible, unless it may become an input", () => {
  const reason = refusal(net, 1, 3, false);
  assert.equal(reason?.text, "Cannot end here: it also needs the output of a_add, from before the start.");
  assert.deepEqual(reason?.makers, [0]);
  assert.equal(refusal(net, 1, 3, true), null);
});

test("an end on another branch, whatever may become an input", () => {
  for (const allow of [false, true]) {
    assert.match(refusal(net, 1, 4, allow)?.text ?? "", /not computed from b/);
  }
});

test("an end that works", () => {
  assert.equal(refusal(net, 0, 4, false), null);
  assert.equal(refusal(net, 1, 1, false), null);
});

test("several layers that cross are listed", () => {
  const many = network();
  many.refused[1] = { 3: { names: ["x", "y", "z"], makers: [0] } };
  assert.match(refusal(many, 1, 3, false)?.text ?? "", /the outputs of x, y and z, from/);
});

test("ways out of an end before the start: swap, or start there", () => {
  assert.deepEqual(waysOut(net, 2, 1, false), [
    { label: "Swap: b to c", selection: ["b", "c"] },
    { label: "Start at b instead", begin: "b" },
  ]);
});

test("a swap that cannot be cut is not offered", () => {
  assert.deepEqual(waysOut(net, 3, 1, false), [{ label: "Start at b instead", begin: "b" }]);
});

test("ways out of a skip connection: let it in, a start that works, or start there", () => {
  assert.deepEqual(waysOut(net, 2, 3, false), [
    { label: ALLOW_BYPASS, selection: ["c", "d"], allow_bypass: true },
    { label: "d", selection: ["d", "d"] },
    { label: "Start at d instead", begin: "d" },
  ]);
});

test("the nearest start that works, on either side", () => {
  assert.equal(nearestStart(net, 1, 3), 0);
  assert.equal(nearestStart(net, 2, 3), 3);
  assert.equal(nearestStart(net, 1, 2), 1);
});

test("the edges that carry a tensor past the start", () => {
  const drawn = (/** @type {string} */ edge) => edge;
  assert.deepEqual(crossing(net, [0], 2, drawn), ["skip-3-1"]);
  assert.deepEqual(crossing(net, [2], 3, drawn), ["shortcut-3"]);
  assert.deepEqual(crossing(net, [2], 2, drawn), ["spine-3", "shortcut-3"]);
  assert.deepEqual(crossing(net, [], 2, drawn), []);
});
