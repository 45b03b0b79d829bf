// The administrators' pages: which part is shown, and the way to the others. Knows no part's inside.
import { html } from "../lib.js";
import { ProofDialog } from "../account/proof.js";
import { Empty } from "../ui/controls.js";
import { Icon } from "../ui/icon.js";
import { t } from "../i18n/index.js";
import { Accounts } from "./accounts.js";
import { Credits } from "./credits.js";
import { Log } from "./log.js";
import { Models } from "./models.js";
import { Moderation } from "./moderation.js";
import { Overview } from "./overview.js";
import { Queue } from "./queue.js";
import { say } from "./texts.js";
import { Wizard } from "./wizard.js";

const PARTS = [
  ["overview", "gauge", Overview],
  ["queue", "layers", Queue],
  ["models", "zap", Models],
  ["accounts", "users", Accounts],
  ["credits", "ticket", Credits],
  ["moderation", "shield-check", Moderation],
  ["log", "notebook-pen", Log],
];

/** The page at /admin and /admin/:part. */
export function page({ parts }) {
  const name = parts.part || "overview";
  if (name === "welcome") return html`<div class="admin-page admin-alone"><${Wizard} /><${ProofDialog} /></div>`;
  const Shown = PARTS.find(([part]) => part === name)?.[2];
  return html`<div class="admin-page">
    <nav class="side-nav" aria-label=${say("nav")}>
      ${PARTS.map(([part, icon]) => html`<a key=${part} href=${part === "overview" ? "/admin" : `/admin/${part}`} aria-current=${part === name ? "page" : undefined}><${Icon} name=${icon} /><span>${say(`nav.${part}`)}</span></a>`)}
    </nav>
    <div class="admin-main">
      ${Shown ? html`<h1>${say(`nav.${name}`)}</h1><${Shown} />` : html`<${Empty} icon="circle-question-mark" title=${t("error.nowhere")}>${t("error.nowhere_text")}<//>`}
    </div>
    <${ProofDialog} />
  </div>`;
}
