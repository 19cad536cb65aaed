// @ts-check
// Texts and numbers as the page writes them.
/** @import { End, Place } from "./types.d.ts" */
import { placesOf } from "./several.js";

/**
 * 25557032 as "25.6 M".
 * @param {number} count
 */
export function short(count) {
  /** @type {[number, string][]} */
  const units = [[1e12, " T"], [1e9, " G"], [1e6, " M"], [1e3, " k"]];
  for (const [value, unit] of units) {
    if (count >= 0.9995 * value) return `${Number((count / value).toPrecision(3))}${unit}`;
  }
  return String(count);
}

/**
 * 25557032 as "25,557,032".
 * @param {number} count
 */
export function counted(count) {
  return count.toLocaleString("en-US");
}

/**
 * A number of bytes as "25.6 MB".
 * @param {number} bytes
 */
export function bytesText(bytes) {
  return bytes < 1000 ? `${bytes} B` : `${short(bytes)}B`;
}

/**
 * "a to b", "a to b and c", or only "a" where start and end are the same.
 * @param {Place} start
 * @param {End} end
 */
export function titleOf(start, end) {
  return start === end ? `${start}` : `${start} to ${listed(placesOf(end).map(String))}`;
}

/**
 * A name of at most so many letters, shortened in its middle: names differ at their ends.
 * @param {string} name
 * @param {number} letters
 */
export function clipped(name, letters) {
  if (name.length <= letters) return name;
  const end = Math.floor(letters * 2 / 3);
  return `${name.slice(0, letters - end - 1)}…${name.slice(-end)}`;
}

/**
 * ["a", "b", "c"] as "a, b and c".
 * @param {readonly string[]} words
 */
export function listed(words) {
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}

/**
 * Whether two lists have the same items, also where these are lists or dictionaries themselves.
 * @param {readonly unknown[] | undefined | null} a
 * @param {readonly unknown[] | undefined | null} b
 */
export function same(a, b) {
  return Boolean(a && b) && JSON.stringify(a) === JSON.stringify(b);
}
