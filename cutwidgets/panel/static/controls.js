// ------------------------------------------------------------------------------- the controls

const ALLOW_BYPASS = "Let skip connections become extra inputs";

// The top row: start and end without the diagram, undo, redo, clear, search, run. And a row below.
function createControls(blocks, search, on) {
  const start = createChoice("Start", blocks, on.start);
  const end = createChoice("End", blocks, on.end);
  const undo = button("↶", "Undo the last selection (Ctrl+Z)", on.undo);
  const redo = button("↷", "Redo the selection (Ctrl+Shift+Z)", on.redo);
  const clear = button("Clear", "Clear the selection (Esc)", on.clear);
  const bypass = h("input", { type: "checkbox", "data-part": "bypass", ...OWN_KEYS });
  bypass.addEventListener("change", () => on.bypass(bypass.checked));
  const title = "Tensors that bypass the start become extra inputs of the slice";
  const allow = h("label", { title }, [bypass, ALLOW_BYPASS]);
  const row = h("div", { class: "cw-controls", role: "group", "aria-label": "Slice" }, [
    start.label, end.label, undo, redo, clear, search ? null : allow,
    h("span", { class: "cw-space" }, search ?? []),
    on.run,
  ]);
  const hint = h("p", { class: "cw-hint", "data-part": "hint" });
  const below = h("div", { class: "cw-controls" }, search ? [hint, allow] : []);

  function show({ selection, first, pending, allowed, past, future }) {
    start.show(pending === null ? selection[0] : pending, 0);
    end.show(pending === null ? selection[1] : undefined, first);
    clear.disabled = pending === null && !selection.length;
    clear.textContent = pending === null ? "Clear" : "Cancel";
    undo.disabled = !past;
    redo.disabled = !future;
    bypass.checked = allowed;
    if (!search) return;
    hint.textContent =
      pending !== null
        ? `Start: ${pending}. Click the block where the slice ends. Esc cancels.`
        : selection.length
          ? "Click for a new start. Shift+click moves the end. Esc clears."
          : "Click the block where the slice starts, then the block where it ends.";
  }
  return { row, below, show };
}

function createChoice(name, blocks, chosen) {
  const other = h("option", { value: "" }); // for no selection, or a place inside a block
  const options = blocks.map((block, i) => h("option", { value: i }, block.name));
  const select = h("select", { "data-part": name.toLowerCase(), ...OWN_KEYS }, [other, ...options]);
  select.addEventListener("change", () => select.value && chosen(blocks[select.value].name));

  function show(place, first) {
    const i = blocks.findIndex((block) => block.name === place);
    other.textContent = i < 0 && place !== undefined ? String(place) : "choose…";
    select.selectedIndex = i + 1;
    options.forEach((option, j) => (option.disabled = j < first));
  }
  return { label: h("label", {}, [`${name} `, select]), show };
}

// A field to find blocks and layers by name.
function createSearch(network, prefix, on) {
  const names = network.blocks.flatMap((block) => [block.name, ...block.layers]);
  const list = h("datalist", { id: `${prefix}names` });
  list.append(...[...new Set(names)].map((name) => h("option", { value: name })));
  const search = h("input", {
    type: "search", list: list.id, placeholder: "Find a layer or block", "data-part": "search",
    "aria-label": "Find a layer or block by name", ...OWN_KEYS,
  });
  const find = () => search.value.trim() && on.find(search.value.trim());
  search.addEventListener("keydown", (event) => {
    event.stopPropagation();
    if (event.key === "Enter") find();
    else if (event.key === "Escape") search.value = "";
  });
  search.addEventListener("input", (event) => {
    // A name picked from the list arrives without a typed letter.
    if (!event.inputType || event.inputType === "insertReplacementText") find();
  });
  return [search, list];
}

