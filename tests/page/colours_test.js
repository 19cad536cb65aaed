// @ts-check
import assert from "node:assert/strict";
import test from "node:test";
import { colourOf, SCALE } from "../../cutwidgets/panel/static/colours.js";

/** Luminance by the formula of WCAG 2. @param {number[]} rgb */
function luminance(rgb) {
  const [r, g, b] = rgb.map((part) => part / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
/** @param {string} fill */
const parts = (fill) => (fill.match(/\d+/g) ?? []).map(Number);

test("the ends of the scale, and what lies beyond them", () => {
  assert.equal(colourOf(0).fill, "rgb(68, 1, 84)");
  assert.equal(colourOf(1).fill, "rgb(253, 231, 37)");
  assert.deepEqual(colourOf(-3), colourOf(0));
  assert.deepEqual(colourOf(7), colourOf(1));
});

test("each colour of the scale is met", () => {
  SCALE.forEach((colour, i) => {
    const rgb = [1, 3, 5].map((k) => parseInt(colour.slice(k, k + 2), 16));
    assert.deepEqual(parts(colourOf(i / (SCALE.length - 1)).fill), rgb);
  });
});

test("ink can be read on every colour, and lightness only grows", () => {
  let before = -1;
  for (let share = 0; share <= 1; share += 0.01) {
    const { fill, ink } = colourOf(share);
    const own = luminance(parts(fill));
    const other = ink === "#000000" ? 0 : 1;
    const contrast = (Math.max(own, other) + 0.05) / (Math.min(own, other) + 0.05);
    assert.ok(contrast >= 4.5, `${share}: ${contrast}`);
    assert.ok(own >= before, `${share}`);
    before = own;
  }
});
