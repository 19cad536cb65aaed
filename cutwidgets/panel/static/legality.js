// @ts-check
// Why a slice cannot run from one place to another, and what can be chosen instead.
/** @import { Action, Card, End, Network, Place, Reason, Refusal, Wire } from "./types.d.ts" */
import { listed, titleOf } from "./text.js";

export const ALLOW_BYPASS = "Let skip connections become extra inputs";

/**
 * Why a slice from one block cannot end at another, by the network's own table; null if it can.
 * @param {Network} network
 * @param {number} start
 * @param {number} end
 * @returns {Reason | null}
 */
export function reasonOf(network, start, end) {
  if (end < start) return { kind: "before", names: [], wires: [] };
  const found = network.refused[start]?.[end];
  if (!found) return null;
  const wires = roughWires(network, found.makers, start, end);
  return { kind: found.names.length ? "bypassed" : "apart", names: found.names, wires };
}

/**
 * Whether that reason stands in the way, given whether skip connections may become extra inputs.
 * @param {Reason | null | undefined} reason
 * @param {boolean} allowBypass
 */
export function forbids(reason, allowBypass) {
  return Boolean(reason) && !(reason?.kind === "bypassed" && allowBypass);
}

/**
 * A reason in words.
 * @param {Reason} reason
 * @param {string | number} start
 * @param {string} end  "here", or "at" a place.
 */
export function wording({ kind, names }, start, end = "here") {
  const why = kind === "before" ? `it comes before the start, ${start}`
    : kind === "apart" ? `it is not computed from ${start}`
      : `it also needs ${outputsOf(names)}, from before the start`;
  return `Cannot end ${end}: ${why}.`;
}

/** @param {string[]} names */
function outputsOf(names) {
  return names.length === 1 ? `the output of ${names[0]}` : `the outputs of ${listed(names)}`;
}

/**
 * Why a slice from one block cannot end at another; null if it can.
 * @param {Network} network
 * @param {number} start
 * @param {number} end
 * @param {boolean} allowBypass
 * @returns {Refusal | null}
 */
export function refusal(network, start, end, allowBypass) {
  const reason = reasonOf(network, start, end);
  if (!reason || !forbids(reason, allowBypass)) return null;
  return { text: wording(reason, network.blocks[start].name), wires: reason.wires };
}

/**
 * What the user can do instead of a slice that is refused.
 * @param {object} refused
 * @param {string | number} refused.start
 * @param {string} refused.end
 * @param {Reason} refused.reason
 * @param {boolean} refused.canSwap  Whether the slice the other way round can be cut.
 * @param {[Place, Place][]} refused.nearest  The nearest slices that can be cut.
 * @returns {Action[]}
 */
export function waysOut({ start, end, reason, canSwap, nearest }) {
  /** @type {Action[]} */
  const actions = [];
  if (canSwap) actions.push({ label: `Swap: ${titleOf(end, start)}`, selection: [end, start] });
  if (reason.kind === "bypassed") {
    actions.push({ label: ALLOW_BYPASS, selection: [start, end], allow_bypass: true });
  }
  actions.push(...nearest.map((places) => ({ label: titleOf(...places), selection: places })));
  actions.push({ label: `Start at ${end} instead`, begin: end });
  return actions;
}

/**
 * What the user can do instead of several ends, one of which is refused.
 * @param {Place} start
 * @param {End} wanted  All ends.
 * @param {string} end  The one that is refused.
 * @param {Reason} reason
 * @returns {Action[]}
 */
export function waysOutOfSeveral(start, wanted, end, reason) {
  /** @type {Action[]} */
  const allow = [{ label: ALLOW_BYPASS, selection: [start, wanted], allow_bypass: true }];
  const begin = { label: `Start at ${end} instead`, begin: end };
  return reason.kind === "bypassed" ? [...allow, begin] : [begin];
}

/**
 * The starts nearest to one from which a slice can end at a block: one up to it, one after.
 * @param {Network} network
 * @param {number} start
 * @param {number} end
 */
export function nearestStarts(network, start, end) {
  const legal = network.blocks.map((_, i) => i).filter((i) => !reasonOf(network, i, end));
  const [before, after] = [legal.filter((i) => i <= start).at(-1), legal.find((i) => i > start)];
  return [before, after].filter((i) => i !== undefined);
}

/**
 * The wires of some blocks past a start, where no kernel knows them more exactly.
 * @param {Network} network
 * @param {number[]} makers
 * @param {number} start
 * @param {number} end
 * @returns {Wire[]}
 */
function roughWires(network, makers, start, end) {
  return network.sources.slice(0, end + 1).flatMap((sources, block) => {
    if (block <= start) return []; // all that enters the start itself is its input
    return sources.filter((source) => makers.includes(source)).flatMap((source) => {
      const wire = { source, block, shortcut: false };
      return source === sources[0] ? [wire, { ...wire, shortcut: true }] : [wire];
    });
  });
}

/**
 * Ids of what draws some wires among the cards of blocks: a line, or a card, if it names what it
 * reads instead, or if the wire runs inside of it.
 * @param {Network} network
 * @param {readonly Card[]} cards
 * @param {readonly Wire[]} wires
 * @param {(id: string) => boolean} isDrawn
 * @returns {string[]}
 */
export function drawnWires(network, cards, wires, isDrawn) {
  /** @param {number} block */
  const cardOf = (block) => cards.findIndex(({ first, last }) => first <= block && block <= last);
  const ids = wires.flatMap(({ source, block, shortcut }) => {
    const [from, into] = [cardOf(source), cardOf(block)];
    if (into < 0) return [];
    const { first, last, name } = cards[into];
    if (from === into) return name && source !== block ? [`block-${first}`] : [];
    const line = lineBetween(network, cardOf, from, into, { first, last });
    if (first === last && shortcut && line.startsWith("spine") && isDrawn(`shortcut-${first}`)) {
      return [`shortcut-${first}`];
    }
    return [isDrawn(line) ? line : `block-${first}`];
  });
  return [...new Set(ids)];
}

/**
 * The id of the line from one card to another: named after the first block that reads it, as in
 * drawing/block_diagram.py.
 * @param {Network} network
 * @param {(block: number) => number} cardOf
 * @param {number} from
 * @param {number} into
 * @param {Card} blocks
 */
function lineBetween({ sources }, cardOf, from, into, { first, last }) {
  /** @type {Map<number, string>} */
  const lines = new Map();
  for (let i = first; i <= last; i++) {
    sources[i].forEach((source, k) => {
      const card = cardOf(source);
      if (card === into || lines.has(card)) return;
      lines.set(card, lines.size ? `skip-${i}-${k}` : `spine-${i}`);
    });
  }
  return lines.get(from) ?? "";
}

/**
 * Ids of what draws some wires among the layers of an opened block.
 * @param {{calls: {index: number}[], entries?: number[]}} opened
 * @param {readonly Wire[]} wires
 * @returns {string[]}
 */
export function layerWires({ calls, entries = [] }, wires) {
  const inside = new Set(calls.map(({ index }) => index));
  return wires.flatMap(({ tensor = -1, maker = -1, reader = -1 }) => {
    const source = inside.has(maker) ? `${maker}` : `entry-${entries.indexOf(tensor)}`;
    return inside.has(reader) ? [`edge-${source}-${reader}`] : [];
  });
}