// The row above the diagram: what is shown, and zoom.
function createToolbar(network, on) {
  const whole = button(`‹ ${network.name}`, "Back to the blocks (Backspace)", on.back);
  const open = button("Layers", "Show the layers of a block (O)", on.open);
  const here = h("span", { "aria-current": "location" });
  const crumbs = h("nav", { class: "cw-crumbs", "aria-label": "Shown in the diagram" },
    [whole, here, open]);
  const row = h("div", { class: "cw-toolbar" }, [
    crumbs,
    button("−", "Zoom out", () => on.zoom().by(1 / 1.25)),
    button("Fit", "Show the whole diagram", () => on.zoom().fit()),
    button("+", "Zoom in", () => on.zoom().by(1.25)),
  ]);

  function show(active, opened, unfolded) {
    whole.hidden = !opened && !unfolded;
    here.hidden = whole.hidden;
    here.textContent = whole.hidden ? "" : `› ${opened ?? unfolded}`;
    open.hidden = Boolean(opened) || !active;
    open.textContent = `Open ${active} ▸`;
    open.title = `Show what is inside of ${active} (O)`;
  }
  return { row, show };
}

// Past and future selections.
function createHistory() {
  let past = [];
  let future = [];
  let now = [];
  return {
    past: () => past.length,
    future: () => future.length,
    add(selection) {
      if (same(selection, now)) return;
      past.push(now);
      future = [];
      now = selection;
    },
    // The kernel renamed the requested places: one step, not two.
    rename(requested, selection) {
      const isRenamed = requested && same(selection, now) && !same(requested, now);
      if (isRenamed && same(requested, past.at(-1))) past.pop();
    },
    step(back) {
      const [from, to] = back ? [past, future] : [future, past];
      if (!from.length) return undefined;
      to.push(now);
      now = from.pop();
      return now;
    },
  };
}

// The error message, and buttons for slices that work instead.
function createErrorBox(select) {
  const element = h("div", { class: "cw-error", "data-part": "error", role: "alert" });
  function show(message, nearest = []) {
    if (element.dataset.message === message) return;
    element.dataset.message = message;
    element.replaceChildren(message, ...nearest.map((places) =>
      button(titleOf(places), "Select this slice instead", () => select(places))));
    if (!message) element.replaceChildren();
  }
  return { element, show };
}

// A list of tabs; each is {id, label, element, refresh()}. A single tab has no list.
function createTabs(tabs, prefix, chosen) {
  const buttons = tabs.map(({ id, label }, i) => {
    const tab = button(label, "", () => select(id));
    tab.removeAttribute("title");
    const own = { role: "tab", id: `${prefix}tab-${id}`, "aria-controls": `${prefix}panel-${id}` };
    for (const [name, value] of Object.entries({ ...own, "data-tab": id })) {
      tab.setAttribute(name, value);
    }
    tab.addEventListener("keydown", (event) => {
      const to = { ArrowRight: i + 1, ArrowLeft: i - 1, Home: 0, End: tabs.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      event.stopPropagation();
      const next = (to + tabs.length) % tabs.length;
      select(tabs[next].id);
      buttons[next].focus();
    });
    return tab;
  });
  const panels = tabs.map(({ id, label, element }) => scrollBox({
    class: "cw-tabpanel", role: tabs.length > 1 ? "tabpanel" : "group", id: `${prefix}panel-${id}`,
    ...(tabs.length > 1 ? { "aria-labelledby": `${prefix}tab-${id}` } : { "aria-label": label }),
  }, [element]));
  const list = h("div", { class: "cw-tabs", role: "tablist", "aria-label": "The slice" }, buttons);
  let current;

  function select(id) {
    current = tabs.find((tab) => tab.id === id) ?? current;
    tabs.forEach((tab, i) => {
      buttons[i].setAttribute("aria-selected", tab === current);
      buttons[i].setAttribute("tabindex", tab === current ? "0" : "-1");
      panels[i].hidden = tab !== current;
    });
    current?.refresh();
    chosen();
  }
  return {
    elements: tabs.length > 1 ? [list, ...panels] : panels,
    select,
    current: () => current,
    refresh: () => tabs.forEach((tab) => tab.refresh()),
  };
}
