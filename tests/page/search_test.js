// @ts-check
import assert from "node:assert/strict";
import test from "node:test";
import { placesFor } from "../../cutwidgets/panel/static/search.js";
import { network } from "./fakes.js";

/** Two stages of ResNet50's kind. */
function resnet() {
  const net = network();
  const names = ["stem", "conv4_block3", "conv4_block30", "conv5_block1"];
  const kinds = ["1_conv", "out"];
  net.blocks = names.map((name) => ({
    ...net.blocks[0], name, layers: kinds.map((kind) => `${name}_${kind}`),
  }));
  net.stages = [{ name: "conv4", first: 1, last: 2 }, { name: "conv5", first: 3, last: 3 }];
  return net;
}
/** @param {string} text */
const found = (text) => placesFor(resnet(), text).map(({ block, layer, stage }) =>
  stage ? `stage ${stage}` : layer ?? block);

test("a name before all that contains it, whatever its case", () => {
  assert.equal(found("conv4_block3")[0], "conv4_block3");
  assert.equal(found("CONV4_BLOCK3")[0], "conv4_block3");
  assert.equal(found("conv4_block3_out")[0], "conv4_block3_out");
  assert.equal(found("CONV4_block3_OUT")[0], "conv4_block3_out");
});

test("a stage is found by its name and shown by its first block", () => {
  assert.deepEqual(placesFor(resnet(), "conv5")[0], { block: "conv5_block1", layer: null, stage: "conv5" });
});

test("blocks and stages before layers, and beginnings before other parts", () => {
  assert.deepEqual(found("block3"), ["conv4_block3", "conv4_block30", "conv4_block3_1_conv",
    "conv4_block3_out", "conv4_block30_1_conv", "conv4_block30_out"]);
  assert.deepEqual(found("conv5"), ["stage conv5", "conv5_block1", "conv5_block1_1_conv",
    "conv5_block1_out"]);
  assert.deepEqual(found("conv4").slice(0, 3), ["stage conv4", "conv4_block3", "conv4_block30"]);
  assert.equal(found("1_conv").length, 4);
});

test("each place is found once, and a block goes before a stage of its name", () => {
  const net = resnet();
  net.stages = [{ name: "stem", first: 0, last: 0 }];
  const hits = placesFor(net, "stem");
  assert.deepEqual(hits[0], { block: "stem", layer: null });
  assert.equal(hits.filter(({ layer }) => !layer).length, 1);
});

test("nothing", () => {
  assert.deepEqual(found("nothing"), []);
});
