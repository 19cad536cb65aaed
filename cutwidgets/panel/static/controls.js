// @ts-check
// The rows above the diagram.
/** @import { Block } from "./types.d.ts" */
/** @import { Store } from "./store.js" */
import { button, h, onChange, OWN_KEYS } from "./dom.js";
import { ALLOW_BYPASS } from "./legality.js";
import { createSearch } from "./search.js";
import { areSeveral, withFirst } from "./several.js";
import { clipped } from "./text.js";

const NAME = 24; // letters of a name that a row has room for
const ADD = /Mac|iP/.test(navigator.platform) ? "Cmd" : "Ctrl"; // the key of a click that adds an end

/**
 * Start and end without the diagram, undo, redo, clear, search and run; and a row below.
 * @param {Store} store
 * @param {{prefix: string, hasDiagram: boolean, run: HTMLElement | null}} options
 */
export function createControls(store, { prefix, hasDiagram, run }) {
  const { blocks } = store.network;
  const start = createChoice("Start", blocks, startChosen);
  const end = createChoice("End", blocks, endChosen);
  const chips = h("span", { class: "cw-ends", role: "group", "aria-label": "Further ends" });
  const drawChips = onChange((/** @type {string} */ _ends) => {
    const further = store.chosenEnds().slice(1);
    chips.hidden = !further.length;
    chips.replaceChildren(...further.map((one) => chip(store, one)));
  });
  const undo = button("↶", "Undo the last selection (Ctrl+Z)", () => store.step(true));
  const redo = button("↷", "Redo the selection (Ctrl+Shift+Z)", () => store.step(false));
  const clear = button("Clear", "Clear the selection (Esc)", store.clear);
  clear.classList.add("cw-clear");
  const bypass = h("input", { type: "checkbox", "data-part": "bypass", ...OWN_KEYS });
  bypass.addEventListener("change", () => store.set({ allow_bypass: bypass.checked }));
  const title = "Tensors that bypass the start become extra inputs of the slice";
  const allow = h("label", { title }, [bypass, ALLOW_BYPASS]);
  const row = h("div", { class: "cw-controls", role: "group", "aria-label": "Slice" }, [
    start.label, end.label, hasDiagram ? null : chips, undo, redo, clear, hasDiagram ? null : allow,
    h("span", { class: "cw-space" }, hasDiagram ? createSearch(store, prefix) : []),
    run,
  ]);
  const hint = h("p", { class: "cw-hint", "data-part": "hint" });
  const below = h("div", { class: "cw-controls" }, hasDiagram ? [chips, hint, allow] : []);

  /** @param {string} name */
  function startChosen(name) {
    const [, old] = store.selection();
    const keepsEnd = store.range() && Math.min(...store.endBlocks()) >= (store.positions.get(name) ?? 0);
    if (keepsEnd && old !== undefined && store.pending() === null) store.choose(name, old);
    else store.begin(name);
  }
  /** @param {string} name */
  function endChosen(name) {
    const [pending, [first, old]] = [store.pending(), store.selection()];
    const further = pending === null && areSeveral(old);
    store.choose(pending ?? first ?? blocks[0].name, further ? withFirst(old, name) : name);
  }
  function refresh() {
    const [selection, pending] = [store.selection(), store.pending()];
    const first = pending === null ? store.range()?.[0] : store.positions.get(pending);
    start.show(pending === null ? selection[0] : pending, 0);
    end.show(pending === null ? store.chosenEnds()[0]?.place : undefined, first ?? 0);
    drawChips(JSON.stringify(store.chosenEnds()));
    clear.disabled = pending === null && !selection.length;
    clear.textContent = pending === null ? "Clear" : "Cancel";
    undo.disabled = !store.history.past();
    redo.disabled = !store.history.future();
    bypass.checked = store.model.get("allow_bypass");
    hint.textContent = pending !== null
      ? `Start: ${clipped(pending, NAME)}. Click the block where the slice ends. Esc cancels.`
      : areSeveral(selection[1]) ? `Click for a new start. ${ADD}+click adds an end or removes it. Esc clears.`
      : selection.length
        ? `Click for a new start. Shift+click moves the end, ${ADD}+click adds one. Esc clears.`
        : "Click the block where the slice starts, then the block where it ends.";
  }
  return { row, below, refresh };
}

