// What a person likes: theme and language. Kept in this browser; knows no account.
import { effect, signal } from "../lib.js";

const KEY = "keelbill.preferences";

function kept() {
  try {
    return JSON.parse(localStorage.getItem(KEY) || "{}");
  } catch {
    return {};
  }
}

/** "system", "light" or "dark". */
export const theme = signal(["light", "dark"].includes(kept().theme) ? kept().theme : "system");

/** "" follows the browser. */
export const chosenLanguage = signal(kept().language || "");

effect(() => {
  if (theme.value === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme.value;
  try {
    localStorage.setItem(KEY, JSON.stringify({ theme: theme.value, language: chosenLanguage.value }));
  } catch {
    // A browser that keeps nothing still shows everything.
  }
});

/** Go to the next theme: system, light, dark, system. */
export function nextTheme() {
  theme.value = { system: "light", light: "dark", dark: "system" }[theme.value];
}
