// What can be done with a finished picture, and its large view. Knows one picture.
import { ApiError, call } from "../api.js";
import { html, useState } from "../lib.js";
import { number, t } from "../i18n/index.js";
import { options } from "../state/account.js";
import { toast } from "../state/toasts.js";
import { Button, CopyButton, IconButton, Segments } from "../ui/controls.js";
import { Dialog } from "../ui/dialog.js";
import { Icon } from "../ui/icon.js";
import { sentence } from "../entry/frame.js";
import { editPicture } from "../canvas/source.js";
import { place } from "../router.js";
import { codeFor, formsFor, missingFrom } from "./code.js";
import { fill, randomSeed } from "./form.js";
import { begin } from "./runs.js";

const MAX_ENLARGED_PIXELS = 1048576;

/** Say what went wrong with an action. */
export function tell(error) {
  if (!(error instanceof ApiError)) throw error;
  toast(error.status === 402 ? `${t("credits.out")} ${sentence(error)}` : sentence(error), { kind: "bad" });
}

/** Ask for four variations of a picture: the same wish with other seeds. */
export function vary(body, shown, operation = "POST /api/jobs") {
  const bodies = Array.from({ length: 4 }, () => ({ ...body, seed: Number(randomSeed()), previews: true }));
  return begin(operation, bodies, shown).catch(tell);
}

/** Ask for a picture four times as wide and high. */
export function enlarge(picture, label) {
  return begin("POST /api/enlargements", [{ image_id: picture.id }], {
    label: t("run.enlarged", { prompt: label }),
    width: 4 * picture.width,
    height: 4 * picture.height,
  }).catch(tell);
}

/** Whether a picture is small enough to be enlarged. */
export function canEnlarge({ width, height }) {
  return width * height <= MAX_ENLARGED_PIXELS && Math.max(width, height) <= 1536;
}

/** Start the next picture from this one; on the canvas, lay it there. */
export function useAsInput(picture) {
  if (place.peek().path === "/canvas") {
    editPicture(picture);
    return;
  }
  fill({ input: { id: picture.id, width: picture.width, height: picture.height } });
  toast(t("result.is_input"), { kind: "good" });
}

/** The body that makes a run's picture again. */
function bodyOf(run, job) {
  return { ...run.body, seed: String(job.seed) };
}

/** The buttons over a finished picture. */
export function ResultActions({ job, run }) {
  const [code, setCode] = useState(false);
  const picture = { id: job.pictureId, width: job.width, height: job.height };
  const isPainted = run.operation !== "POST /api/enlargements";
  const source = job.pictureId ? `/api/gallery/${job.pictureId}/image` : `/api/jobs/${job.id}/image`;
  return html`<div class="tile-actions" role="group" aria-label=${t("result.actions")}>
    ${isPainted && html`<${IconButton} label=${t("result.vary")} icon="shuffle" onClick=${() => vary(run.body, { ...picture, label: run.label }, run.operation)} />`}
    ${canEnlarge(picture) &&
    html`<${IconButton} label=${t("result.enlarge", { price: number(options.value?.enlarge_price || 0) })} icon="expand" disabled=${!job.pictureId} onClick=${() => enlarge(picture, run.label)} />`}
    <${IconButton} label=${t("result.use")} icon="image-up" disabled=${!job.pictureId} onClick=${() => useAsInput(picture)} />
    ${place.value.path !== "/canvas" && html`<${IconButton} label=${t("result.edit")} icon="brush" disabled=${!job.pictureId} onClick=${() => editPicture(picture)} />`}
    ${isPainted && html`<${IconButton} label=${t("result.code")} icon="code" onClick=${() => setCode(true)} />`}
    <a class="icon-button" href=${source} download aria-label=${t("result.download")} title=${t("result.download")}><${Icon} name="download" /></a>
    ${job.pictureId && html`<a class="icon-button" href=${`/comfy/?picture=${job.pictureId}`} aria-label=${t("result.graph")} title=${t("result.graph")}><${Icon} name="workflow" /></a>`}
    ${job.pictureId && html`<a class="icon-button" href=${`/gallery/${job.pictureId}`} aria-label=${t("result.details")} title=${t("result.details")}><${Icon} name="info" /></a>`}
    ${code && html`<${CodeDialog} body=${bodyOf(run, job)} files=${run.files} onClose=${() => setCode(false)} />`}
  </div>`;
}

/** The code that makes a picture again. */
export function CodeDialog({ body, files = [], onClose }) {
  const [kind, setKind] = useState("curl");
  const text = codeFor(kind, body, location.origin);
  const missing = missingFrom(kind, body);
  return html`<${Dialog} wide title=${t("code.title")} onClose=${onClose}>
    <p class="soft">${t(kind === "workflow" ? "code.text_workflow" : "code.text")}</p>
    <${Segments} label=${t("code.form")} name="code" value=${kind} choices=${formsFor(body).map((name) => [name, t(`code.${name}`)])} onValue=${setKind} />
    <div class="code-box">
      <pre tabindex="0"><code>${text}</code></pre>
      <${CopyButton} text=${text} />
    </div>
    ${files.length > 0 && html`<p class="hint">${t("code.files")} ${files.map(({ name, href }) => html`<a key=${name} href=${href} download=${name}>${name}</a> `)}</p>`}
    ${missing.length > 0 && html`<p class="hint">${t("code.missing", { what: missing.map((name) => t(`code.missing_${name}`)).join(", ") })}</p>`}
    <p class="hint">${t("code.paste")}</p>
  <//>`;
}

/** One picture, as large as the window. */
export function ResultView({ job, run, source, onClose }) {
  return html`<${Dialog} bare title=${run.label} onClose=${onClose} class="viewer">
    <img src=${source} alt=${run.label} />
    <div class="viewer-end">
      <p>${run.label}<span>${job.width} × ${job.height} · ${t("playground.seed")} ${job.seed}</span></p>
      <${Button} kind="plain" icon="x" onClick=${onClose}>${t("dialog.close")}<//>
    </div>
  <//>`;
}

/** Mark a picture as a favourite, or no longer. */
export function mark(id, favourite) {
  return call("PATCH /api/gallery/{picture_id}", { params: { picture_id: id }, body: { favourite } });
}
