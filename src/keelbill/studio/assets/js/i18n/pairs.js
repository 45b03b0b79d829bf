// Texts that only some pages need, in every language side by side, so that they are fetched with those pages.
import { language, number } from "./index.js";

/**
 * Return a function that says texts in the language that is shown; {places} are filled in.
 * @param {Record<string, [string, string]>} texts English and German by name.
 */
export function pairs(texts) {
  return (name, values = {}) => {
    const [english, german] = texts[name];
    const text = language.value === "de" ? german : english;
    return text.replace(/\{(\w+)\}/g, (place, key) => (key in values ? String(values[key]) : place));
  };
}

/** Return a size of a file or of memory as people write it. */
export function bytes(value) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let at = 0;
  let left = Number(value);
  while (left >= 1000 && at < units.length - 1) {
    left /= 1000;
    at += 1;
  }
  return `${number(left, left < 10 && at > 1 ? 1 : 0)} ${units[at]}`;
}
