// @ts-check
import assert from "node:assert/strict";
import test from "node:test";
import {
  ALLOW_BYPASS, drawnWires, forbids, layerWires, nearestStarts, reasonOf, refusal, waysOut,
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
  assert.deepEqual(reason?.wires, [{ source: 0, block: 3, shortcut: false }]);
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

test("what stands in the way, and what may become an input", () => {
  for (const kind of /** @type {const} */ (["before", "apart", "bypassed"])) {
    const reason = { kind, names: [], wires: [] };
    assert.equal(forbids(reason, false), true);
    assert.equal(forbids(reason, true), kind !== "bypassed");
  }
  assert.equal(forbids(null, false), false);
  assert.equal(forbids(undefined, false), false);
});

/** @param {"before" | "apart" | "bypassed"} kind */
function labels(kind, more = {}) {
  const reason = { kind, names: ["x"], wires: [] };
  const refused = { start: "c", end: "b", reason, canSwap: false, nearest: [], ...more };
  return waysOut(refused).map(({ label }) => label);
}

test("ways out of an end before the start: swap if that can be cut, or start there", () => {
  assert.deepEqual(labels("before", { canSwap: true }), ["Swap: b to c", "Start at b instead"]);
  assert.deepEqual(labels("before"), ["Start at b instead"]);
});

test("ways out of a skip connection: let it in, the nearest slices, or start there", () => {
  const nearest = [["a", "b"], ["b", "b"]];
  assert.deepEqual(labels("bypassed", { nearest }),
    [ALLOW_BYPASS, "a to b", "b", "Start at b instead"]);
});

test("the way out of another branch: start there", () => {
  assert.deepEqual(labels("apart"), ["Start at b instead"]);
});

test("each way out does what it says", () => {
  const reason = { kind: /** @type {const} */ ("bypassed"), names: ["x"], wires: [] };
  const all = waysOut({ start: "c", end: "b", reason, canSwap: true, nearest: [["a", "b"]] });
  assert.deepEqual(all.map(({ selection, begin, allow_bypass }) => [selection, begin, allow_bypass]), [
    [["b", "c"], undefined, undefined],
    [["c", "b"], undefined, true],
    [["a", "b"], undefined, undefined],
    [undefined, "b", undefined],
  ]);
});

test("the nearest starts that work, on either side", () => {
  assert.deepEqual(nearestStarts(net, 1, 3), [0, 3]);
  assert.deepEqual(nearestStarts(net, 2, 3), [0, 3]);
  assert.deepEqual(nearestStarts(net, 1, 2), [1, 2]);
  for (const start of nearestStarts(net, 2, 3)) assert.equal(reasonOf(net, start, 3), null);
});

const everything = () => true;

test("wires are drawn as the lines into the block that reads them", () => {
  const wire = { source: 0, block: 3, shortcut: false };
  assert.deepEqual(drawnWires(net, net.cards, [wire], everything), ["skip-3-1"]);
  const main = { source: 2, block: 3, shortcut: false };
  assert.deepEqual(drawnWires(net, net.cards, [main], everything), ["spine-3"]);
  const short = { ...main, shortcut: true };
  assert.deepEqual(drawnWires(net, net.cards, [short], everything), ["shortcut-3"]);
  assert.deepEqual(drawnWires(net, net.cards, [short], (id) => !id.startsWith("shortcut")), ["spine-3"]);
  assert.deepEqual(drawnWires(net, net.cards, [{ ...main, source: -1, block: 4 }], everything), ["spine-4"]);
});

test("a wire that only a card's text names is drawn as that card", () => {
  const wire = { source: 0, block: 3, shortcut: false };
  assert.deepEqual(drawnWires(net, net.cards, [wire], () => false), ["block-3"]);
});

test("wires of a run are drawn at its card", () => {
  const cards = [{ first: 0, last: 0 }, { first: 1, last: 3, name: "3 blocks" }, { first: 4, last: 4 }];
  const skip = { source: 0, block: 3, shortcut: false };
  assert.deepEqual(drawnWires(net, cards, [skip], everything), ["spine-1"]); // one line for both
  const inside = { source: 1, block: 2, shortcut: false };
  assert.deepEqual(drawnWires(net, cards, [inside], everything), ["block-1"]);
  const within = { source: 2, block: 2, shortcut: false };
  assert.deepEqual(drawnWires(net, net.cards, [within], everything), []); // inside of one block
});

test("wires among the layers of an opened block", () => {
  const opened = { calls: [{ index: 5 }, { index: 6 }, { index: 8 }], entries: [11, 12] };
  const wire = { source: 0, block: 1, shortcut: true };
  assert.deepEqual(layerWires(opened, [
    { ...wire, tensor: 12, maker: 3, reader: 8 },
    { ...wire, tensor: 20, maker: 5, reader: 8 },
    { ...wire, tensor: 20, maker: 5, reader: 9 },
  ]), ["edge-entry-1-8", "edge-5-8"]);
});
