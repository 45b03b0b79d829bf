// The command palette: type a few letters, press Enter. Knows commands, not what they do.
import { html, useEffect, useRef, useState } from "../lib.js";
import { t } from "../i18n/index.js";
import { navigate } from "../router.js";
import { commands, keyNames, overlay } from "../state/commands.js";
import { Dialog } from "../ui/dialog.js";
import { Icon } from "../ui/icon.js";

/** Keys as they are drawn. */
export function Keys({ keys }) {
  return html`<span class="keys">${keyNames(keys).map((stroke) => stroke.map((key) => html`<kbd>${key}</kbd>`))}</span>`;
}

function fits(title, typed) {
  const text = title.toLowerCase();
  return typed
    .toLowerCase()
    .split(/\s+/)
    .every((word) => text.includes(word));
}

/** The palette; it closes when something is chosen. */
export function Palette() {
  const [typed, setTyped] = useState("");
  const [at, setAt] = useState(0);
  const list = useRef(null);
  const close = () => (overlay.value = "");
  const found = commands.value.filter((one) => !one.hidden && fits(one.title(), typed));
  if (typed.trim()) {
    found.push({ id: "search", title: () => t("palette.search", { text: typed.trim() }), icon: "search", run: () => navigate(`/gallery?text=${encodeURIComponent(typed.trim())}`) });
  }
  const chosen = Math.min(at, found.length - 1);
  useEffect(() => list.current?.children[chosen]?.scrollIntoView({ block: "nearest" }), [chosen]);
  const run = (one) => {
    close();
    setTimeout(one.run);
  };
  const keys = (event) => {
    if (event.key === "ArrowDown") setAt((chosen + 1) % found.length);
    else if (event.key === "ArrowUp") setAt((chosen - 1 + found.length) % found.length);
    else if (event.key === "Enter" && found[chosen]) run(found[chosen]);
    else return;
    event.preventDefault();
  };
  return html`<${Dialog} bare title=${t("palette.open")} onClose=${close} class="palette">
    <label class="palette-input">
      <${Icon} name="search" />
      <span class="out-of-sight">${t("palette.label")}</span>
      <input
        autofocus
        role="combobox"
        aria-expanded="true"
        aria-controls="palette-list"
        aria-activedescendant=${found[chosen] ? `palette-${chosen}` : undefined}
        autocomplete="off"
        spellcheck="false"
        placeholder=${t("palette.label")}
        value=${typed}
        onInput=${(event) => {
          setTyped(event.target.value);
          setAt(0);
        }}
        onKeyDown=${keys}
      />
    </label>
    <ul id="palette-list" role="listbox" aria-label=${t("palette.open")} ref=${list}>
      ${found.map(
        (one, index) =>
          html`<li key=${one.id} id=${`palette-${index}`} role="option" aria-selected=${String(index === chosen)} onClick=${() => run(one)} onPointerMove=${() => setAt(index)}>
            <${Icon} name=${one.icon} /><span>${one.title()}</span>${one.keys && html`<${Keys} keys=${one.keys} />`}
          </li>`,
      )}
    </ul>
  <//>`;
}
