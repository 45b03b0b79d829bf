// The help: which part is shown, and the way to the others. Knows no part's inside.
import { html } from "../lib.js";
import { t } from "../i18n/index.js";
import { Empty } from "../ui/controls.js";
import { Icon } from "../ui/icon.js";
import { Checks } from "./checks.js";
import { Reference } from "./reference.js";
import { Start } from "./start.js";
import { say } from "./texts.js";

const PARTS = [
  ["start", "zap", Start],
  ["reference", "book-open", Reference],
  ["checks", "activity", Checks],
];

/** The page at /help and /help/:part. */
export function page({ parts }) {
  const name = parts.part || "start";
  const Shown = PARTS.find(([part]) => part === name)?.[2];
  return html`<div class="admin-page">
    <nav class="side-nav" aria-label=${say("nav")}>
      ${PARTS.map(([part, icon]) => html`<a key=${part} href=${part === "start" ? "/help" : `/help/${part}`} aria-current=${part === name ? "page" : undefined}><${Icon} name=${icon} /><span>${say(`nav.${part}`)}</span></a>`)}
      <a href="/docs" target="_self"><${Icon} name="external-link" /><span>${say("nav.docs")}</span></a>
    </nav>
    <div class="admin-main">
      ${Shown ? html`<div><h1>${say(`nav.${name}`)}</h1><p class="soft">${say(`${name}.lead`)}</p></div><${Shown} />` : html`<${Empty} icon="circle-question-mark" title=${t("error.nowhere")}>${t("error.nowhere_text")}<//>`}
    </div>
  </div>`;
}
