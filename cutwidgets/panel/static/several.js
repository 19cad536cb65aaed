// @ts-check
// The end of a selection: a place, or several in a list or by keys of their own.
/** @import { End, Place } from "./types.d.ts" */

/**
 * All ends, each with the key of its output.
 * @param {End | undefined} end
 * @returns {{key: string, place: Place}[]}
 */
export function keyedEnds(end) {
  if (end === undefined) return [];
  if (Array.isArray(end)) return end.map((place) => ({ key: String(place), place }));
  if (typeof end !== "object") return [{ key: String(end), place: end }];
  return Object.entries(end).map(([key, place]) => ({ key, place }));
}

/** @param {End | undefined} end */
export function placesOf(end) {
  return keyedEnds(end).map(({ place }) => place);
}

/** @param {End | undefined} end @returns {end is Place[] | Record<string, Place>} */
export function areSeveral(end) {
  return typeof end === "object";
}

/**
 * The ends with one more, or without it if it is one of them; undefined if it is the only one.
 * @param {End} end
 * @param {Place} place
 */
export function toggledEnd(end, place) {
  const ends = keyedEnds(end);
  const rest = ends.filter((one) => one.place !== place);
  if (!rest.length) return undefined;
  if (rest.length < ends.length) return sameKind(end, rest);
  let key = String(place);
  while (ends.some((one) => one.key === key)) key += "_";
  return sameKind(end, [...ends, { key, place }]);
}

/**
 * The ends with another place instead of the first one; its own key stays.
 * @param {End} end
 * @param {Place} place
 */
export function withFirst(end, place) {
  const [first, ...rest] = keyedEnds(end).filter((one, i) => !i || one.place !== place);
  const key = first.key === String(first.place) ? String(place) : first.key;
  return sameKind(end, [{ key, place }, ...rest]);
}

/** @param {End} end @param {{key: string, place: Place}[]} ends @returns {End} */
function sameKind(end, ends) {
  if (areSeveral(end) && !Array.isArray(end)) {
    return Object.fromEntries(ends.map(({ key, place }) => [key, place]));
  }
  return ends.length === 1 ? ends[0].place : ends.map(({ place }) => place);
}
