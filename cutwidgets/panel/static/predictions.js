// @ts-check
import { cost, table } from "./dom.js";

/**
 * The most likely classes of a classifier.
 * @param {[string, number][] | null | undefined} predictions
 * @param {string} label
 */
export function predictionTable(predictions, label = "Predictions") {
  if (!predictions?.length) return null;
  const rows = predictions.map(([name, probability]) =>
    [name, cost(probability.toFixed(3), probability)]);
  return table(label, ["Class", "Probability"], rows, { "data-part": "predictions" });
}
