// Troubleshooting as live checks: each says what is wrong and what helps. Changes nothing.
import { call } from "../api.js";
import { html, useEffect, useState } from "../lib.js";
import { number } from "../i18n/index.js";
import { Button, Note } from "../ui/controls.js";
import { Icon } from "../ui/icon.js";
import { CHECKS } from "./probes.js";
import { say } from "./texts.js";

/** The part of the page. */
export function Checks() {
  const [found, setFound] = useState({});
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    let wanted = true;
    setFound({});
    for (const [name, probe] of Object.entries(CHECKS)) {
      probe(call).then(
        (result) => wanted && setFound((before) => ({ ...before, [name]: result })),
        (error) => wanted && setFound((before) => ({ ...before, [name]: { state: "warn", text: error.message } })),
      );
    }
    return () => {
      wanted = false;
    };
  }, [turn]);
  const results = Object.values(found);
  const isDone = results.length === Object.keys(CHECKS).length;
  const bad = results.filter((result) => result.state !== "good").length;
  const summary = bad === 0 ? say("checks.good") : say(bad === 1 ? "checks.bad.one" : "checks.bad.many", { n: number(bad) });
  return html`
    <div class="row"><${Button} kind="primary" icon="refresh-cw" busy=${!isDone} onClick=${() => setTurn(turn + 1)}>${say("checks.run")}<//></div>
    ${isDone ? html`<${Note} kind=${bad ? "warn" : "good"}>${summary}<//>` : html`<${Note}>${say("checks.running")}<//>`}
    <ul class="checklist">
      ${Object.keys(CHECKS).map((name) => {
        const result = found[name];
        const icon = { good: "check", warn: "triangle-alert", bad: "circle-alert" }[result?.state];
        return html`<li key=${name} class=${`check-${result?.state || "waiting"}`} data-check=${name} data-state=${result?.state}>
          ${icon ? html`<${Icon} name=${icon} />` : html`<span class="spinner" aria-hidden="true" />`}
          <div><strong>${say(`check.${name}`)}</strong>${result && html`<p>${result.text}</p>`}${result?.to && html`<a href=${result.to}>${say(`to.${result.toName}`)}</a>`}</div>
        </li>`;
      })}
    </ul>
  `;
}
