// The first steps of whoever took over a new server: is all well, which model, who may come in, the first picture.
import { call } from "../api.js";
import { html, useEffect, useRef, useState } from "../lib.js";
import { Button } from "../ui/controls.js";
import { Icon } from "../ui/icon.js";
import { Loaded, useProven } from "./loading.js";
import { Models } from "./models.js";
import { Health } from "./overview.js";
import { say } from "./texts.js";

const STEPS = ["check", "model", "people", "first"];

/** The page at /admin/welcome. */
export function Wizard() {
  const [at, setAt] = useState(0);
  const head = useRef(null);
  const health = useProven(() => call("GET /api/admin/health"));
  useEffect(() => head.current?.focus(), [at]);
  const step = STEPS[at];
  const isLast = at === STEPS.length - 1;
  return html`<div class="wizard">
    <header><h1>${say("wizard.title")}</h1><p class="soft">${say("wizard.lead")}</p></header>
    <ol class="wizard-steps" aria-hidden="true">${STEPS.map((name, index) => html`<li key=${name} class=${index < at ? "done" : index === at ? "now" : ""}>${index < at ? html`<${Icon} name="check" size=${14} />` : index + 1}</li>`)}</ol>
    <section class="wizard-card">
      <p class="soft">${say("wizard.step", { n: at + 1, all: STEPS.length })}</p>
      <h2 tabindex="-1" ref=${head}>${say(`wizard.${step}`)}</h2>
      ${step === "check" && html`<p>${say("wizard.check_text")}</p><${Loaded} state=${health}>${(found) => html`<${Health} health=${found} />`}<//>`}
      ${step === "model" && html`<p>${say("wizard.model_text")}</p><${Models} />`}
      ${step === "people" && html`<${Loaded} state=${health}>${({ settings }) => html`<${People} settings=${settings} />`}<//>`}
      ${step === "first" && html`<p>${say("wizard.first_text")}</p><div class="row"><a class="button button-primary" href="/"><${Icon} name="wand-sparkles" />${say("wizard.to_studio")}</a><a class="button button-plain" href="/help"><${Icon} name="terminal" />${say("wizard.to_code")}</a></div>`}
    </section>
    <footer class="row row-apart">
      <${Button} icon="arrow-left" disabled=${at === 0} onClick=${() => setAt(at - 1)}>${say("wizard.back")}<//>
      ${isLast ? html`<a class="button button-plain" href="/admin">${say("title")}</a>` : html`<${Button} kind="primary" onClick=${() => setAt(at + 1)}>${say("wizard.next")}<//>`}
    </footer>
  </div>`;
}

function People({ settings }) {
  return html`<p>${say(settings.open_registration ? "wizard.people_open" : "wizard.people_closed")}</p>
    ${!settings.mail && html`<p>${say("wizard.people_mail")}</p>`}
    <div><a class="button button-plain" href="/admin/accounts"><${Icon} name="users" />${say("wizard.to_accounts")}</a></div>`;
}
