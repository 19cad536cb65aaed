// @ts-check
// Why a slice cannot end at a block, and what can be chosen instead.
/** @import { Network, Refusal, Action } from "./types.d.ts" */
import { listed, titleOf } from "./text.js";

export const ALLOW_BYPASS = "Let skip connections become extra inputs";

/**
 * Why a slice from one block cannot end at another; null if it can.
 * @param {Network} network
 * @param {number} start
 * @param {number} end
 * @param {boolean} allowBypass
 * @returns {Refusal | null}
 */
export function refusal(network, start, end, allowBypass) {
  const name = network.blocks[start].name;
  if (end < start) return { text: `Cannot end here: it comes before the start, ${name}.` };
  const reason = network.refused[start]?.[end];
  if (!reason) return null;
  const { names, makers } = reason;
  if (!names.length) return { text: `Cannot end here: it is not computed from ${name}.` };
  if (allowBypass) return null;
  return { text: `Cannot end here: it also needs ${outputsOf(names)}, from before the start.`, makers };
}

/** @param {string[]} names */
export function outputsOf(names) {
  return names.length === 1 ? `the output of ${names[0]}` : `the outputs of ${listed(names)}`;
}

/**
 * What the user can do instead of a slice that is refused.
 * @param {Network} network
 * @param {number} start
 * @param {number} end
 * @param {boolean} allowBypass
 * @returns {Action[]}
 */
export function waysOut(network, start, end, allowBypass) {
  const [from, to] = [start, end].map((i) => network.blocks[i].name);
  /** @type {Action[]} */
  const actions = [];
  if (end < start && !refusal(network, end, start, allowBypass)) {
    actions.push({ label: `Swap: ${titleOf([to, from])}`, selection: [to, from] });
  }
  if (end >= start && !allowBypass && network.refused[start]?.[end]?.names.length) {
    actions.push({ label: ALLOW_BYPASS, selection: [from, to], allow_bypass: true });
    const nearest = nearestStart(network, start, end);
    if (nearest !== undefined) {
      const places = [network.blocks[nearest].name, to];
      actions.push({ label: titleOf(places), selection: places });
    }
  }
  actions.push({ label: `Start at ${to} instead`, begin: to });
  return actions;
}

/**
 * The start nearest to the wanted one from which a slice can end at a block.
 * @param {Network} network
 * @param {number} start
 * @param {number} end
 */
export function nearestStart(network, start, end) {
  const legal = network.blocks.map((_, i) => i)
    .filter((i) => i <= end && !refusal(network, i, end, false));
  return legal.sort((a, b) => Math.abs(a - start) - Math.abs(b - start))[0];
}

/**
 * Ids of the edges that carry the outputs of some blocks past the start of another.
 * @param {Network} network
 * @param {number[]} makers
 * @param {number} start
 * @param {(edge: string, i: number) => string} drawn  The id of what stands for an edge into a block.
 * @returns {string[]}
 */
export function crossing(network, makers, start, drawn) {
  return network.sources.flatMap((sources, i) => i < start ? [] : sources.flatMap((source, k) =>
    !makers.includes(source) ? [] : k ? [drawn(`skip-${i}-${k}`, i)]
      : i > start ? [drawn(`spine-${i}`, i), `shortcut-${i}`] : [`shortcut-${i}`]));
}
