// What surrounds every page: the header, the page for the address, messages, palette. Knows no page's inside.
import { session } from "../api.js";
import { Fragment, html, useEffect, useErrorBoundary, useState } from "../lib.js";
import { t } from "../i18n/index.js";
import { PAGES } from "../pages.js";
import { navigate, place } from "../router.js";
import { organisation } from "../state/account.js";
import { overlay, useCommands } from "../state/commands.js";
import { nextTheme } from "../state/preferences.js";
import { startupProblem } from "../state/startup.js";
import { Button, Empty } from "../ui/controls.js";
import { Toasts } from "../ui/dialog.js";
import { mayOpen, pageAt } from "./access.js";
import { Header } from "./header.js";
import { Palette } from "./palette.js";
import { signOut } from "./leave.js";
import { Shortcuts } from "./shortcuts.js";

/** The whole studio. */
export function Shell() {
  const known = session.value;
  const { page, parts } = pageAt(place.value.path);
  useEffect(() => {
    if (known === null && page && !page.open && !startupProblem.value) {
      const next = place.peek().path + (place.peek().query.size ? `?${place.peek().query}` : "");
      navigate(next === "/" ? "/sign-in" : `/sign-in?next=${encodeURIComponent(next)}`, { replace: true });
    }
  }, [known, page]);
  useEffect(() => {
    document.title = page ? `${t(page.title)} · Keelbill` : "Keelbill";
  });
  useCommands(
    [
      { id: "palette", title: () => t("palette.open"), icon: "command", keys: "mod+k", hidden: true, run: () => (overlay.value = overlay.peek() ? "" : "palette") },
      { id: "shortcuts", title: () => t("shortcuts.title"), icon: "keyboard", keys: "?", run: () => (overlay.value = "shortcuts") },
      { id: "theme", title: () => t("theme.next"), icon: "palette", keys: "t", run: nextTheme },
      ...(known
        ? [
            ...PAGES.filter((one) => one.nav && mayOpen(one)).map((one) => ({
              id: `go ${one.path}`,
              title: () => t("palette.go", { page: t(one.title) }),
              icon: one.icon,
              keys: one.keys,
              run: () => navigate(one.path),
            })),
            { id: "sign-out", title: () => t("menu.sign_out"), icon: "log-out", run: signOut },
          ]
        : []),
    ],
    [known?.user.id, organisation.value?.role],
  );
  return html`<${Fragment}>
    <a class="skip" href="#main" onClick=${(event) => {
      event.preventDefault();
      document.getElementById("main").focus();
    }}>${t("shell.skip")}</a>
    ${known && !page?.open && html`<${Header} page=${page} />`}
    <main id="main" tabindex="-1" class=${known && !page?.open ? "" : "main-alone"}>
      ${startupProblem.value
        ? html`<${Unreachable} />`
        : known === undefined
          ? html`<${Waiting} />`
          : html`<${Guarded} key=${page?.title} page=${page} parts=${parts} known=${known} />`}
    </main>
    ${overlay.value === "palette" && html`<${Palette} />`} ${overlay.value === "shortcuts" && html`<${Shortcuts} />`}
    <${Toasts} />
  <//>`;
}

function Guarded({ page, parts, known }) {
  const [error, reset] = useErrorBoundary((found) => console.error(found));
  if (error) {
    return html`<${Empty} icon="circle-alert" title=${t("error.page")} actions=${html`<${Button} kind="primary" onClick=${reset}>${t("error.again")}<//>`}>
      ${t("error.page_text")}
    <//>`;
  }
  if (!page || (known && !mayOpen(page))) {
    return html`<${Empty} icon="circle-question-mark" title=${t("error.nowhere")} actions=${html`<a class="button button-primary" href="/">${t("error.home")}</a>`}>
      ${t("error.nowhere_text")}
    <//>`;
  }
  if (!known && !page.open) return html`<${Waiting} />`;
  return page.page ? html`<${page.page} parts=${parts} />` : html`<${Fetched} page=${page} parts=${parts} />`;
}

function Fetched({ page, parts }) {
  const [found, setFound] = useState(page.module || null);
  const [failed, setFailed] = useState(false);
  useEffect(() => {
    let wanted = true;
    if (!found) {
      page.load().then(
        (loaded) => {
          page.module = loaded;
          if (wanted) setFound(loaded);
        },
        () => wanted && setFailed(true),
      );
    }
    return () => {
      wanted = false;
    };
  }, []);
  if (failed) {
    return html`<${Empty} icon="refresh-cw" title=${t("error.old_version")} actions=${html`<${Button} kind="primary" onClick=${() => location.reload()}>${t("error.reload")}<//>`}>
      ${t("error.old_version_text")}
    <//>`;
  }
  return found ? html`<${found.page} parts=${parts} />` : html`<${Waiting} />`;
}

function Waiting() {
  return html`<div class="waiting" role="status"><span class="spinner" aria-hidden="true" /><span class="out-of-sight">${t("shell.loading")}</span></div>`;
}

function Unreachable() {
  return html`<${Empty} icon="circle-alert" title=${t("error.no_server")} actions=${html`<${Button} kind="primary" onClick=${() => location.reload()}>${t("error.again")}<//>`}>
    ${startupProblem.value.message}
  <//>`;
}
