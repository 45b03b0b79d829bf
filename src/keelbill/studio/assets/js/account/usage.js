// The page of what was used: a chart with the same numbers as a table. Knows totals only.
import { call } from "../api.js";
import { html, useState } from "../lib.js";
import { number } from "../i18n/index.js";
import { toast } from "../state/toasts.js";
import { Button, Empty, Field, Segments } from "../ui/controls.js";
import { Latency, RightNow } from "./latency.js";
import { AccountPage, Pending, Table, save, useLoaded } from "./parts.js";
import { say } from "./texts.js";

const GROUPS = ["day", "model", "key", "outcome"];
const DAY_MS = 86_400_000;
const HEIGHT = 180;

export function page() {
  const [by, setBy] = useState("day");
  const [days, setDays] = useState("30");
  const from = new Date(Date.now() - (Number(days) - 1) * DAY_MS).toISOString().slice(0, 10);
  const query = { by, from };
  const { data, error, reload } = useLoaded(() => named(by, query), [by, days]);
  const exported = async () => {
    try {
      save(`usage-by-${by}.csv`, await call("GET /api/usage.csv", { query, as: "blob" }));
    } catch (problem) {
      toast(problem.message, { kind: "bad" });
    }
  };
  return html`<${AccountPage} title=${say("usage.title")} lead=${say("usage.lead")} actions=${html`<${Button} icon="download" onClick=${exported}>${say("csv")}<//>`}>
    <${RightNow} />
    <div class="usage-bar">
      <${Segments} label=${say("usage.by")} name="usage-by" value=${by} choices=${GROUPS.map((name) => [name, say(`usage.${name}`)])} onValue=${setBy} />
      <${Field} label=${say("usage.span")}>${(given) => html`<select ...${given} class="select" value=${days} onChange=${(event) => setDays(event.target.value)}>
        ${["7", "30", "90", "365"].map((n) => html`<option key=${n} value=${n}>${say("usage.days", { n })}</option>`)}
      </select>`}<//>
    </div>
    ${error || !data || data.by !== by
      ? html`<${Pending} error=${error} reload=${reload} />`
      : data.lines.length
        ? html`<${Chart} lines=${data.lines} by=${by} /><${Lines} lines=${data.lines} by=${by} />`
        : html`<${Empty} icon="activity" title=${say("usage.none")} actions=${html`<a class="button button-primary" href="/">${say("usage.make")}</a>`}>${say("usage.none_text")}<//>`}
    <${Latency} days=${days} />
  <//>`;
}

/** Load totals; keys are shown by their names where the names may be read. */
async function named(by, query) {
  const report = await call("GET /api/usage", { query });
  if (by !== "key") return report;
  const keys = await call("GET /api/keys").catch(() => []);
  const names = new Map(keys.map((key) => [key.id, `${key.name || say("keys.unnamed")} (${key.stub})`]));
  return { ...report, lines: report.lines.map((line) => ({ ...line, group: names.get(line.group) || line.group })) };
}

function Chart({ lines, by }) {
  const most = Math.max(1, ...lines.map((line) => line.requests));
  const slot = Math.max(14, Math.min(72, 960 / lines.length));
  const width = slot * lines.length;
  return html`<figure class="chart">
    <figcaption>${say("usage.chart", { by: say(`usage.${by}`), n: number(most) })}</figcaption>
    <svg viewBox=${`0 0 ${Math.max(width, 960)} ${HEIGHT}`} role="img" aria-label=${say("usage.chart", { by: say(`usage.${by}`), n: number(most) })}>
      ${[0.25, 0.5, 0.75, 1].map((part) => html`<line key=${part} class="chart-line" x1="0" x2=${Math.max(width, 960)} y1=${HEIGHT * (1 - part) + 1} y2=${HEIGHT * (1 - part) + 1} />`)}
      ${lines.map((line, index) => {
        const height = ((HEIGHT - 8) * line.requests) / most;
        const lost = line.requests ? (height * line.failed) / line.requests : 0;
        return html`<g key=${line.group}><title>${`${line.group}: ${number(line.requests)}`}</title>
          <rect class="chart-bar" x=${index * slot + 2} y=${HEIGHT - height} width=${slot - 4} height=${height} rx="3" />
          <rect class="chart-lost" x=${index * slot + 2} y=${HEIGHT - lost} width=${slot - 4} height=${lost} /></g>`;
      })}
    </svg>
  </figure>`;
}

function Lines({ lines, by }) {
  const names = ["requests", "pictures", "failed", "filtered", "credits", "compute_seconds"];
  return html`<${Table} label=${say("usage.title")} columns=${[[say(`usage.${by}`)], ...names.map((name) => [say(`usage.${name}`), true])]}>
    ${lines.map((line) => html`<tr key=${line.group}><th scope="row">${line.group || say("usage.unknown")}</th>${names.map((name) => html`<td key=${name} class="figure">${number(line[name])}</td>`)}</tr>`)}
  <//>`;
}
