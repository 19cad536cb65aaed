// @ts-check

// Viridis (van der Walt and Smith 2015): steps of even lightness, for the colour-blind too.
// drawing/marks.py draws files in the same colours.
export const SCALE = ["#440154", "#46327e", "#365c8d", "#277f8e", "#1fa187", "#4ac16d", "#a0da39",
  "#fde725"];

/**
 * The colour of a share from 0 to 1, and black or white, whichever can be read on it.
 * @param {number} share
 */
export function colourOf(share) {
  const place = Math.max(0, Math.min(1, share)) * (SCALE.length - 1);
  const i = Math.min(Math.floor(place), SCALE.length - 2);
  const [from, to] = [SCALE[i], SCALE[i + 1]].map((colour) =>
    [1, 3, 5].map((k) => parseInt(colour.slice(k, k + 2), 16)));
  const mixed = from.map((part, k) => Math.round(part + (place - i) * (to[k] - part)));
  // Relative luminance, as WCAG 2 defines it.
  const [r, g, b] = mixed.map((part) =>
    part > 10 ? ((part / 255 + 0.055) / 1.055) ** 2.4 : part / 255 / 12.92);
  const luminance = 0.2126 * r + 0.7152 * g + 0.0722 * b;
  return { fill: `rgb(${mixed.join(", ")})`, ink: luminance > 0.179 ? "#000000" : "#ffffff" };
}
