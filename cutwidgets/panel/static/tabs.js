// -------------------------------------------------------- check, code, costs, surgery, files

function createCheckTab(at) {
  const check = button("Run the check",
    "Run the model, then head, slice and tail, and compare the outputs", () => at.ask("check"));
  const outcome = h("div", {});
  const words = "Do head, slice and tail, run one after another, give the full model's output?";
  const element = h("div", { "data-part": "check" }, [h("p", {}, words), check, outcome]);

  function refresh() {
    const answer = answerOf(at, "check");
    check.hidden = at.offline();
    check.disabled = Boolean(noSlice(at));
    if (!answer) {
      outcome.replaceChildren(noSlice(at) ?? empty(at.offline() ? NEEDS_PYTHON : ""));
      return;
    }
    const mark = answer.ok ? (answer.conclusive ? "cw-exact" : "cw-inexact") : "cw-wrong";
    outcome.replaceChildren(
      h("p", { class: `cw-note ${mark}` }, answer.text),
      table(["Block", "Largest difference"], answer.rows),
    );
  }
  function setBusy(now) {
    if (now) outcome.replaceChildren(progress("Running the model, then head, slice and tail…"));
    else refresh();
  }
  return { id: "check", label: "Check", element, refresh, setBusy };
}

function createCodeTab(at) {
  const element = h("div", { "data-part": "code" });
  let asked;

  function refresh() {
    const answer = answerOf(at, "code");
    if (!answer) {
      const failed = at.model.get("_code")?.failed;
      element.replaceChildren(noSlice(at) ??
        empty(at.offline() ? NEEDS_PYTHON
          : failed ? "This slice cannot be written as a script (see above)." : "…"));
      const key = JSON.stringify([at.selection(), at.result()?.count]);
      if (at.visible("code") && at.result()?.rows && asked !== key) {
        asked = key;
        at.ask("code");
      }
      return;
    }
    element.replaceChildren(
      h("h3", {}, "With cutwidgets"), listing(answer.lines),
      h("h3", {}, "A plain Keras script, without cutwidgets"), listing(answer.script),
    );
  }
  return { id: "code", label: "Code", element, refresh };
}

// Code with a button that copies it.
function listing(code) {
  const pre = h("pre", { tabindex: "0", ...OWN_KEYS }, code);
  const copy = button("Copy", "Copy to the clipboard", async () => {
    try {
      await navigator.clipboard.writeText(code);
      copy.textContent = "Copied";
    } catch { // The page may not write to the clipboard: select the code to copy it by hand.
      getSelection().selectAllChildren(pre);
      copy.textContent = "Selected: press Ctrl+C";
    }
  });
  return h("div", { class: "cw-listing" }, [copy, pre]);
}

function createCostsTab(at) {
  const element = h("div", { "data-part": "costs" });
  let asked = false;

  function refresh() {
    const costs = at.model.get("_costs");
    if (!costs?.rows) {
      const words = costs?.failed ? "The costs could not be computed (see above)." : NEEDS_PYTHON;
      element.replaceChildren(
        at.offline() || costs?.failed ? empty(words) : progress("Computing the costs…"));
      if (at.visible("costs") && !asked && !at.offline()) {
        asked = true;
        at.ask("costs");
      }
      return;
    }
    const { blocks } = at.network;
    const [first, last] = at.range() ?? [0, -1];
    const most = (key) => Math.max(...costs.rows.map((row) => row[key]), 1);
    const columns = [["parameters", ""], ["macs", ""], ["bytes", "B"]];
    const cell = (row, [key, unit]) => h("span", { class: "cw-cost" }, [
      `${key === "macs" && row.uncounted.length ? "≥ " : ""}${short(row[key])}${unit}`,
      bar(row[key] / most(key)),
    ]);
    const rows = costs.rows.map((row, i) =>
      [blocks[i].name, ...columns.map((column) => cell(row, column)), row.field ?? "—"]);
    const sum = (name, from, to) => {
      const part = costs.rows.slice(from, to);
      const mark = { parameters: at.network.shared ? "≤ " : "", bytes: "",
        macs: part.some((row) => row.uncounted.length) ? "≥ " : "" };
      return [name, ...columns.map(([key, unit]) =>
        `${mark[key]}${short(part.reduce((total, row) => total + row[key], 0))}${unit}`), ""];
    };
    const totals = [sum("model", 0, blocks.length)];
    if (last >= first) {
      totals.unshift(sum("head", 0, first), sum("slice", first, last + 1), sum("tail", last + 1));
    }
    const heads = ["Block", "Parameters", "MACs", "Activations", "Receptive field"];
    const list = table(heads, [...totals, ...rows], { class: "cw-costs" });
    list.querySelectorAll("tbody tr").forEach((row, i) => {
      const block = i - totals.length;
      if (block < 0) row.classList.add("cw-total");
      row.classList.toggle("cw-in", first <= block && block <= last);
    });
    element.replaceChildren(
      h("p", { class: "cw-aside" }, `For one example of shape ${costs.at}. MACs: ` +
        "multiply–accumulates. Activations: memory of all layer outputs. Receptive field: in " +
        "input pixels (— whole input or unknown)."),
      list,
    );
  }
  return { id: "costs", label: "Costs", element, refresh };
}

