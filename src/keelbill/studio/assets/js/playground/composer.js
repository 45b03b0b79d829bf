// The form of the playground. Knows which fields it has; requests and prices are made in form.js.
import { ApiError } from "../api.js";
import { html, signal } from "../lib.js";
import { number, t } from "../i18n/index.js";
import { editPicture } from "../canvas/source.js";
import { bringPicture, picturesAddress } from "../sources/bring.js";
import { Button, IconButton, Range } from "../ui/controls.js";
import { Count, focusPrompt, Models, More, Prompt, Ratios, Seed, Styles } from "./fields.js";
import { chosenSize, fill, form, priceEach, requestOf, seedsOf } from "./form.js";
import { kindOf, Pay } from "./pay.js";
import { begin } from "./runs.js";

const problem = signal(null);
const sending = signal(false);

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
  const bodies = seedsOf(values).map((seed) => ({ ...body, seed }));
  const size = values.input || chosenSize();
  requestAnimationFrame(showResults);
  try {
    const files = values.input ? [{ name: "input.png", href: picturesAddress(values.input) }] : [];
    await begin("POST /api/jobs", bodies, { width: size.width, height: size.height, files });
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

/** The form. */
export function Composer() {
  const values = form.value;
  return html`<form
    class="composer"
    aria-label=${t("playground.form")}
    onSubmit=${(event) => {
      event.preventDefault();
      generate();
    }}
  >
    <div class="composer-fields">
      <${Prompt} isMissing=${problem.value?.kind === "empty"} />
      ${values.input ? html`<${Input} />` : html`<${NoInput} />`}
      <${Models} />
      ${!values.input && html`<${Ratios} />`}
      <${Styles} />
      <${Count} />
      <${Seed} />
      <${More} />
    </div>
    <div class="composer-end">
      <${Pay} each=${priceEach()} count=${values.count} busy=${sending.value} problem=${problem.value} />
    </div>
  </form>`;
}

function NoInput() {
  const take = async () => {
    const input = await bringPicture();
    if (input) fill({ input });
  };
  return html`<${Button} class="input-add" icon="image-plus" onClick=${take}>${t("playground.input_add")}<//>`;
}

function Input() {
  const { input, strength } = form.value;
  return html`<div class="input-picture">
    <img src=${picturesAddress(input)} alt=${t("playground.input")} />
    <div>
      <div class="label-row">
        <span class="label">${t("playground.input")}</span>
        <span class="label-actions">
          <${IconButton} label=${t("result.edit")} icon="brush" size=${16} onClick=${() => editPicture(input)} />
          <${IconButton} label=${t("playground.input_remove")} icon="x" size=${16} onClick=${() => fill({ input: null })} />
        </span>
      </div>
      <${Range} label=${t("playground.strength")} min="0.05" max="1" step="0.05" value=${strength} shown=${number(strength)} onValue=${(value) => fill({ strength: value })} />
    </div>
  </div>`;
}
