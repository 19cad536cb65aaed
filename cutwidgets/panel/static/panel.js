// ---------------------------------------------------------------------------------- the panel

const widget = {
  render({ model, el }) {
    // Panels, and views of one panel, share a page: ids differ by view. (Each panel has a copy of
    // this module of its own, so counting would not do.)
    const prefix = `cutwidgets-${Math.random().toString(36).slice(2)}-`;
    let panel;
    function draw() {
      panel?.close();
      panel = createPanel(model, prefix);
      el.replaceChildren(panel.root);
      panel.start();
    }
    draw();
    model.on("change:_network", draw); // another model
    return () => {
      model.off("change:_network", draw);
      panel.close();
    };
  },
};

export default widget;

function createPanel(model, prefix) {
  const network = model.get("_network");
  const { blocks } = network;
  const shows = new Set(model.get("_parts"));
  const positions = new Map(); // of the blocks, by their names and those of their layers
  blocks.forEach((block, i) => block.layers.forEach((layer) => positions.set(layer, i)));
  blocks.forEach((block, i) => positions.set(block.name, i));
  const names = new Set(blocks.map((block) => block.name));
  const history = createHistory();
  const busy = new Set(); // kinds of answers that the page waits for
  let pending = null; // the start, while the end is not chosen yet
  let wanted = null; // the block that this view wants to open
  let lost = false; // whether the kernel has not answered for long
  let busyTimer, lostTimer, opened, diagram;

  // What the tabs know.
  const at = {
    model,
    network,
    selection: () => model.get("selection") ?? [],
    whole: () => at.selection().every((place) => names.has(place)),
    offline: () => lost || Boolean(model.offline),
    result() {
      const result = model.get("_result");
      return same(result.selection, at.selection()) && isCurrent(result) ? result : undefined;
    },
    // First and last block of the selection. Of a tensor, the kernel says where it is.
    range() {
      const [start, end] = at.selection().map((place) => positions.get(place));
      if (start !== undefined && end !== undefined && start <= end) return [start, end];
      return at.result()?.range;
    },
    refused,
    visible: (id) => tabs.current()?.id === id,
    showError: (message) => error.show(message),
    draw,
    set(values) {
      for (const [key, value] of Object.entries(values)) model.set(key, value);
      model.save_changes();
    },
    ask(kind, trait, details = {}, buffers = []) {
      if (model.offline || (busy.has(trait) && kind !== "maps")) return;
      busy.add(trait);
      setBusy(trait, true);
      waitLong();
      model.send({ ask: kind, ...details }, undefined, buffers);
    },
  };
  // A view that was saved before these were chosen is not that of today.
  function isCurrent(result) {
    const chosen = ["allow_bypass", "weights"];
    return chosen.every((key) => result[key] === undefined || result[key] === model.get(key));
  }

  function waitLong() {
    clearTimeout(lostTimer);
    lostTimer = setTimeout(error.show, LONG_AFTER, "No answer from the kernel yet. If it was " +
      "restarted, or there is none, run this cell again.");
  }

  const run = button("Run", "Run the slice on the photograph", () => {
    if (busy.has("_features")) return;
    tabs.select("run");
    at.ask("run", "_features");
  });
  run.dataset.part = "run";
  const makers = [createSummaryTab, createRunTab, createProofTab, createCodeTab, createCostsTab,
    createSurgeryTab, createLabTab, createSaveTab].map((make) => make(at));
  const chosenTabs = makers.filter(({ id }) => shows.has(id));
  const tabs = createTabs(chosenTabs, prefix, draw);
  const lab = makers.find(({ id }) => id === "lab");

  const on = {
    start: (name) => (at.range()?.[1] >= positions.get(name) && pending === null
      ? choose(name, at.selection()[1]) : begin(name)),
    end: (name) => choose(pending ?? at.selection()[0] ?? blocks[0].name, name),
    undo: () => step(true),
    redo: () => step(false),
    clear,
    bypass: (allowed) => at.set({ allow_bypass: allowed }),
    run: shows.has("run") ? run : null,
    pick: (name) => (pending === null ? begin(name) : choose(pending, name)),
    extend: (name, from) => choose(pending ?? at.selection()[0] ?? from, name),
    open,
    back,
    find,
    zoom: () => diagram.zoom,
    activate: (name) => (active = name, toolbar.show(active, opened?.block)),
  };
  let active;
  const search = shows.has("diagram") ? createSearch(network, prefix, on) : null;
  const controls = createControls(blocks, search, on);
  const toolbar = createToolbar(network, { ...on, open: () => open(active) });
  const error = createErrorBox(select);
  const live = h("div", { class: "cw-live", "aria-live": "polite" });
  const canvas = h("div", { class: "cw-canvas" });
  const left = shows.has("diagram") &&
    h("div", { class: "cw-left" }, [toolbar.row, canvas]);
  const [first, ...others] = chosenTabs.length ? tabs.elements : [];
  const right = h("div", { class: "cw-right" }, // nothing above the list of tabs may move it
    others.length ? [first, error.element, ...others] : [error.element, first]);
  const both = left && chosenTabs.length;
  const root = h("div", { class: "cutwidgets cw-panel" }, [
    left || on.run ? controls.row : null,
    left ? controls.hint : null,
    h("div", { class: both ? "cw-body" : "cw-body cw-single" }, [left || null, right]),
    live,
  ]);
  root.addEventListener("keydown", (event) => {
    const undo = (event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z";
    if (event.target.tagName === "INPUT" && event.target.type === "search") return;
    if (undo) step(!event.shiftKey);
    else if (event.key === "Escape" && event.target.tagName !== "SELECT") clear();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  showBlocks();

  // ------------------------------------------------------------------------ what is selected

  function begin(name) {
    pending = name;
    draw();
    live.textContent = `The slice starts with ${name}. Choose its end.`;
  }

  function choose(start, end) {
    select([start, end]);
  }

  function clear() {
    diagram.hideTip();
    if (pending !== null) live.textContent = "The start is taken back.";
    select(pending === null ? [] : at.selection());
  }

  function step(back) {
    const places = history.step(back);
    if (places) select(places);
  }

  function select(places) {
    pending = null;
    at.set({ selection: places });
    draw(); // at once: the highlight does not wait for the kernel
  }

  // Why a slice from one block cannot end with another, and the edges that show it.
  function refused(start, end) {
    const name = blocks[start].name;
    if (end < start) return { text: `Cannot be the end: it comes before the start, ${name}.` };
    const found = network.refused[start]?.[end];
    if (!found) return null;
    if (!found.names.length) return { text: `Cannot be the end: ${name} has no way to it.` };
    if (model.get("allow_bypass")) return null;
    const skips = found.names.length === 1 ? "the skip connection" : "the skip connections";
    return {
      text: `Cannot be the end: ${skips} from ${found.names.join(", ")} past the start ` +
        `bring${found.names.length === 1 ? "s" : ""} it what the slice does not have.`,
      edges: crossing(found.makers, start),
    };
  }

  // Ids of the edges by which what some blocks make gets past the start of another.
  function crossing(from, behind) {
    return network.sources.flatMap((sources, i) => i < behind ? [] : sources.flatMap((source, k) =>
      !from.includes(source) ? [] : k ? [`skip-${i}-${k}`]
        : i > behind ? [`spine-${i}`, `shortcut-${i}`] : [`shortcut-${i}`]));
  }

  // --------------------------------------------------------------------------- what is shown

  function showBlocks() {
    opened = null;
    const label = `Blocks of ${network.name}`;
    const about = { label, prefix, attribute: "data-block", id: (_, i) => `block-${i}` };
    replaceDiagram(createDiagram(network.svg, blocks, about, on));
  }

  function showLayers(answer) {
    opened = answer;
    const label = `Layers of ${answer.block}`;
    const about = { label, prefix, attribute: "data-layer", id: (item) => item.id };
    replaceDiagram(createDiagram(answer.svg, answer.calls, about, on));
  }

  function replaceDiagram(made) {
    const focused = diagram?.box === document.activeElement;
    diagram?.close();
    diagram = made;
    canvas.replaceChildren(diagram.box, diagram.overview, diagram.tip);
    if (focused) diagram.box.focus();
    draw();
  }

  let goal; // a layer to go to, as soon as its block is open
  function open(name) {
    if (opened || !name || busy.has("_opened")) return;
    if (at.offline()) return error.show("Layers are drawn by Python: run this cell again.");
    wanted = name;
    at.ask("open", "_opened", { block: name });
  }
  function back() {
    if (!opened) return;
    const { block } = opened;
    showBlocks();
    diagram.goTo(block);
  }
  function openedChanged() {
    const answer = model.get("_opened");
    if (answer.svg && answer.block !== wanted) return false; // another view asked
    if (answer.svg) showLayers(answer);
    if (answer.svg) diagram.goTo(goal ?? answer.calls[0].name);
    goal = null;
    return true;
  }

  function find(text) {
    const known = positions.has(text) ? text : [...positions.keys()].find((name) =>
      name.toLowerCase().includes(text.toLowerCase()));
    if (known === undefined && at.offline()) return error.show(`There is no ${text} here.`);
    if (known === undefined) return at.ask("find", "_found", { text });
    goToPlace(blocks[positions.get(known)].name, names.has(known) ? null : known);
  }
  function foundChanged() {
    const { block, layer, failed } = model.get("_found");
    if (failed || !block) return;
    goToPlace(block, layer);
  }
  function goToPlace(block, layer) {
    if (opened && opened.block !== block) showBlocks();
    if (layer && opened) return diagram.goTo(layer);
    if (!opened) diagram.goTo(block);
    if (!layer || at.offline()) return;
    goal = layer;
    open(block);
  }

  function draw() {
    const selection = at.selection();
    const range = at.range();
    const first = pending === null ? range?.[0] : positions.get(pending);
    const reason = (i) => (pending === null || first === undefined ? null : refused(first, i));
    const from = pending === null ? at.result()?.crossing : null;
    const view = opened ? layerView() : {
      lit: (i) => (pending === null ? range?.[0] <= i && i <= range?.[1] : i === first),
      reason,
      chosen: pending === null && Boolean(range),
      flags: pending !== null ? [[first, "START"]] : range ? [[range[0], "START"], [range[1], "END"]]
        : [],
    };
    const values = opened ? null : lab.values();
    diagram.show({ ...view, values, crossing: from ? crossing(from.makers, from.behind) : [] });
    toolbar.show(active, opened?.block);
    controls.show({
      selection, pending, first: first ?? 0, allowed: model.get("allow_bypass"),
      past: history.past(), future: history.future(),
    });
  }

  function layerView() {
    const calls = new Set(at.result()?.calls);
    const places = pending === null ? at.selection() : [pending];
    const flags = places.flatMap((place, k) => {
      const last = opened.calls.length - 1;
      const i = place === opened.block ? k * last
        : opened.calls.findIndex((call) => call.name === place);
      return i < 0 ? [] : [[i, k ? "END" : "START"]];
    });
    const lit = (i) => (pending === null ? calls.has(opened.calls[i].index)
      : opened.calls[i].name === pending);
    const chosen = pending === null && calls.size > 0 && !opened.calls.every((_, i) => lit(i));
    return { lit, reason: () => null, chosen, flags };
  }

  // ------------------------------------------------------------------ what the kernel answers

  function selectionChanged() {
    pending = null;
    history.add(at.selection());
    history.rename(at.result()?.asked, at.selection());
    draw();
    if (!opened) diagram.reveal(at.range());
    resultChanged();
  }

  // An answer carries the selection that it belongs to; one that was overtaken is not shown.
  function resultChanged() {
    clearTimeout(busyTimer);
    clearTimeout(lostTimer);
    const result = at.result();
    if (result) lost = false;
    history.rename(result?.asked, at.selection());
    tabs.refresh();
    run.disabled = !result?.rows || at.offline();
    if (!result) {
      if (at.offline()) {
        const range = at.range();
        error.show((range && refused(...range)?.text) || "");
        return settle(Boolean(localSummary(at)));
      }
      busyTimer = setTimeout(() => root.setAttribute("aria-busy", "true"), BUSY_AFTER);
      lostTimer = setTimeout(goOn, LOST_AFTER);
      return;
    }
    root.removeAttribute("aria-busy");
    draw();
    error.show(model.get("error"), result.nearest);
    live.textContent = result.told ?? "";
    settle(Boolean(result.rows));
  }

  // Without a kernel, the page shows what it knows by itself.
  function goOn() {
    lost = true;
    root.removeAttribute("aria-busy");
    tabs.refresh();
    settle(Boolean(localSummary(at)));
    error.show("No answer from the kernel. If it is busy, the rest will follow; if it was " +
      "restarted, or there is none, run this cell again.");
  }

  function settle(isShown) {
    if (isShown) root.dataset.selection = at.selection().join("..");
    else delete root.dataset.selection;
  }

  function setBusy(trait, now) {
    if (!now) busy.delete(trait);
    if (trait === "_features") {
      run.textContent = now ? "Running…" : "Run";
      run.setAttribute("aria-disabled", now);
    }
    for (const tab of chosenTabs) if (tab.trait === trait) tab.setBusy?.(now);
  }

  function answered(trait) {
    const own = busy.has(trait); // or another view has asked
    if (own) clearTimeout(lostTimer);
    if (trait === "_opened" && (!own || !openedChanged())) return;
    if (trait === "_found" && own) foundChanged();
    setBusy(trait, false);
    if (own) error.show(model.get("error"), at.result()?.nearest);
    if (trait === "_maps") makers[1].mapsChanged();
    else tabs.refresh();
    if (trait === "_lab") live.textContent = lab.told();
    if (own && trait === "_photo" && answerOf(at, "_features") && !model.get("_photo").failed) run.click();
  }

  const listeners = {
    "change:selection": selectionChanged,
    "change:bypass": () => (draw(), resultChanged()),
    "change:weights": resultChanged,
    "change:_result": resultChanged,
    "change:_progress": () => (busy.has("_lab") && waitLong(), lab.refresh()),
    "change:error": () => at.result() && error.show(model.get("error"), at.result().nearest),
  };
  for (const trait of ["_photo", "_features", "_maps", "_text", "_checked", "_code", "_costs",
    "_surgery", "_lab", "_opened", "_found", "_file"]) {
    listeners[`change:${trait}`] = () => answered(trait);
  }
  for (const [event, listener] of Object.entries(listeners)) model.on(event, listener);
  return {
    root,
    start() {
      if (chosenTabs.length) tabs.select(chosenTabs[0].id);
      selectionChanged();
    },
    close() {
      for (const [event, listener] of Object.entries(listeners)) model.off(event, listener);
      clearTimeout(busyTimer);
      clearTimeout(lostTimer);
      diagram.close();
      chosenTabs.forEach((tab) => tab.close?.());
    },
  };
}