/**
 * An end beside the first one, and a button that removes it.
 * @param {Store} store
 * @param {{key: string, place: string | number}} end
 */
function chip(store, { key, place }) {
  const own = key === String(place) ? "" : `${key}: `;
  const name = `${own}${place}`;
  const remove = button("×", `Remove the end ${name}`, () => store.toggle(place));
  const attributes = { class: "cw-chip", "data-end": key, title: name };
  return h("span", attributes, [h("bdi", {}, own), clippable(String(place)), remove]);
}

/** @param {string} name @param {Block[]} blocks @param {(name: string) => void} chosen */
function createChoice(name, blocks, chosen) {
  const other = h("option", { value: "" }); // for no selection, or a place inside a block
  const options = blocks.map((block, i) => h("option", { value: i }, block.name));
  const select = h("select", { "data-part": name.toLowerCase(), ...OWN_KEYS }, [other, ...options]);
  select.addEventListener("change", () => select.value && chosen(blocks[Number(select.value)].name));
  const positions = new Map(blocks.map((block, i) => [block.name, i]));
  let disabled = 0; // so many options are disabled
  let letters = NAME; // that the select has room for
  new ResizeObserver(() => {
    const font = parseFloat(getComputedStyle(select).fontSize);
    letters = Math.max(8, Math.floor((select.clientWidth - 2.6 * font) / (0.61 * font)));
    clip();
  }).observe(select);

  /** The list shows whole names, the closed select as much as it has room for. */
  function clip() {
    const shown = select.selectedOptions[0];
    if (shown.text.length > letters) shown.label = clipped(shown.text, letters);
    else shown.removeAttribute("label");
    select.title = shown.text;
  }

  /** @param {string | number | undefined} place @param {number} first */
  function show(place, first) {
    const i = positions.get(String(place)) ?? -1;
    other.textContent = i < 0 && place !== undefined ? String(place) : "choose…";
    select.selectedOptions[0]?.removeAttribute("label");
    select.selectedIndex = i + 1;
    clip();
    for (let k = Math.min(first, disabled); k < Math.max(first, disabled); k++) {
      options[k].disabled = k < first;
    }
    disabled = first;
  }
  return { label: h("label", {}, [`${name} `, select]), show };
}

/**
 * A name of which a narrow row shows the end, where names differ.
 * @param {string} name
 */
function clippable(name) {
  return h("span", { class: "cw-end" }, h("bdi", {}, name));
}

/**
 * The row above the diagram: what is shown, and zoom.
 * @param {Store} store
 * @param {() => {by(factor: number): void, fit(): void}} zoom
 */
export function createToolbar(store, zoom) {
  const { name } = store.network;
  const whole = button(`‹ ${clipped(name, NAME)}`, `Back to the blocks of ${name} (Backspace)`, store.back);
  const open = button("Layers", "Show the layers of a block (O)", () => store.open(store.active()));
  const here = h("span", { "aria-current": "location" });
  const crumbs = h("nav", { class: "cw-crumbs", "aria-label": "Shown in the diagram" },
    [whole, here, open]);
  const row = h("div", { class: "cw-toolbar" }, [
    crumbs,
    button("−", "Zoom out", () => zoom().by(1 / 1.25)),
    button("Fit", "Show as much of the diagram as can be read; again: choose its size for me", () => zoom().fit()),
    button("+", "Zoom in", () => zoom().by(1.25)),
  ]);

  function refresh() {
    const [active, opened] = [store.active(), store.opened()?.block];
    const shown = opened ?? store.unfolded()?.name;
    whole.hidden = !shown;
    here.hidden = !shown;
    here.replaceChildren(shown ? clippable(`› ${shown}`) : "");
    here.title = shown ?? "";
    open.hidden = Boolean(opened) || !active;
    open.replaceChildren("Open ", clippable(active ?? ""), " ▸");
    open.title = `Show what is inside of ${active} (O)`;
  }
  return { row, refresh };
}
