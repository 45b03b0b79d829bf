// The header: name, navigation, credits, account menu. On phones the navigation is at the bottom.
import { session } from "../api.js";
import { BASE, classes, html, useEffect, useRef, useState } from "../lib.js";
import { LANGUAGES, language, number, t } from "../i18n/index.js";
import { PAGES } from "../pages.js";
import { place } from "../router.js";
import { credits, organisation } from "../state/account.js";
import { keyNames, overlay } from "../state/commands.js";
import { chosenLanguage, theme } from "../state/preferences.js";
import { IconButton } from "../ui/controls.js";
import { Icon } from "../ui/icon.js";
import { mayOpen } from "./access.js";
import { signOut } from "./leave.js";

/** The header of every page that needs a sign-in. */
export function Header() {
  const shown = PAGES.filter((page) => page.nav === "main" && mayOpen(page));
  return html`<header class="header">
    <a class="brand" href="/" aria-label="Keelbill"><img src=${`${BASE}/img/icon.svg`} width="28" height="28" alt="" /><span>Keelbill</span></a>
    <nav class="nav" aria-label=${t("shell.navigation")}>
      ${shown.map(
        (page) =>
          html`<a key=${page.path} href=${page.path} aria-current=${isHere(page) ? "page" : undefined}>
            <${Icon} name=${page.icon} /><span>${t(page.title)}</span>
          </a>`,
      )}
    </nav>
    <div class="header-end">
      <button type="button" class="palette-button" title=${t("palette.open")} onClick=${() => (overlay.value = "palette")}>
        <${Icon} name="search" size=${16} /><span>${t("palette.short")}</span><kbd>${keyNames("mod+k")[0].join(" ")}</kbd>
      </button>
      <${Credits} />
      <${AccountMenu} />
    </div>
  </header>`;
}

function isHere(page) {
  const path = place.value.path;
  return page.path === "/" ? path === "/" : path === page.path || path.startsWith(`${page.path}/`);
}

function Credits() {
  const found = credits.value;
  const text = found ? (found.is_unlimited ? t("credits.unlimited") : t("credits.balance", { n: number(found.available) })) : "";
  const isLow = found && !found.is_unlimited && Number(found.available) < 5;
  const billing = PAGES.find((page) => page.path === "/billing");
  const inside = html`<${Icon} name="wallet" size=${16} /><span>${text}</span>`;
  const name = classes("credits", isLow && "credits-low");
  if (!found) return html`<span class="credits credits-waiting" aria-hidden="true" />`;
  return billing && mayOpen(billing)
    ? html`<a class=${name} href="/billing" data-credits=${found.available}>${inside}</a>`
    : html`<span class=${name} data-credits=${found.available}>${inside}</span>`;
}

function AccountMenu() {
  const [open, setOpen] = useState(false);
  const box = useRef(null);
  const user = session.value.user;
  const name = user.name || user.email || t("menu.account");
  useEffect(() => {
    if (!open) return undefined;
    box.current.querySelector(".menu a, .menu button")?.focus();
    const away = (event) => {
      if (!box.current?.contains(event.target)) setOpen(false);
    };
    document.addEventListener("pointerdown", away);
    document.addEventListener("focusin", away);
    return () => {
      document.removeEventListener("pointerdown", away);
      document.removeEventListener("focusin", away);
    };
  }, [open]);
  useEffect(() => setOpen(false), [place.value.path]);
  const keys = (event) => {
    if (event.key === "Escape" && open) {
      event.stopPropagation();
      setOpen(false);
      box.current.querySelector(".avatar").focus();
    }
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      const items = [...box.current.querySelectorAll(".menu a, .menu button, .menu select")];
      if (!items.length || document.activeElement instanceof HTMLSelectElement) return;
      event.preventDefault();
      const at = items.indexOf(document.activeElement) + (event.key === "ArrowDown" ? 1 : -1);
      items[(at + items.length) % items.length].focus();
    }
  };
  return html`<div class="account" ref=${box} onKeyDown=${keys}>
    <button type="button" class="avatar" aria-expanded=${String(open)} aria-label=${t("menu.of", { name })} onClick=${() => setOpen(!open)}>
      ${[...name][0].toUpperCase()}
    </button>
    ${open &&
    html`<div class="menu">
      <div class="menu-head">
        <strong>${name}</strong>
        ${user.name && html`<span>${user.email}</span>`}
        ${organisation.value?.kind === "team" && html`<span>${organisation.value.name}</span>`}
      </div>
      ${PAGES.filter((page) => page.nav === "account" && mayOpen(page)).map(
        (page) =>
          html`<a key=${page.path} href=${page.path} aria-current=${isHere(page) ? "page" : undefined}><${Icon} name=${page.icon} />${t(page.title)}</a>`,
      )}
      <div class="menu-row" role="group" aria-label=${t("theme.label")}>
        <span>${t("theme.label")}</span>
        ${[
          ["system", "monitor"],
          ["light", "sun"],
          ["dark", "moon"],
        ].map(
          ([value, icon]) =>
            html`<${IconButton} key=${value} label=${t(`theme.${value}`)} icon=${icon} pressed=${theme.value === value} onClick=${() => (theme.value = value)} />`,
        )}
      </div>
      <label class="menu-row">
        <span>${t("menu.language")}</span>
        <select class="select select-small" value=${language.value} onChange=${(event) => (chosenLanguage.value = event.target.value)}>
          ${Object.entries(LANGUAGES).map(([code, text]) => html`<option key=${code} value=${code} lang=${code}>${text}</option>`)}
        </select>
      </label>
      <button type="button" onClick=${() => ((overlay.value = "shortcuts"), setOpen(false))}><${Icon} name="keyboard" />${t("shortcuts.title")}</button>
      <button type="button" onClick=${signOut}><${Icon} name="log-out" />${t("menu.sign_out")}</button>
    </div>`}
  </div>`;
}
