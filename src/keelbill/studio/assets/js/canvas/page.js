// The canvas: a picture to start from, a part of it painted over, a margin dragged out. Knows how its parts lie.
import { ApiError } from "../api.js";
import { html, signal, useEffect, useRef, useState } from "../lib.js";
import { number, t } from "../i18n/index.js";
import { Count, focusPrompt, Models, More, Prompt, Seed, Styles } from "../playground/fields.js";
import { form } from "../playground/form.js";
import { kindOf, Pay } from "../playground/pay.js";
import { resume } from "../playground/runs.js";
import { Runs, spoken } from "../playground/stage.js";
import { bringPicture, uploadFile } from "../sources/bring.js";
import { SourceDialog } from "../sources/dialog.js";
import { useDropped } from "../sources/dropped.js";
import { loadRecent } from "../state/account.js";
import { useCommands } from "../state/commands.js";
import { toast } from "../state/toasts.js";
import { Button, Empty, Note, Range, Segments } from "../ui/controls.js";
import { ask, Missing, priceOfDeed } from "./request.js";
import { editPicture, source } from "./source.js";
import * as state from "./state.js";
import { Surface } from "./surface.js";
import { Toolbar, ToolSettings, TOOLS } from "./toolbar.js";

const problem = signal(null);
const sending = signal(false);

async function choose() {
  const picture = await bringPicture();
  if (picture) editPicture(picture);
}

async function take(file) {
  const picture = await uploadFile(file);
  if (picture) editPicture(picture);
}

async function generate() {
  if (sending.peek() || !source.peek()) return;
  problem.value = null;
  sending.value = true;
  try {
    await ask();
    document.querySelector(".canvas-results")?.scrollIntoView({ block: "nearest" });
  } catch (error) {
    if (error instanceof Missing) missing(error.message);
    else if (error instanceof ApiError) problem.value = { kind: kindOf(error), error };
    else throw error;
  } finally {
    sending.value = false;
  }
}

function missing(what) {
  if (what === "unpainted") toast(t("canvas.unpainted"), { kind: "bad" });
  else {
    problem.value = { kind: "empty" };
    focusPrompt();
  }
}

/** The page at /canvas. */
function CanvasPage() {
  const board = useRef(null);
  const [scale, setScale] = useState(1);
  const zoom = (factor) => (factor ? board.current?.zoom(factor) : board.current?.fit());
  useEffect(() => {
    resume();
    loadRecent().catch(() => {});
  }, []);
  useCommands([
    { id: "generate", title: () => t("playground.generate"), icon: "sparkles", keys: "mod+enter", run: generate },
    { id: "prompt", title: () => t("playground.to_prompt"), icon: "pencil", keys: "/", run: focusPrompt },
    ...TOOLS.map(([name, icon, keys]) => ({ id: `tool ${name}`, title: () => t(`canvas.tool_${name}`), icon, keys, run: () => (state.tool.value = name) })),
    { id: "brush-finer", title: () => t("canvas.finer"), icon: "minus", keys: "[", run: () => state.resizeBrush(-1) },
    { id: "brush-wider", title: () => t("canvas.wider"), icon: "plus", keys: "]", run: () => state.resizeBrush(1) },
    { id: "undo", title: () => t("canvas.undo"), icon: "undo-2", keys: "mod+z", notTyping: true, run: state.undo },
    { id: "redo", title: () => t("canvas.redo"), icon: "redo-2", keys: "mod+y", notTyping: true, run: state.redo },
    { id: "redo-too", title: () => t("canvas.redo"), icon: "redo-2", keys: "mod+shift+z", hidden: true, notTyping: true, run: state.redo },
    { id: "invert", title: () => t("canvas.invert"), icon: "contrast", keys: "i", run: state.invert },
    { id: "clear-mask", title: () => t("canvas.clear"), icon: "trash-2", keys: "delete", run: state.clear },
    { id: "zoom-fit", title: () => t("canvas.fit"), icon: "maximize", keys: "0", run: () => zoom(0) },
    { id: "zoom-in", title: () => t("canvas.larger"), icon: "plus", keys: "+", run: () => zoom(1.25) },
    { id: "zoom-out", title: () => t("canvas.smaller"), icon: "minus", keys: "-", run: () => zoom(0.8) },
    { id: "canvas-choose", title: () => t("canvas.choose"), icon: "image-plus", run: choose },
  ]);
  const hint = useDropped(take, t("canvas.drop"));
  return html`<div class="canvas">
    <h1 class="out-of-sight">${t("page.canvas")}</h1>
    <section class="canvas-board" aria-label=${t("canvas.picture")}>
      ${source.value
        ? html`<${Toolbar} scale=${scale} onZoom=${zoom} onReplace=${choose} />
            <${ToolSettings} />
            <${Surface} onBoard=${(made) => (board.current = made)} onZoom=${setScale} />`
        : html`<${Nothing} />`}
    </section>
    <${Composer} />
    <section class="canvas-results stage" aria-label=${t("playground.results")}>
      <p class="out-of-sight" role="status">${spoken()}</p>
      <${Runs} quiet=${t("canvas.no_results")} />
    </section>
    <${SourceDialog} />
    ${hint}
  </div>`;
}

function Nothing() {
  return html`<div class="canvas-nothing">
    <${Empty} icon="image-plus" title=${t("canvas.begin")} actions=${html`<${Button} kind="primary" icon="image-plus" onClick=${choose}>${t("canvas.choose")}<//>`}>
      ${t("canvas.begin_text")}
    <//>
  </div>`;
}

function Composer() {
  const what = state.deed.value;
  const slider = { whole: "whole", inpaint: "part", both: "part", outpaint: "margin" }[what];
  const needsWords = what !== "erase" && what !== "outpaint";
  const { width, height } = state.finishedSize.value;
  return html`<form class="composer" aria-label=${t("playground.form")} onSubmit=${(event) => {
    event.preventDefault();
    generate();
  }}>
    <div class="composer-fields">
      ${source.value && html`<${Note} kind="info">${t(`canvas.says_${what}`, { width, height })}<//>`}
      ${(what === "inpaint" || what === "erase") &&
      html`<${Segments} label=${t("canvas.purpose")} name="purpose" value=${state.purpose.value} choices=${[["paint", t("canvas.purpose_paint")], ["away", t("canvas.purpose_away")]]} onValue=${(value) => (state.purpose.value = value)} />`}
      ${what !== "erase" && html`<${Prompt} isMissing=${needsWords && problem.value?.kind === "empty"} label=${t(needsWords ? "canvas.prompt" : "canvas.prompt_optional")} example=${t("canvas.prompt_example")} />`}
      ${slider && html`<${Range} label=${t(`canvas.amount_${slider}`)} min="0.05" max="1" step="0.05" value=${state.amounts.value[slider]} shown=${number(state.amounts.value[slider])} onValue=${(value) => (state.amounts.value = { ...state.amounts.value, [slider]: value })} />`}
      <${Models} />
      ${what !== "erase" && html`<${Styles} />`}
      <${Count} />
      <${Seed} />
      <${More} />
    </div>
    <div class="composer-end">
      <${Pay} each=${source.value ? priceOfDeed() : null} count=${form.value.count} busy=${sending.value} problem=${problem.value} disabled=${!source.value} />
    </div>
  </form>`;
}

export const page = CanvasPage;
