// @ts-check
// How large a diagram is drawn, without a page.

const LEAST = 11; // pixels of the smallest text, at the least scale
const COMFORTABLE = 13; // pixels of the smallest text, if there is room
const LARGEST = 1.6; // scale that shows as much as larger ones

/**
 * @typedef {{width: number, height: number}} Size
 * @typedef {{least: number, comfortable: number, largest: number}} Limits
 */

/**
 * The scales at which the smallest text of a diagram can be read.
 * @param {number} font  Its size in units of the diagram.
 * @param {number} enlarged  How much larger all text is.
 * @returns {Limits}
 */
export function limitsOf(font, enlarged) {
  const [least, comfortable] = [LEAST, COMFORTABLE].map((pixels) => pixels * enlarged / font);
  return { least, comfortable, largest: Math.max(comfortable, LARGEST * enlarged) };
}

/**
 * As wide as the room, if text stays readable and is no larger than comfortable.
 * @param {Size} diagram @param {Size} room @param {Limits} limits
 */
export function automaticScale(diagram, room, { least, comfortable }) {
  return Math.max(least, Math.min(comfortable, room.width / diagram.width));
}

/**
 * The whole diagram in the room; where its text would be too small, one direction of it; where that
 * is too small too, the least scale.
 * @param {Size} diagram @param {Size} room @param {Limits} limits
 */
export function fittingScale(diagram, room, { least, largest }) {
  const both = [room.width / diagram.width, room.height / diagram.height];
  const [whole, one] = [Math.min(...both), Math.max(...both)];
  return Math.max(least, Math.min(largest, whole >= least ? whole : one));
}
