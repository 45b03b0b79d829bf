// The form of the playground. Knows fields; requests and prices are made in form.js.
import { ApiError } from "../api.js";
import { classes, html, signal, useId, useRef } from "../lib.js";
import { number, t, tn } from "../i18n/index.js";
import { credits, options } from "../state/account.js";
import { imageOf } from "../api.js";
import { sentence } from "../entry/frame.js";
import { chooseRecipeFile } from "../recipes/drop.js";
import { keyNames } from "../state/commands.js";
import { Button, Field, IconButton, Note, Range, Segments } from "../ui/controls.js";
import { Icon } from "../ui/icon.js";
import { chosenModel, chosenSize, clearForm, fill, form, priceEach, randomSeed, requestOf } from "./form.js";
import { begin } from "./runs.js";

const problem = signal(null);
const sending = signal(false);

/** Put the cursor into the prompt. */
export function focusPrompt() {
  document.getElementById("prompt")?.focus();
}

/** Ask for what the form says. */
export async function generate() {
  const values = form.peek();
  if (!values.prompt.trim()) {
    problem.value = { kind: "empty" };
    focusPrompt();
    return;
  }
  if (sending.peek()) return;
  problem.value = null;
  sending.value = true;
  const body = requestOf(values);
  const first = values.locked && values.seed ? BigInt(values.seed) : 0n;
  const bodies = Array.from({ length: values.count }, (_, index) => ({
    ...body,
    seed: first ? String(first + BigInt(index)) : Number(randomSeed()),
  }));
  const size = values.input || chosenSize();
  if (!values.locked) fill({ seed: String(bodies[0].seed) });
  requestAnimationFrame(showResults);
  try {
    await begin("POST /api/jobs", bodies, { width: size.width, height: size.height });
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    problem.value = { kind: kindOf(error), error };
  } finally {
    sending.value = false;
  }
}

/** On a phone the results are below the form: go there. On wide windows they begin at the top. */
function showResults() {
  document.querySelector(".stage")?.scrollIntoView({ block: "start" });
  document.querySelector(".stage")?.scrollTo(0, 0);
}

function kindOf(error) {
  if (error.status === 402) return "credits";
  return error.name === "content_moderation" ? "refused" : "other";
}

/** The form. */
export function Composer() {
  const values = form.value;
  const model = chosenModel();
  return html`<form
    class="composer"
    aria-label=${t("playground.form")}
    onSubmit=${(event) => {
      event.preventDefault();
      generate();
    }}
  >
    <div class="composer-fields">
      <${Prompt} />
      ${values.input && html`<${Input} />`}
      <${Models} model=${model} />
      ${!values.input && html`<${Ratios} />`}
      <${Styles} />
      <${Segments} label=${t("playground.count")} name="count" value=${values.count} choices=${[1, 2, 3, 4].map((n) => [n, String(n)])} onValue=${(count) => fill({ count })} />
      <${Seed} />
      <${More} model=${model} />
    </div>
    <div class="composer-end">
      <${Problem} />
      <${Generate} />
    </div>
  </form>`;
}

function Prompt() {
  const values = form.value;
  const isEmpty = problem.value?.kind === "empty" && !values.prompt.trim();
  return html`<div class="prompt-box">
    <div class="label-row">
      <label for="prompt">${t("playground.prompt")}</label>
      <span class="label-actions">
        <${IconButton} label=${t("playground.read_file")} icon="scan-search" size=${16} onClick=${chooseRecipeFile} />
        <${IconButton} label=${t("playground.clear")} icon="rotate-ccw" size=${16} onClick=${clearForm} />
      </span>
    </div>
    <textarea
      id="prompt"
      class="input prompt"
      rows="4"
      maxlength="10000"
      placeholder=${t("playground.prompt_example")}
      value=${values.prompt}
      aria-invalid=${isEmpty ? "true" : undefined}
      aria-describedby=${isEmpty ? "prompt-problem" : undefined}
      onInput=${(event) => fill({ prompt: event.target.value })}
    />
    ${isEmpty && html`<p class="problem" id="prompt-problem" role="alert">${t("playground.prompt_missing")}</p>`}
  </div>`;
}

