// The fields that say what is painted, shared by playground and canvas. Know the form, not what is done with it.
import { BASE, classes, html, signal, useId } from "../lib.js";
import { number, t } from "../i18n/index.js";
import { chooseRecipeFile, pasteRecipe } from "../recipes/drop.js";
import { options } from "../state/account.js";
import { Field, IconButton, Segments } from "../ui/controls.js";
import { Icon } from "../ui/icon.js";
import { chosenModel, chosenSize, clearForm, fill, form, randomSeed } from "./form.js";

/** Put the cursor into the prompt. */
export function focusPrompt() {
  document.getElementById("prompt")?.focus();
}

/** What is wanted, in words. `isMissing` shows that it cannot stay empty; `label` and `example` replace the usual words. */
export function Prompt({ isMissing, label, example }) {
  const values = form.value;
  const isEmpty = isMissing && !values.prompt.trim();
  return html`<div class="prompt-box">
    <div class="label-row">
      <label for="prompt">${label || t("playground.prompt")}</label>
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
      placeholder=${example || t("playground.prompt_example")}
      value=${values.prompt}
      aria-invalid=${isEmpty ? "true" : undefined}
      aria-describedby=${isEmpty ? "prompt-problem" : undefined}
      onInput=${(event) => fill({ prompt: event.target.value })}
      onPaste=${pasteRecipe}
    />
    ${isEmpty && html`<p class="problem" id="prompt-problem" role="alert">${t("playground.prompt_missing")}</p>`}
  </div>`;
}

/** Which model paints. */
export function Models() {
  const model = chosenModel();
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

/** The shape of the picture, each drawn as what it is. */
export function Ratios() {
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

const allStyles = signal(false);

/** The look, each shown by a picture of our own model. */
export function Styles() {
  const known = ["", ...(options.value?.style_presets || [])];
  const isWide = allStyles.value;
  return html`<fieldset class="styles">
    <legend>
      <span>${t("playground.style")}</span>
      <button type="button" class="link-button" aria-expanded=${String(isWide)} onClick=${() => (allStyles.value = !isWide)}>${t(isWide ? "playground.styles_fewer" : "playground.styles_all")}</button>
    </legend>
    <div class=${classes("styles-row", isWide && "styles-all")}>
      ${known.map(
        (name) => html`<label key=${name} title=${t(`style.${name || "none"}`)}>
          <input type="radio" name="style" checked=${form.value.style === name} onChange=${() => fill({ style: name })} />
          <span class="style">
            <img src=${`${BASE}/img/styles/${name || "none"}.webp`} alt="" width="72" height="72" loading="lazy" decoding="async" />
            <span>${t(`style.${name || "none"}`)}</span>
          </span>
        </label>`,
      )}
    </div>
  </fieldset>`;
}

/** How many pictures. */
export function Count() {
  return html`<${Segments} label=${t("playground.count")} name="count" value=${form.value.count} choices=${[1, 2, 3, 4].map((n) => [n, String(n)])} onValue=${(count) => fill({ count })} />`;
}

/** The number that decides the noise: typed, thrown, kept. */
export function Seed() {
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

/** What most people leave to the model. */
export function More() {
  const values = form.value;
  const model = chosenModel();
  const used = [values.negative, values.steps, model?.is_distilled ? "" : values.cfg].filter((one) => one !== "").length;
  return html`<details class="more">
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
