// Short messages that come and go. Knows no page.
import { signal } from "../lib.js";

/** Messages that are shown: {id, text, kind, action?}. */
export const toasts = signal([]);

let last = 0;
const LIFE_MS = 6000;

/**
 * Show a message and return a function that takes it away.
 * @param {string} text
 * @param {{kind?: "info" | "good" | "bad", action?: {label: string, run: () => void}, lifeMs?: number,
 *          onGone?: () => void}} [options]
 */
export function toast(text, { kind = "info", action, lifeMs = LIFE_MS, onGone } = {}) {
  const id = ++last;
  let gone = false;
  const remove = () => {
    if (gone) return;
    gone = true;
    clearTimeout(timer);
    toasts.value = toasts.peek().filter((one) => one.id !== id);
    onGone?.();
  };
  const timer = setTimeout(remove, lifeMs);
  toasts.value = [...toasts.peek().slice(-3), { id, text, kind, action, remove }];
  return remove;
}
