// How long pictures took, day by day, as a chart and as a table; and how much may still be asked for now.
import { call } from "../api.js";
import { html, useEffect } from "../lib.js";
import { number } from "../i18n/index.js";
import { Part, Pending, Table, useLoaded } from "./parts.js";
import { say } from "./texts.js";

const EVERY_MS = 5000;
const WIDTH = 960;
const HEIGHT = 160;

/** What the account may still do in this moment; asked again every few seconds while somebody looks. */
export function RightNow() {
  const { data, reload } = useLoaded(() => call("GET /api/usage/limits"));
  useEffect(() => {
    const timer = setInterval(() => document.visibilityState === "visible" && reload(), EVERY_MS);
    return () => clearInterval(timer);
  }, []);
  if (!data) return null;
  const { rate_remaining: left, rate_limit: limit, rate_window_s, jobs, max_jobs } = data;
  return html`<dl class="meters" aria-label=${say("usage.now")}>
    <${Meter} label=${say("usage.rate")} value=${left} most=${limit} text=${say("usage.rate_text", { limit: number(limit), window: number(rate_window_s) })} />
    <${Meter} label=${say("usage.jobs")} value=${jobs} most=${max_jobs} text=${say("usage.jobs_text", { n: number(max_jobs) })} />
  </dl>`;
}

function Meter({ label, value, most, text }) {
  return html`<div><dt>${label}</dt><dd><strong>${number(value)}</strong> <span class="soft">${text}</span><meter min="0" max=${most} value=${value} aria-label=${label} /></dd></div>`;
}

/** The part of the page about waiting and painting. */
export function Latency({ days }) {
  const { data, error, reload } = useLoaded(() => call("GET /api/usage/latency", { query: { days } }), [days]);
  const seconds = (ms) => say("seconds", { n: number(ms / 1000, 1) });
  const names = ["wait_p50_ms", "total_p50_ms", "total_p95_ms", "total_p99_ms"];
  const columns = [[say("usage.day")], [say("usage.pictures"), true], ...["waited", "p50", "p95", "p99"].map((name) => [say(`usage.${name}`), true])];
  return html`<${Part} title=${say("usage.latency")} text=${say("usage.latency_text")}>
    ${error || !data
      ? html`<${Pending} error=${error} reload=${reload} />`
      : data.length
        ? html`${data.length > 1 && html`<${Lines} days=${data} />`}<${Table} label=${say("usage.latency")} columns=${columns}>
            ${data.toReversed().map((one) => html`<tr key=${one.day}><th scope="row">${one.day}</th><td class="figure">${number(one.jobs)}</td>${names.map((name) => html`<td key=${name} class="figure">${seconds(one[name])}</td>`)}</tr>`)}
          <//>`
        : html`<p class="soft">${say("usage.no_latency")}</p>`}
  <//>`;
}

function Lines({ days }) {
  const most = Math.max(1, ...days.map((one) => one.total_p95_ms));
  const x = (index) => ((index * (WIDTH - 16)) / (days.length - 1) + 8).toFixed(1);
  const y = (ms) => (HEIGHT - 6 - ((HEIGHT - 14) * ms) / most).toFixed(1);
  const path = (name) => days.map((one, index) => `${x(index)},${y(one[name])}`).join(" ");
  const label = say("usage.latency_chart", { n: number(most / 1000, 1) });
  return html`<figure class="chart">
    <figcaption>${label}</figcaption>
    <svg viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label=${label}>
      ${[0.25, 0.5, 0.75, 1].map((part) => html`<line key=${part} class="chart-line" x1="0" x2=${WIDTH} y1=${y(most * part)} y2=${y(most * part)} />`)}
      <polyline class="chart-curve chart-curve-high" points=${path("total_p95_ms")} />
      <polyline class="chart-curve" points=${path("total_p50_ms")} />
    </svg>
  </figure>`;
}
