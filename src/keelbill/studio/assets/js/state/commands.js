// What can be done from the command palette and with keys. Pages add what they offer while they are shown.
import { signal, useLayoutEffect } from "../lib.js";

/**
 * Everything that can be done now: {id, title, icon, keys?, hidden?, notTyping?, run}. `title` is a function, for the
 * language. `notTyping` leaves keys such as mod+z to a field while somebody writes there.
 */
export const commands = signal([]);

/** Which overlay of the shell is open: "", "palette" or "shortcuts". */
export const overlay = signal("");

/** Offer commands while a component is shown. */
export function useCommands(offered, dependencies = []) {
  useLayoutEffect(() => {
    commands.value = [...commands.peek(), ...offered];
    return () => {
      commands.value = commands.peek().filter((one) => !offered.includes(one));
    };
  }, dependencies);
}

/** Return keys as people read them: "mod+k" is ⌘K on a Mac and Ctrl+K elsewhere. */
export function keyNames(keys) {
  const isMac = /Mac|iPhone|iPad/.test(navigator.platform);
  const names = { mod: isMac ? "⌘" : "Ctrl", enter: "↵", escape: "Esc", delete: isMac ? "⌫" : "Del" };
  const parts = keys.split(" ").map((stroke) => stroke.split("+").map((key) => names[key] || key.toUpperCase()));
  return parts;
}

let before = "";
let beforeAt = 0;

function strokeOf(event) {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key.toLowerCase().replace("backspace", "delete");
  if (event.getModifierState?.("AltGraph") || !(event.ctrlKey || event.metaKey)) return key; // AltGr writes [ and ] on many keyboards
  return event.shiftKey ? `mod+shift+${key}` : `mod+${key}`;
}

function isTyping(target) {
  return target instanceof HTMLElement && (target.isContentEditable || target.matches("textarea, select, input:not([type=radio], [type=checkbox], [type=range])"));
}

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.isComposing) return;
  if (event.altKey && !event.getModifierState?.("AltGraph")) return;
  const stroke = strokeOf(event);
  if (!stroke.startsWith("mod+") && isTyping(event.target)) return;
  if (document.querySelector("dialog[open]") && stroke !== "mod+k") return;
  const pair = event.timeStamp - beforeAt < 1200 ? `${before} ${stroke}` : "";
  const found = commands.peek().findLast((one) => one.keys && (one.keys === stroke || (pair && one.keys === pair)));
  before = stroke;
  beforeAt = event.timeStamp;
  if (!found || (found.notTyping && isTyping(event.target))) return;
  event.preventDefault();
  found.run();
});
