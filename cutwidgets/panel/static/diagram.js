// @ts-check
// A listbox of blocks, or of the layers of one.
/** @import { Goal, Refusal, Value, View } from "./types.d.ts" */
/** @import { Sizes } from "./sizes.js" */
import { h, OWN_KEYS, svgElement } from "./dom.js";
import { createOverview } from "./overview.js";
import { createTip } from "./tip.js";
import { FLAG, flag, pill, readSvg } from "./svg.js";
import { createZoom } from "./zoom.js";

const MARGIN = 40; // pixels that stay in sight around a card

/**
 * @typedef {{name: string, about?: string, layers?: string[], part: string, attribute: string}} Item
 *   `part` is the id of its card in the SVG, `attribute` the one that holds its name in the page.
 * @typedef {{pick(name: string): void, add(name: string): void, extend(name: string, from: string): void,
 *   open(name: string): void, back(): void, activate(name: string): void}} Actions
 *
 * @param {string} source  SVG
 * @param {Item[]} items
 * @param {{label: string, prefix: string, sizes: Sizes}} about
 * @param {Actions} on
 */
export function createDiagram(source, items, { label, prefix, sizes }, on) {
  const { svg, graph, parts } = readSvg(source, prefix);
  const cards = items.map(({ part }) => /** @type {SVGElement} */ (parts.get(part)));
  const flags = svgElement("g", { "aria-hidden": "true" });
  const pills = svgElement("g", { "aria-hidden": "true" });
  const box = h("div", {
    class: "cw-diagram", tabindex: "0", role: "listbox", "aria-label": label,
    "aria-multiselectable": "true", ...OWN_KEYS,
  }, [svg]);
  const tip = createTip(box);
  let active = 0; // the card with the keyboard's focus
  /** @type {{card: Element, where: Goal["where"]} | null} To show once the box has a size. */
  let awaited = cards.length ? { card: cards[0], where: "near" } : null;
  /** @type {(Value | null)[]} */
  let values = [];
  /** @type {number[]} The cards of the ends, if there are several. */
  let ends = [];
  /** @type {(i: number) => Refusal | null} Why a card cannot be chosen. */
  let reason = () => null;

  for (const element of graph.children) element.setAttribute("aria-hidden", "true");
  graph.append(...cards, pills, flags); // options in the order of the model
  cards.forEach(listen);
  const overview = createOverview(box, svg, cards);
  const zoom = createZoom(box, svg, sizes, overview, {
    first: () => awaited && place(awaited.card, awaited.where),
    zoomed: () => (hideTip(), overview.draw()),
  });
  box.addEventListener("keydown", pressed);
  box.addEventListener("blur", hideTip);
  box.addEventListener("pointerdown", (event) => {
    if (!event.shiftKey) return;
    event.preventDefault(); // or JupyterLab selects all cells up to this one
    box.focus();
  });
  if (cards.length) activate(0);

  /** @param {SVGElement} card @param {number} i */
  function listen(card, i) {
    const { name, attribute } = items[i];
    card.removeAttribute("aria-hidden");
    card.setAttribute("role", "option");
    card.setAttribute(attribute, name);
    card.addEventListener("click", (event) => {
      activate(i);
      hideTip();
      if (event.ctrlKey || event.metaKey) on.add(name);
      else if (event.shiftKey) on.extend(name, name);
      else on.pick(name);
    });
    card.addEventListener("pointermove", (event) => tip.rest(event, () => showTip(i)));
    card.addEventListener("pointerleave", hideTip);
  }

  /** @param {View} view */
  function show(view) {
    reason = view.reason;
    values = view.values ?? [];
    ends = view.ends ?? [];
    cards.forEach((_, i) => showCard(i, view.lit(i), reason(i)));
    pills.replaceChildren(...cards.flatMap((card, i) => {
      const value = values[i];
      return value ? [pill(card, value)] : [];
    }));
    svg.classList.toggle("cw-chosen", view.chosen);
    showFlags(view.flags);
    mark("cw-crossing", view.crossing);
    mark("cw-entering", view.entering);
    overview.show(view.lit);
  }

  /** @param {number} i @param {boolean} lit @param {Refusal | null} refusal */
  function showCard(i, lit, refusal) {
    const card = cards[i];
    const number = items[i].part.replace(/^\D+/, "");
    const own = ["block", "joint", "spine", "shortcut", "branch"].map((kind) =>
      parts.get(`${kind}-${number}`));
    for (const part of [card, ...own]) {
      part?.classList.toggle("cw-lit", lit);
      part?.classList.toggle("cw-greyed", Boolean(refusal));
    }
    put(card, "aria-selected", String(lit));
    put(card, "aria-disabled", String(Boolean(refusal)));
    put(card, "aria-label", `${items[i].name}: ${describe(i, refusal)}`);
    const value = values[i];
    if (value) card.dataset.value = value.text;
    else delete card.dataset.value;
  }

  /** @param {[number, string][]} shown */
  function showFlags(shown) {
    flags.replaceChildren();
    shown.forEach(([i, text]) => {
      const hasBoth = shown.some(([other, word]) => other === i && word !== text);
      const apart = values[i] ? 14 : hasBoth ? 7.5 : 0;
      flags.append(flag(cards[i], text, text === "END" ? apart : -apart));
    });
  }

  /** @param {number} i @param {Refusal | null} refusal */
  function describe(i, refusal) {
    const end = ends.includes(i) ? "An end of the slice." : "";
    return [items[i].about, end, values[i]?.words, refusal?.text].filter(Boolean).join(" ");
  }

  /** @param {string} name @param {string[]} edges */
  function mark(name, edges = []) {
    for (const [own, element] of parts) element.classList.toggle(name, edges.includes(own));
  }

  /** @param {number} i */
  function activate(i) {
    cards[active]?.classList.remove("cw-active");
    active = Math.max(0, Math.min(items.length - 1, i));
    if (!cards.length) return;
    cards[active].classList.add("cw-active");
    box.setAttribute("aria-activedescendant", cards[active].id);
    on.activate(items[active].name);
  }

  /** @param {Element} card @param {Goal["where"]} where */
  function place(card, where) {
    awaited = { card, where };
    if (!zoom.settle()) return;
    awaited = null;
    scrollTo(card);
    if (where === "near") return;
    const [inner, outer] = [card.getBoundingClientRect(), box.getBoundingClientRect()];
    const above = where === "top" ? MARGIN : (box.clientHeight - inner.height) / 2;
    box.scrollTop += inner.top - outer.top - above;
  }
  /** @param {Element} card */
  function scrollTo(card) {
    const [inner, outer] = [card.getBoundingClientRect(), box.getBoundingClientRect()];
    const flagged = FLAG * (svg.getScreenCTM()?.a ?? 1) + 4; // the place left of a card
    box.scrollTop += outside(inner.top - MARGIN - outer.top, inner.bottom + MARGIN - outer.bottom);
    box.scrollLeft += outside(inner.left - flagged - outer.left, inner.right + MARGIN - outer.right);
  }

  /** @param {number} i */
  function showTip(i) {
    const { name, layers = [] } = items[i];
    const refusal = reason(i);
    mark("cw-hinted", refusal?.edges);
    tip.show(cards[i], [h("strong", {}, name), h("p", {}, describe(i, refusal)),
      h("ul", {}, layers.map((layer) => h("li", {}, layer)))]);
  }
  function hideTip() {
    if (tip.hide()) mark("cw-hinted");
  }

  /** @param {KeyboardEvent} event */
  function pressed(event) {
    const isPick = event.key === " " || event.key === "Enter";
    const adds = event.ctrlKey || event.metaKey;
    if ((adds && !isPick) || event.altKey || !cards.length) return;
    /** @type {Record<string, number>} */
    const steps = { ArrowUp: -1, ArrowLeft: -1, ArrowDown: 1, ArrowRight: 1 };
    /** @type {Record<string, number>} */
    const jumps = { Home: 0, End: items.length - 1 };
    const from = items[active].name;
    if (event.key in steps || event.key in jumps) {
      activate(jumps[event.key] ?? active + steps[event.key]);
      place(cards[active], "near");
      showTip(active);
      if (event.shiftKey) on.extend(items[active].name, from);
    } else if (isPick) {
      hideTip();
      if (adds) on.add(from);
      else if (event.shiftKey) on.extend(from, from);
      else on.pick(from);
    } else if (event.key.toLowerCase() === "o") on.open(from);
    else if (event.key === "Backspace") on.back();
    else return;
    event.preventDefault(); // neither scrolls the page, nor reaches JupyterLab's shortcuts
    event.stopPropagation();
  }

  /**
   * Scroll to a selection made elsewhere; after a click in the diagram, one end is in sight.
   * @param {number[] | undefined} chosen
   */
  function reveal(chosen) {
    if (!chosen?.length || !chosen.every((i) => i in cards)) return;
    const { top, bottom, left, right } = box.getBoundingClientRect();
    const places = chosen.map((i) => cards[i].getBoundingClientRect());
    const isSeen = places.some((card) =>
      card.bottom > top && card.top < bottom && card.right > left && card.left < right);
    if (!isSeen) place(cards[chosen[0]], "near");
  }
  /** @param {Goal} goal */
  function goTo({ name, focus, where }) {
    const i = items.findIndex((item) => item.name === name);
    if (i < 0) return;
    activate(i);
    place(cards[i], where);
    if (focus) box.focus({ preventScroll: true });
  }
  return {
    box, tip: tip.element, overview: overview.element, zoom, show, reveal, goTo, hideTip,
    /** @param {string} part */
    has: (part) => parts.has(part),
    close: () => (zoom.close(), overview.close(), hideTip()),
  };
}

/**
 * How far to scroll, so that neither end is outside; the first end goes before the other.
 * @param {number} before  Negative if the first end is outside.
 * @param {number} after  Positive if the last end is outside.
 */
function outside(before, after) {
  return before < 0 ? before : Math.max(0, Math.min(before, after));
}

/**
 * Set an attribute that differs: setting one costs more than reading it.
 * @param {Element} element @param {string} name @param {string} value
 */
function put(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}
