// Prompts that a person should look at, what is done about each category, and what rules objected to.
import { call } from "../api.js";
import { Part, Table } from "../account/parts.js";
import { html } from "../lib.js";
import { dateTime } from "../i18n/index.js";
import { Button } from "../ui/controls.js";
import { Loaded, act, useProven } from "./loading.js";
import { say } from "./texts.js";

const ACTIONS = ["allow", "review", "block"];

/** The part of the page. */
export function Moderation() {
  const reviews = useProven(() => call("GET /api/moderation/reviews", { query: { everywhere: true } }));
  const policy = useProven(() => call("GET /api/moderation/policy"));
  const trail = useProven(() => call("GET /api/moderation/trail", { query: { limit: 50 } }));
  const decide = (review, decision) => act(() => call("POST /api/moderation/reviews/{review_id}", { params: { review_id: review.id }, query: { everywhere: true }, body: { decision } }), reviews.reload);
  const change = (line, action) => act(() => call("PUT /api/moderation/policy", { body: { actions: { [line.category]: action } } }), policy.reload);
  return html`
    <${Part} title=${say("moderation.queue")} text=${say("moderation.queue_text")}>
      <${Loaded} state=${reviews}>
        ${(found) => (found.length ? html`<ul class="reviews">${found.map((one) => html`<${Review} key=${one.id} review=${one} decide=${decide} />`)}</ul>` : html`<p class="soft">${say("moderation.empty")}</p>`)}
      <//>
    <//>
    <${Part} title=${say("moderation.policy")} text=${say("moderation.policy_text")}>
      <${Loaded} state=${policy}>
        ${(lines) => html`<${Table} label=${say("moderation.policy")} columns=${[[say("moderation.category")], [say("moderation.action")]]}>
          ${lines.map((line) => html`<tr key=${line.category}><th scope="row">${line.label}</th><td>${
            line.is_locked
              ? html`${say(`action.${line.action}`)} <span class="soft">(${say("moderation.locked")})</span>`
              : html`<select class="select select-small" aria-label=${line.label} value=${line.action} onChange=${(event) => change(line, event.target.value)}>${ACTIONS.map((action) => html`<option key=${action} value=${action}>${say(`action.${action}`)}</option>`)}</select>`
          }</td></tr>`)}
        <//>`}
      <//>
    <//>
    <${Part} title=${say("moderation.trail")} text=${say("moderation.trail_text")}>
      <${Loaded} state=${trail}>
        ${(lines) =>
          lines.length
            ? html`<${Table} label=${say("moderation.trail")} columns=${[[say("moderation.when")], [say("moderation.category")], [say("moderation.severity")], [say("moderation.action")], [say("queue.account")]]}>
                ${lines.map((line) => html`<tr key=${line.id}><td>${dateTime(line.created_ms)}</td><th scope="row">${line.category}</th><td>${line.severity}</td><td>${line.action}</td><td><code title=${line.org_id}>…${line.org_id.slice(-8)}</code></td></tr>`)}
              <//>`
            : html`<p class="soft">${say("moderation.no_trail")}</p>`}
      <//>
    <//>
  `;
}

function Review({ review, decide }) {
  return html`<li class="review">
    <p class="review-text">${review.text || html`<em>${say("moderation.forgotten")}</em>`}</p>
    <p class="soft">${review.category} · ${review.severity} · ${dateTime(review.created_ms)}</p>
    <div class="row"><${Button} small icon="check" onClick=${() => decide(review, "approved")}>${say("moderation.approve")}<//><${Button} small kind="danger" icon="x" onClick=${() => decide(review, "rejected")}>${say("moderation.reject")}<//></div>
  </li>`;
}
