// @ts-check
// What the page may ask the kernel. The answer to a question is the trait `_question`.

/**
 * @typedef {object} Question
 * @property {"selection" | "model" | "panel"} about  What the answer belongs to.
 * @property {boolean} [job]  Whether it may take long: then it shows its progress and can be stopped.
 */

/** @type {Record<string, Question>} */
export const QUESTIONS = {
  run: { about: "selection", job: true },
  maps: { about: "selection" },
  heat: { about: "selection", job: true },
  text: { about: "selection" },
  check: { about: "selection", job: true },
  code: { about: "selection" },
  surgery: { about: "selection", job: true },
  costs: { about: "model", job: true },
  lab: { about: "model", job: true },
  open: { about: "model" },
  unfold: { about: "model" },
  reach: { about: "model" },
  find: { about: "model" },
  save: { about: "panel" },
  photo: { about: "panel" },
};
