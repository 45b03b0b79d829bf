// What runs and what waits, of every account; paused, reordered, cancelled. Prompts are not shown.
import { call } from "../api.js";
import { Table } from "../account/parts.js";
import { html } from "../lib.js";
import { number, span } from "../i18n/index.js";
import { Button, Empty, Note } from "../ui/controls.js";
import { Loaded, act, useProven } from "./loading.js";
import { say } from "./texts.js";

const EVERY_MS = 2000;

/** The part of the page. */
export function Queue() {
  const state = useProven(() => call("GET /api/admin/queue"), { everyMs: EVERY_MS });
  const { reload } = state;
  const pause = (is_paused) => act(() => call("PUT /api/admin/queue/pause", { body: { is_paused } }), reload);
  return html`<${Loaded} state=${state}>
    ${(queue) => html`
      ${queue.is_paused && html`<${Note} kind="warn">${say("queue.paused")}<//>`}
      <div class="row">
        ${queue.is_paused ? html`<${Button} kind="primary" onClick=${() => pause(false)}>${say("queue.resume")}<//>` : html`<${Button} onClick=${() => pause(true)}>${say("queue.pause")}<//>`}
      </div>
      <dl class="figures">
        <div><dt>${say("queue.running")}</dt><dd>${number(queue.running)}</dd></div>
        <div><dt>${say("queue.waiting")}</dt><dd>${number(queue.waiting)}</dd></div>
        <div><dt>${say("queue.work")}</dt><dd>${queue.wait_ms ? span(queue.wait_ms) : "–"}</dd></div>
      </dl>
      ${queue.jobs.length ? html`<${Jobs} jobs=${queue.jobs} reload=${reload} />` : html`<${Empty} icon="layers" title=${say("queue.empty")}>${say("queue.empty_text")}<//>`}
    `}
  <//>`;
}

function Jobs({ jobs, reload }) {
  const move = (job, to) => act(() => call("POST /api/admin/queue/{job_id}/move", { params: { job_id: job.id }, body: { to } }), reload);
  const cancel = (job) => act(() => call("DELETE /api/admin/queue/{job_id}", { params: { job_id: job.id } }), reload, say("queue.cancelled"));
  const columns = [[say("queue.job")], [say("queue.account")], [say("queue.kind")], [say("queue.age"), true], [say("queue.cost"), true], [say("models.state")], [say("actions")]];
  return html`<${Table} label=${say("nav.queue")} columns=${columns}>
    ${jobs.map(
      (job) => html`<tr key=${job.id}>
        <th scope="row"><code title=${job.id}>…${job.id.slice(-8)}</code></th><td><code title=${job.org_id}>…${job.org_id.slice(-8)}</code></td>
        <td>${job.kind}${job.width > 0 && html` <span class="soft">${job.width} × ${job.height}</span>`}<br /><span class="soft">${job.model}</span></td>
        <td class="figure">${span(job.age_ms)}</td><td class="figure">${span(job.cost_ms)}</td>
        <td><span class=${`state ${job.is_running ? "state-active" : ""}`} title=${job.worker}>${say(job.is_running ? "queue.running" : "queue.waiting")}</span></td>
        <td class="row-actions">
          ${!job.is_running && html`<${Button} small onClick=${() => move(job, "front")}>${say("queue.front")}<//><${Button} small onClick=${() => move(job, "back")}>${say("queue.back")}<//>`}
          <${Button} small kind="danger" onClick=${() => cancel(job)}>${say("queue.cancel")}<//>
        </td>
      </tr>`,
    )}
  <//>`;
}
