// The list of keys that do something on the page that is shown.
import { html } from "../lib.js";
import { t } from "../i18n/index.js";
import { commands, overlay } from "../state/commands.js";
import { Dialog } from "../ui/dialog.js";
import { Keys } from "./palette.js";

/** The list, in a dialog. */
export function Shortcuts() {
  const shown = commands.value.filter((one) => one.keys);
  return html`<${Dialog} title=${t("shortcuts.title")} onClose=${() => (overlay.value = "")}>
    <dl class="shortcuts">
      ${shown.map((one) => html`<div key=${one.id}><dt>${one.title()}</dt><dd><${Keys} keys=${one.keys} /></dd></div>`)}
    </dl>
  <//>`;
}
