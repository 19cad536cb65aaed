// @ts-check
/** @import { Model } from "./types.d.ts" */

/**
 * Replaces the kernel in a saved page: it stores what is set, and answers nothing.
 * @param {any} state
 * @returns {Model}
 */
export function offlineModel(state) {
  /** @type {Map<string, (() => void)[]>} */
  const listeners = new Map();
  const values = fromText(state);
  return {
    offline: true,
    get: (key) => values[key],
    set(key, value) {
      values[key] = value;
      for (const listener of listeners.get(`change:${key}`) ?? []) listener();
    },
    on: (event, listener) => void listeners.set(event, [...(listeners.get(event) ?? []), listener]),
    off: (event, listener) => void listeners.set(event,
      (listeners.get(event) ?? []).filter((other) => other !== listener)),
    save_changes() {},
    send() {},
  };
}

/**
 * The value with base64 as bytes again; the inverse of as_text in panel/page.py.
 * @param {any} value
 * @returns {any}
 */
export function fromText(value) {
  if (Array.isArray(value)) return value.map(fromText);
  if (value === null || typeof value !== "object") return value;
  if (value.base64) return Uint8Array.from(atob(value.base64), (letter) => letter.charCodeAt(0));
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, fromText(item)]));
}
