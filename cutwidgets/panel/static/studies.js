// ------------------------------------------------------- result, code, costs, surgery, files

function createProofTab(at) {
  const check = button("Check", "Run the model, and tail on slice on head, and compare", () =>
    at.ask("check", "_checked"));
  const outcome = h("div", {});
  const words = "Does the model still come out, when head, slice and tail run one after the other?";
  const element = h("div", { "data-part": "check" }, [h("p", {}, words), check, outcome]);

  function refresh() {
    const answer = answerOf(at, "_checked");
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
    if (now) outcome.replaceChildren(progress("The model runs, then head, slice and tail…"));
    else refresh();
  }
  return { id: "check", label: "Check", element, refresh, setBusy, trait: "_checked" };
}

function createCodeTab(at) {
  const element = h("div", { "data-part": "code" });
  let asked;

  function refresh() {
    const answer = answerOf(at, "_code");
    if (!answer) {
      const failed = at.model.get("_code")?.failed;
      element.replaceChildren(noSlice(at) ??
        empty(at.offline() ? NEEDS_PYTHON : failed ? "There is no script of this slice." : "…"));
      const key = JSON.stringify([at.selection(), at.result()?.count]);
      if (at.visible("code") && at.result()?.rows && asked !== key) {
        asked = key;
        at.ask("code", "_code");
      }
      return;
    }
    element.replaceChildren(
      h("h3", {}, "With cutwidgets"), listing(answer.lines),
      h("h3", {}, "A plain Keras script, without cutwidgets"), listing(answer.script),
    );
  }
  return { id: "code", label: "Code", element, refresh, trait: "_code" };
}

// Code with a button that copies it.
function listing(code) {
  const pre = h("pre", { tabindex: "0", ...OWN_KEYS }, code);
  const copy = button("Copy", "Copy to the clipboard", async () => {
    try {
      await navigator.clipboard.writeText(code);
      copy.textContent = "Copied";
    } catch { // Where the page may not write there, what is selected can be copied by hand.
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
      const words = costs?.failed ? "The costs could not be counted." : NEEDS_PYTHON;
      element.replaceChildren(
        at.offline() || costs?.failed ? empty(words) : progress("Counting…"));
      if (at.visible("costs") && !asked && !at.offline()) {
        asked = true;
        at.ask("costs", "_costs");
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
      h("p", { class: "cw-aside" }, `For one example of shape ${costs.at}. MACs are multiplications ` +
        "with addition, activations all that the layers give, the receptive field in pixels " +
        "(— where it is all of the input, or unknown)."),
      list,
    );
  }
  return { id: "costs", label: "Costs", element, refresh, trait: "_costs" };
}

function createSurgeryTab(at) {
  const pictures = createPictures();
  const tools = h("div", { class: "cw-tools" });
  const outcome = h("div", {});
  const element = h("div", { "data-part": "surgery" }, [tools, outcome]);
  let asked, drawn, known; // known: what can be done, if that did not work

  function refresh() {
    const answer = answerOf(at, "_surgery");
    const raw = at.model.get("_surgery");
    if (known && raw?.failed && same(raw.selection, at.selection())) {
      drawTools(known);
      return outcome.replaceChildren();
    }
    if (!answer) {
      drawn = known = null;
      tools.replaceChildren(noSlice(at) ?? empty(at.offline() ? NEEDS_PYTHON : "…"));
      outcome.replaceChildren();
      const key = JSON.stringify([at.selection(), at.result()?.count]);
      if (at.visible("surgery") && at.result()?.rows && asked !== key) {
        asked = key;
        at.ask("surgery", "_surgery");
      }
      return;
    }
    if (drawn === answer) return;
    drawn = known = answer;
    drawTools(answer);
    drawOutcome(answer);
  }

  function drawTools({ removable, swappable }) {
    const operate = (what, blocks) => at.ask("surgery", "_surgery", { what, blocks });
    const list = h("select", { "aria-label": "Neighbours of equal shape", ...OWN_KEYS },
      swappable.map((pair, i) => h("option", { value: i }, pair.join(" ⇄ "))));
    const several = removable.length === 1 ? removable[0] : `${removable.length} residual blocks`;
    tools.replaceChildren(...[
      removable.length
        ? button(`Remove ${several}`, `Compute the model without ${removable.join(", ")}`,
          () => operate("remove", removable))
        : empty("No residual block of the slice can be removed: each changes the shape."),
      swappable.length ? h("span", { class: "cw-swap" }, [list, button("Swap",
        "Compute the model with the two in each other's place",
        () => operate("swap", swappable[list.value]))]) : null,
    ].filter(Boolean));
    for (const one of tools.querySelectorAll("button, select")) one.disabled = at.offline();
  }

  function drawOutcome({ title, facts: found, predictions, before, after, code }) {
    pictures.clear();
    const text = "The model's output for the photograph is computed with and without the change. " +
      "Neither the model nor the slice is changed.";
    if (!title) return outcome.replaceChildren(empty(text));
    const pairs = [["Before", "before"], ["After", "after"]];
    const side = ([name, when]) => predictions
      ? h("div", {}, [h("strong", {}, name), predictionTable(predictions[when])])
      : h("figure", {}, [h("figcaption", {}, name),
        pictures.image({ before, after }[when].picture, `Features ${name.toLowerCase()}`)]);
    outcome.replaceChildren(h("h3", {}, title), facts(found),
      h("div", { class: "cw-sides" }, pairs.map(side)), listing(code));
  }
  function setBusy(now) {
    if (now) outcome.replaceChildren(progress("The model runs with and without the change…"));
    else {
      drawn = null;
      refresh();
    }
  }
  const close = () => pictures.clear();
  return { id: "surgery", label: "Surgery", element, refresh, setBusy, close, trait: "_surgery" };
}

function createSaveTab(at) {
  const kinds = [
    ["keras", "The slice, as .keras"], ["svg", "The diagram, as SVG"], ["png", "The diagram, as PNG"],
    ["dot", "The diagram, as DOT (Graphviz)"], ["html", "The panel, as one HTML file"],
  ];
  const buttons = kinds.map(([kind, label]) =>
    button(label, kind === "html" ? "A page that works without Python" : "", () => save(kind)));
  const told = h("p", { class: "cw-aside", role: "status" });
  const element = h("div", { "data-part": "save", class: "cw-save" }, [
    ...buttons, told,
    h("p", { class: "cw-aside" }, "The slice is saved beside the notebook; the rest is downloaded."),
  ]);
  let waiting = false; // other views of this panel get the answer too, and save nothing

  function save(kind) {
    waiting = true;
    told.textContent = "Saving…";
    at.ask("save", "_file", { kind });
  }
  function refresh() {
    buttons.forEach((one, i) => {
      one.disabled = at.offline() || (kinds[i][0] === "keras" && Boolean(noSlice(at)));
    });
  }
  function setBusy(now) {
    if (now || !waiting) return;
    waiting = false;
    const file = at.model.get("_file");
    told.textContent = file.failed ? "" : (file.saved ?? `Downloaded as ${file.name}.`);
    if (file.content) download(file.name, file.content);
  }
  return { id: "save", label: "Save", element, refresh, setBusy, trait: "_file" };
}
