// Runs and their pictures as they come. Knows what a run looks like, not how it is watched.
import { classes, html, useEffect, useState } from "../lib.js";
import { number, span, t, tn } from "../i18n/index.js";
import { options } from "../state/account.js";
import { Button, Empty, IconButton } from "../ui/controls.js";
import { Icon } from "../ui/icon.js";
import { fill, form, randomSeed } from "./form.js";
import { generate } from "./composer.js";
import { focusPrompt } from "./fields.js";
import { ResultActions, ResultView, tell } from "./result.js";
import { begin, cancel, cancelRun, dismiss, ENDED, runs } from "./runs.js";

/** All runs, or an invitation to begin; `quiet` is one sentence instead of it. */
export function Runs({ quiet }) {
  const shown = runs.value;
  if (!shown.length) return quiet ? html`<p class="soft runs-none">${quiet}</p>` : html`<${Beginning} />`;
  return html`<ol class="runs">
    ${shown.map((run) => html`<li key=${run.id}><${Run} run=${run} /></li>`)}
  </ol>`;
}

function Beginning() {
  const ideas = ["idea.1", "idea.2", "idea.3", "idea.4"];
  return html`<${Empty} icon="sparkles" title=${t("playground.begin")}>
    <span class="begin-text">${t("playground.begin_text")}</span>
    <span class="ideas">
      ${ideas.map(
        (idea) =>
          html`<button key=${idea} type="button" class="chip" onClick=${() => {
            fill({ prompt: t(idea) });
            focusPrompt();
          }}>${t(idea)}</button>`,
      )}
    </span>
  <//>`;
}

function Run({ run }) {
  const states = run.jobs.map((job) => job.value.state);
  const going = states.filter((state) => !ENDED.has(state)).length;
  const model = options.value?.models.find((one) => one.name === run.body.model);
  const facts = [run.body.kind && t(`canvas.deed_${run.body.kind}`), model?.title || run.body.model, run.body.aspect_ratio, run.body.style_preset && t(`style.${run.body.style_preset}`)].filter(Boolean);
  return html`<article class="run" aria-label=${run.label}>
    <header class="run-head">
      <div>
        <p class="run-prompt">${run.label}</p>
        <p class="run-facts">${facts.map((fact) => html`<span>${fact}</span>`)}</p>
      </div>
      <div class="run-actions">
        ${going > 0
          ? html`<${Button} small icon="x" onClick=${() => cancelRun(run)}>${t(going > 1 ? "run.cancel_all" : "run.cancel")}<//>`
          : html`<${IconButton} label=${t("run.again")} icon="refresh-cw" onClick=${() => again(run)} />
              <${IconButton} label=${t("run.dismiss")} icon="x" onClick=${() => dismiss(run)} />`}
      </div>
    </header>
    <div class=${`tiles tiles-${run.jobs.length}`}>
      ${run.jobs.map((job) => html`<${Tile} key=${job.value.key} job=${job} run=${run} />`)}
    </div>
  </article>`;
}

function again(run) {
  if (run.body.image_id) {
    const { width, height } = run.jobs[0].peek();
    const bodies = run.jobs.map(() => ({ ...run.body, seed: Number(randomSeed()) }));
    begin(run.operation, bodies, { label: run.label, files: run.files, width, height }).catch(tell);
    return;
  }
  const { prompt, negative_prompt, model, aspect_ratio, style_preset, steps, cfg_scale } = run.body;
  if (!prompt) return;
  fill({
    prompt,
    negative: negative_prompt || "",
    model: model || form.peek().model,
    ratio: aspect_ratio || "1:1",
    style: style_preset || "",
    steps: steps ?? "",
    cfg: cfg_scale ?? "",
    count: run.jobs.length,
    locked: false,
  });
  generate();
}

function Tile({ job, run }) {
  const found = job.value;
  const [large, setLarge] = useState(false);
  const shape = { aspectRatio: `${found.width || 1} / ${found.height || 1}` };
  if (found.deleted) return null;
  if (found.state === "succeeded") {
    const source = found.pictureId ? `/api/gallery/${found.pictureId}/image` : `/api/jobs/${found.id}/image`;
    return html`<figure class="tile tile-done" style=${shape}>
      <button type="button" class="tile-open" aria-label=${t("result.open", { prompt: run.label })} onClick=${() => setLarge(true)}>
        <img src=${source} alt=${run.label} width=${found.width} height=${found.height} decoding="async" />
      </button>
      ${found.filtered && html`<figcaption class="tile-note"><${Icon} name="eye-off" size=${16} />${t("result.filtered")}</figcaption>`}
      <${ResultActions} job=${found} run=${run} />
      ${large && html`<${ResultView} job=${found} run=${run} source=${source} onClose=${() => setLarge(false)} />`}
    </figure>`;
  }
  if (found.state === "failed" || found.state === "cancelled") {
    const failed = found.state === "failed";
    return html`<div class=${classes("tile", "tile-ended")} style=${shape}>
      <${Icon} name=${failed ? "circle-alert" : "circle-x"} size=${24} />
      <strong>${t(failed ? "tile.failed" : "tile.cancelled")}</strong>
      <p>${(failed && found.error) || t("tile.free")}</p>
    </div>`;
  }
  return html`<${Working} found=${found} job=${job} shape=${shape} />`;
}

function Working({ found, job, shape }) {
  const now = useNow(found.state === "running");
  const part = found.total ? found.step / found.total : 0;
  const left = found.step > 0 && found.startedAt ? ((now - found.startedAt) / found.step) * (found.total - found.step) : 0;
  const text = textOf(found);
  return html`<div class="tile tile-working" style=${shape}>
    ${found.preview && html`<img class="tile-preview" src=${found.preview} alt="" />`}
    <div class="tile-progress">
      <p><strong>${text}</strong>${left > 0 && html`<span>${t("tile.left", { time: span(left) })}</span>`}</p>
      <progress class=${classes("progress", !part && "progress-unknown")} max="1" value=${part || undefined} aria-label=${text} />
      <${Button} kind="quiet" small onClick=${() => cancel(job)}>${t("run.cancel")}<//>
    </div>
  </div>`;
}

function textOf(found) {
  if (found.state === "sending") return t("tile.sending");
  if (found.state === "queued") {
    if (!found.position) return t("tile.queued");
    return found.waitMs > 1000 ? t("tile.position_wait", { n: number(found.position), time: span(found.waitMs) }) : t("tile.position", { n: number(found.position) });
  }
  return found.total ? t("tile.step", { step: found.step, total: found.total }) : t("tile.started");
}

function useNow(going) {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    if (!going) return undefined;
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, [going]);
  return Math.max(now, Date.now());
}

/** Say in one sentence what happens now, for screen readers. */
export function spoken() {
  const states = runs.value.flatMap((run) => run.jobs.map((job) => job.value.state));
  const going = states.filter((state) => !ENDED.has(state)).length;
  const done = states.filter((state) => state === "succeeded").length;
  return going ? tn("spoken.going", going) : done ? tn("spoken.done", done) : "";
}