function Input() {
  const { input, strength } = form.value;
  return html`<div class="input-picture">
    <img src=${imageOf(input.id)} alt=${t("playground.input")} />
    <div>
      <div class="label-row">
        <span class="label">${t("playground.input")}</span>
        <${IconButton} label=${t("playground.input_remove")} icon="x" size=${16} onClick=${() => fill({ input: null })} />
      </div>
      <${Range} label=${t("playground.strength")} min="0.05" max="1" step="0.05" value=${strength} shown=${number(strength)} onValue=${(value) => fill({ strength: value })} />
    </div>
  </div>`;
}

function Models({ model }) {
  const known = options.value?.models || [];
  const hint = model && model.runs_on !== model.name ? t("playground.runs_on", { model: model.runs_on }) : undefined;
  return html`<${Field} label=${t("playground.model")} hint=${hint}>
    ${(given) =>
      html`<select class="select" ...${given} value=${model?.name || ""} onChange=${(event) => fill({ model: event.target.value })}>
        ${known.map((one) => html`<option key=${one.name} value=${one.name}>${one.title} · ${number(one.price)}</option>`)}
      </select>`}
  <//>`;
}

const TALLEST = 26;

function Ratios() {
  const known = [...(options.value?.aspect_ratios || [])].sort((a, b) => b.width / b.height - a.width / a.height);
  const size = chosenSize();
  return html`<fieldset class="ratios">
    <legend><span>${t("playground.ratio")}</span><output>${size.width} × ${size.height}</output></legend>
    <div class="ratios-row">
      ${known.map((ratio) => {
        const longest = Math.max(ratio.width, ratio.height);
        const style = { width: `${(TALLEST * ratio.width) / longest}px`, height: `${(TALLEST * ratio.height) / longest}px` };
        return html`<label key=${ratio.name}>
          <input type="radio" name="ratio" checked=${form.value.ratio === ratio.name} onChange=${() => fill({ ratio: ratio.name })} />
          <span class="ratio"><span class="ratio-box"><i style=${style} /></span><span>${ratio.name}</span></span>
        </label>`;
      })}
    </div>
  </fieldset>`;
}

function Styles() {
  const known = options.value?.style_presets || [];
  return html`<${Field} label=${t("playground.style")}>
    ${(given) =>
      html`<select class="select" ...${given} value=${form.value.style} onChange=${(event) => fill({ style: event.target.value })}>
        <option value="">${t("style.none")}</option>
        ${known.map((name) => html`<option key=${name} value=${name}>${t(`style.${name}`)}</option>`)}
      </select>`}
  <//>`;
}

function Seed() {
  const { seed, locked } = form.value;
  const clean = (text) => {
    const digits = text.replace(/\D/g, "").replace(/^0+(?=\d)/, "").slice(0, 20);
    return digits && BigInt(digits) > 18446744073709551615n ? digits.slice(0, 19) : digits;
  };
  return html`<${Field} label=${t("playground.seed")} hint=${t(locked ? "playground.seed_locked" : "playground.seed_free")}>
    ${(given) =>
      html`<span class="with-button">
        <input
          ...${given}
          class="input mono"
          inputmode="numeric"
          autocomplete="off"
          placeholder=${t("playground.seed_random")}
          value=${seed}
          onInput=${(event) => fill({ seed: clean(event.target.value), locked: event.target.value !== "" })}
        />
        <${IconButton} label=${t("playground.dice")} icon="dices" onClick=${() => fill({ seed: randomSeed() })} />
        <${IconButton} label=${t("playground.lock")} icon=${locked ? "lock" : "lock-open"} pressed=${locked} onClick=${() => fill({ locked: !locked, seed: seed || randomSeed() })} />
      </span>`}
  <//>`;
}

