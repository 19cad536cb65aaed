// @ts-check
/** @import { Tab } from "./types.d.ts" */
/** @import { Store } from "./store.js" */
import { cost, empty, h, onChange, table } from "./dom.js";
import { createJob } from "./job.js";
import { needsKernel } from "./messages.js";
import { bytesText, short } from "./text.js";

const COST_COLUMNS = ["Block", "Parameters", "MACs", "Activations", "Receptive field"];

/** @param {Store} store @returns {Tab} */
export function createCostsTab(store) {
  const job = createJob(store, "costs", "costs");
  const outcome = h("div", {});
  const element = h("div", { "data-part": "costs" }, [job.element, outcome]);
  const draw = onChange(drawCosts);

  function refresh() {
    const running = job.refresh();
    outcome.hidden = running;
    const [costs, failed] = [store.answer("costs"), store.hasFailed("costs")];
    draw(costs, failed, store.range()?.join(), store.result()?.totals, store.offline());
    if (!costs && !failed && !running && !store.offline()) store.ask("costs");
  }
  /** @param {any} costs @param {boolean} failed */
  function drawCosts(costs, failed) {
    if (!costs?.rows) {
      const words = failed ? "The costs could not be computed (see above)."
        : costs?.stopped ? "Stopped." : store.offline() ? needsKernel(store) : "";
      return outcome.replaceChildren(empty(words));
    }
    const isShared = costs.rows.some((/** @type {any} */ row) => row.shared.length);
    const words = `For one example of shape ${costs.at}. MACs: multiply–accumulates. Activations: ` +
      "memory of all layer outputs. Receptive field: in input pixels (— whole input or unknown)." +
      (isShared ? " Weights that blocks share count once, in the first of them." : "");
    outcome.replaceChildren(h("p", { class: "cw-aside" }, words), costTable(costs));
  }

  /** @param {any} costs */
  function costTable(costs) {
    const { blocks, shared } = store.network;
    const [first, last] = store.range() ?? [0, -1];
    /** @param {any} row @returns {[string, string, string]} */
    const texts = (row) => [short(row.parameters),
      `${row.uncounted.length ? "≥ " : ""}${short(row.macs)}`, bytesText(row.bytes)];
    /** @param {string} key */
    const most = (key) => Math.max(...costs.rows.map((/** @type {any} */ row) => row[key]), 1);
    const longest = ["parameters", "macs", "bytes"].map((key) => ({ key, most: most(key) }));
    const rows = costs.rows.map((/** @type {any} */ row, /** @type {number} */ i) => [blocks[i].name,
      ...texts(row).map((text, k) => cost(text, row[longest[k].key] / longest[k].most)),
      row.field ?? "—"]);
    const exact = { ...store.result()?.totals, model: costs.model };
    /** @param {string} name @param {any[]} part  The rows of its blocks, if the kernel has no sum. */
    const sum = (name, part) => {
      const isExact = exact[name]?.macs !== undefined;
      const [parameters, ...others] = texts(isExact ? exact[name] : total(part));
      return [name, `${!isExact && shared ? "≤ " : ""}${parameters}`, ...others, ""];
    };
    const totals = [sum("model", costs.rows)];
    if (last >= first) {
      totals.unshift(sum("head", costs.rows.slice(0, first)),
        sum("slice", costs.rows.slice(first, last + 1)), sum("tail", costs.rows.slice(last + 1)));
    }
    const list = table("Costs by block", COST_COLUMNS, [...totals, ...rows], { class: "cw-costs" });
    list.querySelectorAll("tbody tr").forEach((row, i) => {
      const block = i - totals.length;
      if (block < 0) row.classList.add("cw-total");
      row.classList.toggle("cw-in", first <= block && block <= last);
    });
    return list;
  }
  return { id: "costs", label: "Costs", element, refresh };
}

/** @param {any[]} rows */
function total(rows) {
  /** @param {string} key */
  const sum = (key) => rows.reduce((all, row) => all + row[key], 0);
  return { parameters: sum("own"), macs: sum("macs"), bytes: sum("bytes"),
    uncounted: rows.flatMap((row) => row.uncounted) };
}
