// Reads the recipe of a picture that is dropped, pasted or chosen, and offers to fill it into the form.
import { html, signal, useState } from "../lib.js";
import { t } from "../i18n/index.js";
import { editPicture } from "../canvas/source.js";
import { uploadFile } from "../sources/bring.js";
import { useDropped } from "../sources/dropped.js";
import { options } from "../state/account.js";
import { navigate } from "../router.js";
import { toast } from "../state/toasts.js";
import { fill, form } from "../playground/form.js";
import { Button, Note } from "../ui/controls.js";
import { Dialog } from "../ui/dialog.js";
import { applyRecipe } from "./apply.js";
import { recipeOf } from "./read.js";
import { recipeFromText } from "./text.js";

export { applyRecipe };

const MAX_FILE_BYTES = 64 * 1024 * 1024;

/** What was read last: {file, name, url, recipe}, or null. */
const found = signal(null);

/** Read a file, then show what was found. */
export async function readFile(file) {
  if (!file) return;
  if (file.size > MAX_FILE_BYTES) {
    toast(t("recipe.too_large"), { kind: "bad" });
    return;
  }
  const { kind, recipe } = await recipeOf(file);
  if (!kind) {
    toast(t("recipe.no_picture", { name: file.name }), { kind: "bad" });
    return;
  }
  found.value = { file, name: file.name, url: URL.createObjectURL(file), recipe };
}

/** Let the person choose a file. */
export function chooseRecipeFile() {
  const input = document.createElement("input");
  input.type = "file";
  input.accept = "image/png,image/jpeg,image/webp";
  input.addEventListener("change", () => readFile(input.files[0]));
  input.click();
}

/** Take files that are dropped or pasted on the page, and text that is a recipe; return what is shown meanwhile. */
export function useDroppedRecipe() {
  const hint = useDropped(readFile, t("recipe.drop"), applyText);
  if (found.value) return html`<${FoundDialog} ...${found.value} />`;
  return hint;
}

/** When code, a workflow or a recipe is pasted into the prompt, fill the form with it instead. */
export function pasteRecipe(event) {
  const text = event.clipboardData?.getData("text/plain") || "";
  const { selectionStart: start, selectionEnd: end } = event.currentTarget;
  const before = form.peek();
  const asText = () => fill({ ...before, prompt: before.prompt.slice(0, start) + text + before.prompt.slice(end) });
  if (applyText(text, asText)) event.preventDefault();
}

/** Fill the form with what a text says, if it is code or a recipe; `asText` is offered as the way back. */
function applyText(text, asText) {
  const recipe = recipeFromText(text);
  if (!recipe) return false;
  applyRecipe(recipe);
  const action = asText ? { label: t("recipe.as_text"), run: asText } : undefined;
  toast(t("recipe.pasted", { what: t(`recipe.what_${recipe.from}`) }), { kind: "good", lifeMs: 9000, action });
  if (recipe.needs) toast(t("recipe.needs_picture"), { lifeMs: 9000 });
  return true;
}

function startFrom(input) {
  fill({ input });
  navigate("/");
}

function FoundDialog({ file, name, url, recipe }) {
  const [busy, setBusy] = useState("");
  const close = () => {
    URL.revokeObjectURL(url);
    found.value = null;
  };
  const use = () => {
    close();
    applyRecipe(recipe);
    toast(t("recipe.applied"), { kind: "good" });
  };
  const bring = async (where, then) => {
    setBusy(where);
    const picture = await uploadFile(file);
    setBusy("");
    if (!picture) return;
    close();
    then(picture);
  };
  const picks = html`<${Button} icon="image-up" busy=${busy === "input"} onClick=${() => bring("input", startFrom)}>${t("recipe.as_input")}<//>
    <${Button} icon="brush" busy=${busy === "canvas"} onClick=${() => bring("canvas", editPicture)}>${t("recipe.on_canvas")}<//>`;
  if (!recipe) {
    return html`<${Dialog} title=${t("recipe.title")} onClose=${close} actions=${picks}>
      <div class="recipe-bare"><img src=${url} alt=${name} /></div>
      <p class="soft">${t("recipe.none_text", { name })}</p>
    <//>`;
  }
  const known = options.value?.models.some((one) => one.name === recipe.model || one.runs_on === recipe.model);
  return html`<${Dialog} title=${t("recipe.title")} onClose=${close} actions=${html`${picks}<${Button} kind="primary" icon="sparkles" onClick=${use}>${t("recipe.use")}<//>`}>
    <div class="recipe-found">
      <img src=${url} alt=${name} />
      <div>
        <p class="soft">${t(`recipe.from_${recipe.from}`)}</p>
        <${RecipeFacts} recipe=${recipe} />
      </div>
    </div>
    ${!known && recipe.model && html`<${Note} kind="warn">${t("recipe.other_model", { model: recipe.model })}<//>`}
    ${recipe.extra.length > 0 && html`<${Note} kind="info">${t("recipe.left_out")} ${recipe.extra.map(([what, value]) => (what === "node" ? value : `${what}: ${value}`)).join(", ")}<//>`}
  <//>`;
}

/** A recipe as a list of names and values. */
export function RecipeFacts({ recipe }) {
  const facts = [
    ["playground.prompt", recipe.prompt],
    ["playground.negative", recipe.negative],
    ["playground.model", recipe.model],
    ["playground.seed", recipe.seed],
    ["playground.steps", recipe.steps],
    ["playground.cfg", recipe.cfg],
    ["recipe.size", recipe.width && recipe.height ? `${recipe.width} × ${recipe.height}` : ""],
  ];
  return html`<dl class="facts">
    ${facts.filter(([, value]) => value !== "" && value !== undefined).map(([label, value]) => html`<div key=${label}><dt>${t(label)}</dt><dd>${String(value)}</dd></div>`)}
  </dl>`;
}
