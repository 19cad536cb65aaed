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
      hidePicture(model, el);
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
  const busy = new Set(); // questions that the page waits for
  let pending = null; // the start, while the end is not chosen yet
  let wanted = null; // the block that this view wants to open
  let unfolded = null; // the diagram with an opened run of blocks
  let cards = network.cards; // first and last block of each card; a run of blocks has a name
  let lost = false; // whether the kernel has not answered for long
  let busyTimer, lostTimer, opened, diagram;

  // What the tabs share.
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
    // First and last block of the selection. For a tensor, only the kernel knows them.
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
    ask(question, details = {}, buffers = []) {
      if (model.offline || (busy.has(question) && question !== "maps")) return;
      busy.add(question);
      setBusy(question, true);
      waitLong();
      model.send({ ask: question, ...details }, undefined, buffers);
    },
  };
  // A saved view may be older than the current choice of these.
  function isCurrent(result) {
    const chosen = ["allow_bypass", "weights"];
    return chosen.every((key) => result[key] === undefined || result[key] === model.get(key));
  }

  function waitLong() {
    clearTimeout(lostTimer);
    lostTimer = setTimeout(error.show, LONG_AFTER, "The kernel has not answered yet. If " +
      "it was restarted or is gone, run this cell again.");
  }

  const run = button("Run", "Run the slice on the photograph", () => {
    if (busy.has("run")) return;
    tabs.select("run");
    at.ask("run");
  });
  run.dataset.part = "run";
  const makers = [createSummaryTab, createRunTab, createCheckTab, createCodeTab, createCostsTab,
    createSurgeryTab, createLabTab, createSaveTab].map((make) => make(at));
  const chosenTabs = makers.filter(({ id }) => shows.has(id));
  const tabs = createTabs(chosenTabs, prefix, draw);
  const [forward, lab] = ["run", "lab"].map((own) => makers.find(({ id }) => id === own));

  const on = {
    start: (name) => (at.range()?.[1] >= positions.get(name) && pending === null
      ? choose(name, at.selection()[1]) : begin(name)),
    end: (name) => choose(pending ?? at.selection()[0] ?? blocks[0].name, name),
    undo: () => step(true),
    redo: () => step(false),
    clear,
    bypass: (allowed) => at.set({ allow_bypass: allowed }),
    run: shows.has("run") ? run : null,
    pick: (name) => (runOf(name) ? unfold(runOf(name))
      : pending === null ? begin(name) : choose(pending, name)),
    extend: (name, from) => choose(
      pending ?? at.selection()[0] ?? blockOf(from, "first"), blockOf(name, "last")),
    open,
    back,
    find,
    zoom: () => diagram.zoom,
    activate: (name) => (active = name, toolbar.show(active, opened?.block, unfolded?.name)),
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
  const right = h("div", { class: "cw-right" }, // nothing above the tabs may move them
    others.length ? [first, error.element, ...others] : [error.element, first]);
  const both = left && chosenTabs.length;
  const root = h("div", { class: "cutwidgets cw-panel" }, [
    left || on.run ? controls.row : null,
    left ? controls.below : null,
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
    live.textContent = `Start: ${name}. Choose the end.`;
  }

  function choose(start, end) {
    select([start, end]);
  }

  function clear() {
    diagram.hideTip();
    if (pending !== null) live.textContent = "Start cleared.";
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

  // Why a slice from one block cannot end at another, and the edges that show it.
  function refused(start, end) {
    const name = blocks[start].name;
    if (end < start) return { text: `Cannot end here: it comes before the start, ${name}.` };
    const refusal = network.refused[start]?.[end];
    if (!refusal) return null;
    const { names, makers } = refusal;
    if (!names.length) return { text: `Cannot end here: it is not computed from ${name}.` };
    if (model.get("allow_bypass")) return null;
    const outputs = names.length === 1 ? `output of ${names[0]}`
      : `outputs of ${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
    return {
      text: `Cannot end here: it also needs the ${outputs}, from before the start.`,
      edges: crossing(makers, start),
    };
  }

  // Ids of the edges that carry the outputs of some blocks past the start of another.
  function crossing(makers, start) {
    return network.sources.flatMap((sources, i) => i < start ? [] : sources.flatMap((source, k) =>
      !makers.includes(source) ? [] : k ? [drawn(`skip-${i}-${k}`, i)]
        : i > start ? [drawn(`spine-${i}`, i), `shortcut-${i}`] : [`shortcut-${i}`]));
  }

  // An edge into a block, or the card of the block, if it names what it reads instead.
  function drawn(edge, i) {
    return diagram.has(edge) ? edge : i in blocks ? `block-${cards[cardOf(i)].first}` : "output";
  }
  function cardOf(i) {
    return cards.findIndex(({ first, last }) => first <= i && i <= last);
  }
  function runOf(name) {
    return opened ? undefined : cards.find((card) => card.name === name && card.name);
  }
  // The first or the last block of a card.
  function blockOf(name, end) {
    return runOf(name) ? blocks[runOf(name)[end]].name : name;
  }

  // --------------------------------------------------------------------------- what is shown

  function showBlocks() {
    opened = null;
    const shown = unfolded ?? network;
    cards = shown.cards;
    const items = cards.map((card) => (card.name ? { ...card, layers: [], attribute: "data-run" }
      : blocks[card.first]));
    const label = `Blocks of ${network.name}`;
    const id = (_, k) => `block-${shown.cards[k].first}`;
    const about = { label, prefix, attribute: "data-block", id };
    replaceDiagram(createDiagram(shown.svg, items, about, on));
  }

  function showLayers(answer) {
    opened = answer;
    const label = `Layers of ${answer.block}`;
    const about = { label, prefix, attribute: "data-layer", id: (item) => item.id };
    replaceDiagram(createDiagram(answer.svg, answer.calls, about, on));
  }

  function replaceDiagram(next) {
    const focused = diagram?.box === document.activeElement;
    diagram?.close();
    diagram = next;
    canvas.replaceChildren(diagram.box, diagram.overview, diagram.tip);
    if (focused) diagram.box.focus();
    draw();
  }

  let wantedRun = null; // the run of blocks that this view wants to open, and what to do then
  let goal; // a layer to go to, as soon as its block is open
  function open(name) {
    if (runOf(name)) return unfold(runOf(name));
    if (opened || !name || busy.has("open")) return;
    if (at.offline()) return error.show("Opening a block needs Python: run this cell again.");
    wanted = name;
    at.ask("open", { block: name });
  }
  function back() {
    if (opened) {
      const { block } = opened;
      showBlocks();
      goToBlock(block);
    } else if (unfolded) {
      const { first } = unfolded;
      unfolded = null;
      showBlocks();
      diagram.goTo(diagramName(first));
    }
  }
  // Show the blocks of a run, from the kernel: it opens to one diagram, with all other runs closed.
  function unfold({ first, last, name }, then = () => diagram.goTo(diagramName(first))) {
    if (busy.has("unfold")) return;
    if (at.offline()) return error.show("Opening a run of blocks needs Python: run this cell again.");
    wantedRun = { first, name: name ?? blocks[first].name, then };
    at.ask("unfold", { first, last });
  }
  function unfoldChanged() {
    const answer = model.get("_unfold");
    if (!answer.svg || !wantedRun) return;
    const { first, name, then } = wantedRun;
    unfolded = { svg: answer.svg, cards: answer.cards, first, name };
    showBlocks();
    live.textContent = `Opened ${name}.`;
    then();
  }
  function diagramName(i) {
    return cards[cardOf(i)].name ?? blocks[i].name;
  }
  function goToBlock(name) {
    const i = positions.get(name);
    if (cards[cardOf(i)].name) unfold({ first: i, last: i });
    else diagram.goTo(name);
  }
  function layersChanged() {
    const answer = model.get("_open");
    if (answer.svg && answer.block !== wanted) return false; // another view asked
    if (answer.svg) showLayers(answer);
    if (answer.svg) diagram.goTo(goal ?? answer.calls[0].name);
    goal = null;
    return true;
  }

  function find(text) {
    const match = positions.has(text) ? text : [...positions.keys()].find((name) =>
      name.toLowerCase().includes(text.toLowerCase()));
    if (match === undefined && at.offline()) return error.show(`Nothing is named ${text}.`);
    if (match === undefined) return at.ask("find", { text });
    goToPlace(blocks[positions.get(match)].name, names.has(match) ? null : match);
  }
  function goToAnswer() {
    const { block, layer, failed } = model.get("_find");
    if (failed || !block) return;
    goToPlace(block, layer);
  }
  function goToPlace(block, layer) {
    if (opened && opened.block !== block) showBlocks();
    if (layer && opened) return diagram.goTo(layer);
    if (!opened) goToBlock(block);
    if (!layer || at.offline()) return;
    goal = layer;
    open(block);
  }

  function draw() {
    const selection = at.selection();
    const range = at.range();
    const first = pending === null ? range?.[0] : positions.get(pending);
    const holds = (k, i) => cards[k].first <= i && i <= cards[k].last;
    const reason = (k) => (pending === null || first === undefined || cards[k].name ? null
      : refused(first, cards[k].first));
    const from = pending === null ? at.result()?.crossing : null;
    const view = opened ? layerView() : {
      lit: (k) => (pending === null ? range?.[0] <= cards[k].last && cards[k].first <= range?.[1]
        : holds(k, first)),
      reason,
      chosen: pending === null && Boolean(range),
      flags: pending !== null ? [[cardOf(first), "START"]]
        : range ? [[cardOf(range[0]), "START"], [cardOf(range[1]), "END"]] : [],
    };
    const measured = opened ? null : lab.values();
    const values = measured && cards.map((card) => (card.name ? null : measured[card.first]));
    diagram.show({ ...view, values, crossing: from ? crossing(from.makers, from.start) : [] });
    toolbar.show(active, opened?.block, unfolded?.name);
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
    history.rename(at.result()?.requested, at.selection());
    draw();
    if (!opened) diagram.reveal(at.range()?.map(cardOf));
    resultChanged();
  }

  // An answer carries its selection; one for an older selection is not shown.
  function resultChanged() {
    clearTimeout(busyTimer);
    clearTimeout(lostTimer);
    const result = at.result();
    if (result) lost = false;
    history.rename(result?.requested, at.selection());
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
    showError();
    live.textContent = result.announcement ?? "";
    settle(Boolean(result.rows));
  }

  // Without a kernel, the page shows what it can compute itself.
  function goOn() {
    lost = true;
    root.removeAttribute("aria-busy");
    tabs.refresh();
    settle(Boolean(localSummary(at)));
    error.show("No answer from the kernel. If it is busy, the rest will follow; if it was " +
      "restarted or is gone, run this cell again.");
  }

  function showError() {
    const result = at.result();
    const hint = result?.crossing ? ` In this panel, tick “${ALLOW_BYPASS}” above.` : "";
    error.show(model.get("error") + hint, result?.nearest);
  }

  function settle(isShown) {
    if (isShown) root.dataset.selection = at.selection().join("..");
    else delete root.dataset.selection;
  }

  function setBusy(question, now) {
    if (!now) busy.delete(question);
    if (question === "run") {
      run.textContent = now ? "Running…" : "Run";
      run.setAttribute("aria-disabled", now);
    }
    for (const tab of chosenTabs) if ((tab.question ?? tab.id) === question) tab.setBusy?.(now);
  }

  function answered(question) {
    const own = busy.has(question); // or another view has asked
    if (own) clearTimeout(lostTimer);
    if (question === "open" && (!own || !layersChanged())) return;
    if (question === "find" && own) goToAnswer();
    if (question === "unfold" && own) unfoldChanged();
    setBusy(question, false);
    if (own) showError();
    if (question === "maps") forward.mapsChanged();
    else tabs.refresh();
    if (question === "lab") live.textContent = lab.announcement();
    const isNewPhoto = own && question === "photo" && !model.get("_photo").failed;
    if (isNewPhoto && answerOf(at, "run")) run.click();
  }

  const listeners = {
    "change:selection": selectionChanged,
    "change:allow_bypass": () => (draw(), resultChanged()),
    "change:weights": resultChanged,
    "change:_result": resultChanged,
    "change:_progress": () => (busy.has("lab") && waitLong(), lab.refresh()),
    "change:error": () => at.result() && showError(),
  };
  for (const question of ["photo", "run", "maps", "text", "check", "code", "costs", "surgery",
    "lab", "open", "unfold", "find", "save"]) {
    listeners[`change:_${question}`] = () => answered(question);
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
