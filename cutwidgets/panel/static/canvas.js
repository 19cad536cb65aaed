// @ts-check
// The diagram of what the store shows: all blocks, or the layers of one.
/** @import { View, Value } from "./types.d.ts" */
/** @import { Store } from "./store.js" */
import { h, onChange } from "./dom.js";
import { createDiagram } from "./diagram.js";
import { crossing } from "./legality.js";

/**
 * @param {Store} store
 * @param {string} prefix
 * @param {() => (Value | null)[] | null} measured  A number for each block, or null.
 * @param {import("./sizes.js").Sizes} sizes
 */
export function createCanvas(store, prefix, measured, sizes) {
  const { network } = store;
  const { blocks } = network;
  const element = h("div", { class: "cw-canvas" });
  /** @type {ReturnType<typeof createDiagram>} */
  let diagram;
  const replace = onChange(replaceDiagram);
  const reveal = onChange((/** @type {string} */ _selection) => {
    if (!store.opened() && store.pending() === null) {
      diagram.reveal(store.range()?.map(store.cardOf));
    }
  });
  
  /** @param {unknown} opened */
  function replaceDiagram(opened) {
    const focused = diagram?.box === document.activeElement;
    diagram?.close();
    diagram = opened ? layerDiagram() : blockDiagram();
    element.replaceChildren(diagram.box, diagram.overview, diagram.tip);
    if (focused) diagram.box.focus();
  }
  function blockDiagram() {
    const cards = store.cards();
    const items = cards.map((card) => {
      const part = `block-${card.first}`;
      return card.name ? { name: card.name, about: card.about, part, attribute: "data-run" }
        : { ...blocks[card.first], part, attribute: "data-block" };
    });
    const about = { label: `Blocks of ${network.name}`, prefix, sizes };
    return createDiagram((store.unfolded() ?? network).svg, items, about, store);
  }
  function layerDiagram() {
    const { block, svg, calls } = /** @type {import("./types.d.ts").Opened} */ (store.opened());
    const items = calls.map((call) => ({ ...call, part: call.id, attribute: "data-layer" }));
    return createDiagram(svg, items, { label: `Layers of ${block}`, prefix, sizes }, store);
  }

  function refresh() {
    replace(store.opened(), store.unfolded());
    diagram.show(store.opened() ? layerView() : blockView());
    const goal = store.takeGoal();
    if (goal) diagram.goTo(goal.name);
    else reveal(JSON.stringify(store.selection()));
  }

  /** @returns {View} */
  function blockView() {
    const [cards, range, pending] = [store.cards(), store.range(), store.pending()];
    const first = pending === null ? range?.[0] : store.positions.get(pending);
    const values = measured();
    const crossed = pending === null ? store.result()?.crossing : null;
    /** @param {number} k */
    const reason = (k) => {
      if (pending === null || first === undefined || cards[k].name) return null;
      const refusal = store.refused(first, cards[k].first);
      return refusal && { ...refusal, edges: edges(refusal.makers ?? [], first) };
    };
    return {
      lit: (k) => {
        const { first: from, last: to } = cards[k];
        if (pending !== null) return first !== undefined && from <= first && first <= to;
        return range !== undefined && range[0] <= to && from <= range[1];
      },
      reason,
      chosen: pending === null && Boolean(range),
      flags: pending !== null && first !== undefined ? [[store.cardOf(first), "START"]]
        : pending === null && range
          ? [[store.cardOf(range[0]), "START"], [store.cardOf(range[1]), "END"]] : [],
      values: values && cards.map((card) => (card.name ? null : values[card.first])),
      crossing: crossed ? edges(crossed.makers, crossed.start) : [],
    };
  }
  // An edge into a block, or the card of the block, if it names what it reads instead.
  /** @param {number[]} makers @param {number} start */
  function edges(makers, start) {
    return crossing(network, makers, start, (edge, i) => diagram.has(edge) ? edge
      : i in blocks ? `block-${store.cards()[store.cardOf(i)].first}` : "output");
  }

  /** @returns {View} */
  function layerView() {
    const { block, calls } = /** @type {import("./types.d.ts").Opened} */ (store.opened());
    const [pending, inside] = [store.pending(), new Set(store.result()?.calls)];
    const places = pending === null ? store.selection() : [pending];
    const flags = places.flatMap((place, k) => {
      const i = place === block ? k * (calls.length - 1)
        : calls.findIndex((call) => call.name === place);
      return i < 0 ? [] : [/** @type {[number, string]} */ ([i, k ? "END" : "START"])];
    });
    /** @param {number} i */
    const lit = (i) => (pending === null ? inside.has(calls[i].index) : calls[i].name === pending);
    const chosen = pending === null && inside.size > 0 && !calls.every((_, i) => lit(i));
    return { lit, reason: () => null, chosen, flags };
  }
  return {
    element, refresh,
    zoom: () => diagram.zoom,
    hideTip: () => diagram.hideTip(),
    close: () => diagram.close(),
  };
}
