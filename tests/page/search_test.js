// @ts-check
import assert from "node:assert/strict";
import test from "node:test";
import { placeFor } from "../../cutwidgets/panel/static/search.js";
import { network } from "./fakes.js";

test("blocks, stages and layers by their names", () => {
  const net = network();
  assert.deepEqual(placeFor(net, "b"), { block: "b", layer: null });
  assert.deepEqual(placeFor(net, "second"), { block: "c", layer: null });
  assert.deepEqual(placeFor(net, "c_conv"), { block: "c", layer: "c_conv" });
  assert.equal(placeFor(net, "nothing"), undefined);
});
