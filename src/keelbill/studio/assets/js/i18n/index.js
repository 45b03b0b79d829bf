// Turns the name of a text into words of the chosen language. Knows no page; the words are in en.js and de.js.
import { effect, signal } from "../lib.js";
import { chosenLanguage } from "../state/preferences.js";
import { en } from "./en.js";

/** Languages by their code, each named in itself. */
export const LANGUAGES = { en: "English", de: "Deutsch" };

const texts = signal(en);

/** Code of the language that is shown now. */
export const language = signal("en");

function wanted() {
  const asked = [chosenLanguage.value, ...(navigator.languages || [])].map((code) => code.slice(0, 2).toLowerCase());
  return asked.find((code) => code in LANGUAGES) || "en";
}

effect(() => {
  const code = wanted();
  load(code);
});

async function load(code) {
  const found = code === "de" ? (await import("./de.js")).de : en;
  if (wanted() !== code) return;
  texts.value = found;
  language.value = code;
  document.documentElement.lang = code;
}

/**
 * Return a text.
 * @param {string} name Such as "playground.generate".
 * @param {Record<string, string | number>} [values] For the places in braces.
 */
export function t(name, values = {}) {
  const text = texts.value[name] ?? en[name] ?? name;
  return text.replace(/\{(\w+)\}/g, (place, key) => (key in values ? String(values[key]) : place));
}

/** Return a text for a count: "name.one" or "name.many", with {n}. */
export function tn(name, count, values = {}) {
  return t(`${name}.${count === 1 ? "one" : "many"}`, { n: number(count), ...values });
}

/** Return a number as people write it. */
export function number(value, digits = 2) {
  return new Intl.NumberFormat(language.value, { maximumFractionDigits: digits }).format(Number(value));
}

/** Return a day and time as people write it. */
export function dateTime(ms) {
  return new Intl.DateTimeFormat(language.value, { dateStyle: "medium", timeStyle: "short" }).format(ms);
}

/** Return a day as people write it. */
export function day(ms) {
  return new Intl.DateTimeFormat(language.value, { dateStyle: "medium" }).format(ms);
}

/** Return a short span of time: "8 s", "2 min". */
export function span(ms) {
  const seconds = Math.max(1, Math.round(ms / 1000));
  return seconds < 90 ? t("time.seconds", { n: seconds }) : t("time.minutes", { n: Math.round(seconds / 60) });
}