function createSurgeryTab(at) {
  const pictures = createPictures();
  const tools = h("div", { class: "cw-tools" });
  const outcome = h("div", {});
  const element = h("div", { "data-part": "surgery" }, [tools, outcome]);
  let asked, drawn, options; // options: what can be removed or swapped, also after a failure

  function refresh() {
    const answer = answerOf(at, "surgery");
    const raw = at.model.get("_surgery");
    if (options && raw?.failed && same(raw.selection, at.selection())) {
      drawTools(options);
      return outcome.replaceChildren();
    }
    if (!answer) {
      drawn = options = null;
      tools.replaceChildren(noSlice(at) ?? empty(at.offline() ? NEEDS_PYTHON : "…"));
      outcome.replaceChildren();
      const key = JSON.stringify([at.selection(), at.result()?.count]);
      if (at.visible("surgery") && at.result()?.rows && asked !== key) {
        asked = key;
        at.ask("surgery");
      }
      return;
    }
    if (drawn === answer) return;
    drawn = options = answer;
    drawTools(answer);
    drawOutcome(answer);
  }

  function drawTools({ removable, swappable }) {
    const operate = (what, blocks) => at.ask("surgery", { what, blocks });
    const list = h("select", { "aria-label": "Neighbours that can be swapped", ...OWN_KEYS },
      swappable.map((pair, i) => h("option", { value: i }, pair.join(" ⇄ "))));
    const several = removable.length === 1 ? removable[0] : `${removable.length} residual blocks`;
    tools.replaceChildren(...[
      removable.length
        ? button(`Remove ${several}`, `Run the model without ${removable.join(", ")}`,
          () => operate("remove", removable))
        : empty("No residual block that lies entirely in the slice can be removed."),
      swappable.length ? h("span", { class: "cw-swap" }, [list, button("Swap",
        "Run the model with these two blocks swapped",
        () => operate("swap", swappable[list.value]))]) : null,
    ].filter(Boolean));
    for (const one of tools.querySelectorAll("button, select")) one.disabled = at.offline();
  }

  function drawOutcome({ title, facts: rows, predictions, before, after, code }) {
    pictures.clear();
    const text = "Compares the model's output for the photograph with and without the change. " +
      "The model and the slice stay as they are.";
    if (!title) return outcome.replaceChildren(empty(text));
    const pairs = [["Before", "before"], ["After", "after"]];
    const side = ([name, when]) => predictions
      ? h("div", {}, [h("strong", {}, name), predictionTable(predictions[when])])
      : h("figure", {}, [h("figcaption", {}, name),
        pictures.image({ before, after }[when].picture, `Features ${name.toLowerCase()}`)]);
    outcome.replaceChildren(h("h3", {}, title), facts(rows),
      h("div", { class: "cw-sides" }, pairs.map(side)), listing(code));
  }
  function setBusy(now) {
    if (now) outcome.replaceChildren(progress("Running the model with and without the change…"));
    else {
      drawn = null;
      refresh();
    }
  }
  const close = () => pictures.clear();
  return { id: "surgery", label: "Surgery", element, refresh, setBusy, close };
}

function createSaveTab(at) {
  const kinds = [
    ["keras", "Save slice (.keras)"], ["svg", "Download diagram (SVG)"],
    ["png", "Download diagram (PNG)"], ["dot", "Download diagram (DOT, for Graphviz)"],
    ["html", "Download panel (one HTML file)"],
  ];
  const buttons = kinds.map(([kind, label]) =>
    button(label, kind === "html" ? "A page that works without Python" : "", () => save(kind)));
  const status = h("p", { class: "cw-aside", role: "status" });
  const element = h("div", { "data-part": "save", class: "cw-save" }, [
    ...buttons, status,
    h("p", { class: "cw-aside" },
      "The slice is saved next to the notebook; the rest is downloaded."),
  ]);
  let waiting = false; // other views of this panel receive the answer too, and save nothing

  function save(kind) {
    waiting = true;
    status.textContent = "Saving…";
    at.ask("save", { kind });
  }
  function refresh() {
    buttons.forEach((one, i) => {
      one.disabled = at.offline() || (kinds[i][0] === "keras" && Boolean(noSlice(at)));
    });
  }
  function setBusy(now) {
    if (now || !waiting) return;
    waiting = false;
    const file = at.model.get("_save");
    status.textContent = file.failed ? "" : (file.saved ?? `Downloaded as ${file.name}.`);
    if (file.content) download(file.name, file.content);
  }
  return { id: "save", label: "Save", element, refresh, setBusy };
}
