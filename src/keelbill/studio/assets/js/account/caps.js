// Limits in credits, of a key or of a member, as a sentence. Knows no requests.
import { number } from "../i18n/index.js";
import { say } from "./texts.js";

/** Their names. */
export const CAPS = ["per_request", "per_day", "per_month", "total"];

/** Return limits as people read them. */
export function capsText(caps) {
  const set = CAPS.filter((name) => caps[name] !== null && caps[name] !== undefined);
  return set.length ? set.map((name) => say(`caps.${name}_short`, { n: number(caps[name]) })).join(", ") : say("caps.none");
}
