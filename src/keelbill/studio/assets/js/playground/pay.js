// The button that asks for pictures, with its price, and what the server had against the last try. Knows no field.
import { html } from "../lib.js";
import { number, t, tn } from "../i18n/index.js";
import { sentence } from "../entry/frame.js";
import { credits } from "../state/account.js";
import { keyNames } from "../state/commands.js";
import { Button, Note } from "../ui/controls.js";

/** Name the kind of a refusal: "credits", "refused" or "other". */
export function kindOf(error) {
  if (error.status === 402) return "credits";
  return error.name === "content_moderation" ? "refused" : "other";
}

/**
 * The end of a form: what went wrong, what is missing, and the button with the price.
 * `each` is the price of one picture or null, `problem` is {kind, error} or null.
 */
export function Pay({ each, count, busy, problem, disabled, label }) {
  const whole = each === null ? null : each * count;
  const has = credits.value;
  const tooFew = has && !has.is_unlimited && whole !== null && whole > Number(has.available);
  return html`<${Problem} problem=${problem} />
    ${tooFew && problem?.kind !== "credits" && html`<${Note} kind="warn" actions=${html`<a class="button button-plain button-small" href="/billing">${t("credits.get")}</a>`}>
      ${t("credits.too_few", { needed: number(whole), available: number(has.available) })}
    <//>`}
    <${Button} kind="primary" type="submit" class="generate" icon="sparkles" busy=${busy} disabled=${disabled} aria-keyshortcuts="Control+Enter">
      ${label || t("playground.generate")}<span class="price">${whole === null ? "" : tn("credits.amount", whole)}</span>
    <//>
    <p class="generate-keys" aria-hidden="true">${keyNames("mod+enter")[0].map((key) => html`<kbd>${key}</kbd>`)}</p>`;
}

function Problem({ problem }) {
  if (!problem || problem.kind === "empty") return null;
  if (problem.kind === "credits") {
    return html`<${Note} kind="warn" actions=${html`<a class="button button-primary button-small" href="/billing">${t("credits.get")}</a>`}>
      <strong>${t("credits.out")}</strong> ${sentence(problem.error)}
    <//>`;
  }
  return html`<${Note} kind="bad">${problem.kind === "refused" && html`<strong>${t("playground.refused")} </strong>`}${sentence(problem.error)}<//>`;
}
