// Whether all is well, what workers do, what is switched on. Knows no account.
import { call } from "../api.js";
import { Part, Table } from "../account/parts.js";
import { html } from "../lib.js";
import { dateTime, number } from "../i18n/index.js";
import { bytes } from "../i18n/pairs.js";
import { Note } from "../ui/controls.js";
import { Loaded, useProven } from "./loading.js";
import { say } from "./texts.js";

const EVERY_MS = 5000;

/** The part of the page. */
export function Overview() {
  const state = useProven(() => Promise.all([call("GET /api/admin/health"), call("GET /api/admin/workers"), call("GET /api/admin/queue")]), { everyMs: EVERY_MS });
  return html`<${Loaded} state=${state}>
    ${([health, workers, queue]) => html`
      <${Health} health=${health} />
      <dl class="figures">
        <div><dt>${say("queue.running")}</dt><dd>${number(queue.running)}</dd></div>
        <div><dt>${say("queue.waiting")}</dt><dd>${number(queue.waiting)}</dd></div>
        <div><dt>${say("overview.workers")}</dt><dd>${number(workers.filter((one) => one.is_ready || one.running.length).length)}</dd></div>
      </dl>
      <${Workers} workers=${workers} />
      <${Part} title=${say("overview.settings")} text=${say("overview.settings_text")}>
        <dl class="plain-facts plain-facts-wide">
          ${Object.entries(health.settings).map(([name, value]) => html`<div key=${name}><dt>${say(`set.${name}`)}</dt><dd>${typeof value === "boolean" ? say(value ? "overview.on" : "overview.off") : value}</dd></div>`)}
        </dl>
      <//>
      <p><a href="/admin/welcome">${say("wizard.open")}</a></p>
    `}
  <//>`;
}

/** The state of the server with what to do about it, and its facts. */
export function Health({ health }) {
  const kind = { ok: "good", degraded: "warn", failing: "bad" }[health.status];
  const { books } = health;
  const facts = [
    ["overview.version", health.version],
    ["overview.up", dateTime(health.started_ms)],
    ["overview.database", health.database],
    ["overview.disk", say("overview.disk_of", { free: bytes(health.disk_free_bytes), total: bytes(health.disk_total_bytes) })],
    ["overview.books", books ? say(books.mismatches ? "overview.books_bad" : "overview.books_ok", { when: dateTime(books.checked_ms), n: books.mismatches }) : say("overview.never")],
  ];
  return html`<${Note} kind=${kind}>
      <strong>${say(`state.${health.status}`)}</strong>
      ${[...health.failing, ...health.degraded].map((part) => html`<p key=${part}>${say(`part.${part}`)}</p>`)}
    <//>
    <dl class="plain-facts plain-facts-wide">${facts.map(([label, value]) => html`<div key=${label}><dt>${say(label)}</dt><dd>${value}</dd></div>`)}</dl>`;
}

function Workers({ workers }) {
  const columns = ["name", "device", "models", "load", "memory", "accelerator"].map((name) => [say(`worker.${name}`)]);
  return html`<${Part} title=${say("overview.workers")}>
    ${workers.length
      ? html`<${Table} label=${say("overview.workers")} columns=${[...columns, [say("models.state")]]}>
          ${workers.map((one) => {
            const busy = one.running.length;
            const all = busy + one.free_slots;
            return html`<tr key=${one.name}>
              <th scope="row">${one.name}</th><td>${one.device}</td><td>${one.models.join(", ") || "–"}</td>
              <td><meter min="0" max=${Math.max(all, 1)} value=${busy} aria-label=${say("worker.load")} /> <span class="soft">${say("worker.load_text", { busy, all })}</span></td>
              <td>${one.memory_bytes ? bytes(one.memory_bytes) : "–"}</td><td>${one.accelerator_bytes ? bytes(one.accelerator_bytes) : "–"}</td>
              <td><span class=${`state ${one.is_ready ? "state-active" : busy ? "" : "state-replaced"}`}>${say(busy ? "worker.busy" : one.is_ready ? "worker.ready" : "worker.away")}</span></td>
            </tr>`;
          })}
        <//>`
      : html`<p class="soft">${say("worker.none")}</p>`}
  <//>`;
}