function More({ model }) {
  const values = form.value;
  const used = [values.negative, values.steps, model?.is_distilled ? "" : values.cfg].filter((one) => one !== "").length;
  const box = useRef(null);
  return html`<details class="more" ref=${box}>
    <summary><${Icon} name="sliders-horizontal" size=${16} /><span>${t("playground.more")}</span>${used > 0 && html`<span class="badge">${used}</span>`}<${Icon} name="chevron-down" size=${16} /></summary>
    <div class="more-fields">
      <${Field} label=${t("playground.negative")}>
        ${(given) =>
          html`<textarea ...${given} class="input" rows="2" maxlength="10000" placeholder=${t("playground.negative_example")} value=${values.negative} onInput=${(event) => fill({ negative: event.target.value })} />`}
      <//>
      <${Amount} label=${t("playground.steps")} value=${values.steps} min=${1} max=${options.value?.max_steps || 150} step=${1} start=${20} onValue=${(steps) => fill({ steps })} />
      ${model?.is_distilled
        ? html`<p class="hint">${t("playground.no_cfg")}</p>`
        : html`<${Amount} label=${t("playground.cfg")} hint=${t("playground.cfg_hint")} value=${values.cfg} min=${1} max=${15} step=${0.5} start=${4} onValue=${(cfg) => fill({ cfg })} />`}
    </div>
  </details>`;
}

/** A number that the model chooses unless the person does. */
function Amount({ label, hint, value, min, max, step, start, onValue }) {
  const id = useId();
  const own = value !== "";
  return html`<div class="amount">
    <div class="label-row">
      <label for=${id}>${label}</label>
      <label class="check"><input type="checkbox" checked=${!own} onChange=${() => onValue(own ? "" : start)} /><span>${t("playground.automatic")}</span></label>
    </div>
    <div class=${classes("amount-row", !own && "amount-off")}>
      <input class="range" type="range" aria-label=${label} disabled=${!own} min=${min} max=${max} step=${step} value=${own ? value : start} onInput=${(event) => onValue(Number(event.target.value))} />
      <input id=${id} class="input input-number" type="number" disabled=${!own} min=${min} max=${max} step=${step} value=${own ? value : ""} placeholder="–" onChange=${(event) =>
        onValue(Math.min(max, Math.max(min, Number(event.target.value) || start)))} />
    </div>
    ${hint && html`<p class="hint">${hint}</p>`}
  </div>`;
}

function Generate() {
  const each = priceEach();
  const whole = each === null ? null : each * form.value.count;
  const has = credits.value;
  const tooFew = has && !has.is_unlimited && whole !== null && whole > Number(has.available);
  const price = whole === null ? "" : tn("credits.amount", whole);
  return html`${tooFew && problem.value?.kind !== "credits" && html`<${Note} kind="warn" actions=${html`<a class="button button-plain button-small" href="/billing">${t("credits.get")}</a>`}>
      ${t("credits.too_few", { needed: number(whole), available: number(has.available) })}
    <//>`}
    <${Button} kind="primary" type="submit" class="generate" icon="sparkles" busy=${sending.value} aria-keyshortcuts="Control+Enter">
      ${t("playground.generate")}<span class="price">${price}</span>
    <//>
    <p class="generate-keys" aria-hidden="true">${keyNames("mod+enter")[0].map((key) => html`<kbd>${key}</kbd>`)}</p>`;
}

function Problem() {
  const found = problem.value;
  if (!found || found.kind === "empty") return null;
  if (found.kind === "credits") {
    return html`<${Note} kind="warn" actions=${html`<a class="button button-primary button-small" href="/billing">${t("credits.get")}</a>`}>
      <strong>${t("credits.out")}</strong> ${sentence(found.error)}
    <//>`;
  }
  return html`<${Note} kind="bad">${found.kind === "refused" && html`<strong>${t("playground.refused")} </strong>`}${sentence(found.error)}<//>`;
}
