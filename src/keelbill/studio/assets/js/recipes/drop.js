// Reads the recipe of a picture that is dropped, pasted or chosen, and offers to fill it into the form.
import { html, signal, useEffect } from "../lib.js";
import { t } from "../i18n/index.js";
import { options } from "../state/account.js";
import { toast } from "../state/toasts.js";
import { fill, nearestRatio } from "../playground/form.js";
import { navigate } from "../router.js";
import { Button, Empty, Note } from "../ui/controls.js";
import { Dialog } from "../ui/dialog.js";
import { Icon } from "../ui/icon.js";
import { recipeOf } from "./read.js";

const MAX_FILE_BYTES = 64 * 1024 * 1024;

/** What was read last: {file, url, kind, recipe}, or null. */
const found = signal(null);
const isOver = signal(false);

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
  found.value = { name: file.name, url: URL.createObjectURL(file), recipe };
}

/** Let the person choose a file. */
export function chooseRecipeFile() {
  const input = document.createElement("input");
  input.type = "file";
  input.accept = "image/png,image/jpeg,image/webp";
  input.addEventListener("change", () => readFile(input.files[0]));
  input.click();
}

/** Fill a recipe into the form of the playground. */
export function applyRecipe(recipe) {
  const model = options.peek()?.models.find((one) => one.name === recipe.model || one.runs_on === recipe.model);
  fill({
    prompt: recipe.prompt,
    negative: recipe.negative,
    seed: recipe.seed,
    locked: Boolean(recipe.seed),
    steps: recipe.steps && recipe.steps <= 150 ? recipe.steps : "",
    cfg: recipe.cfg && recipe.cfg >= 1 ? recipe.cfg : "",
    ratio: recipe.width && recipe.height ? nearestRatio(recipe.width, recipe.height) : "1:1",
    style: "",
    count: 1,
    input: null,
    ...(model ? { model: model.name } : {}),
  });
  navigate("/");
}

/** Take files that are dropped or pasted anywhere on the page; return what is shown meanwhile. */
export function useDroppedRecipe() {
  useEffect(() => {
    let depth = 0;
    const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
    const enter = (event) => {
      if (!hasFiles(event)) return;
      depth += 1;
      isOver.value = true;
    };
    const leave = (event) => {
      if (!hasFiles(event)) return;
      depth -= 1;
      isOver.value = depth > 0;
    };
    const over = (event) => hasFiles(event) && event.preventDefault();
    const drop = (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      depth = 0;
      isOver.value = false;
      readFile(event.dataTransfer.files[0]);
    };
    const paste = (event) => {
      const file = [...(event.clipboardData?.files || [])].find((one) => one.type.startsWith("image/"));
      if (file) {
        event.preventDefault();
        readFile(file);
      }
    };
    const all = { dragenter: enter, dragleave: leave, dragover: over, drop, paste };
    for (const [name, listen] of Object.entries(all)) window.addEventListener(name, listen);
    return () => {
      for (const [name, listen] of Object.entries(all)) window.removeEventListener(name, listen);
    };
  }, []);
  if (found.value) return html`<${FoundDialog} ...${found.value} />`;
  return isOver.value && html`<div class="drop-hint"><${Icon} name="file-up" size=${40} /><p>${t("recipe.drop")}</p></div>`;
}

function FoundDialog({ name, url, recipe }) {
  const close = () => {
    URL.revokeObjectURL(url);
    found.value = null;
  };
  const use = () => {
    close();
    applyRecipe(recipe);
    toast(t("recipe.applied"), { kind: "good" });
  };
  if (!recipe) {
    return html`<${Dialog} title=${t("recipe.title")} onClose=${close}>
      <${Empty} icon="scan-search" title=${t("recipe.none")}>${t("recipe.none_text", { name })}<//>
    <//>`;
  }
  const known = options.value?.models.some((one) => one.name === recipe.model || one.runs_on === recipe.model);
  return html`<${Dialog} title=${t("recipe.title")} onClose=${close} actions=${html`<${Button} onClick=${close}>${t("dialog.cancel")}<//><${Button} kind="primary" icon="sparkles" onClick=${use}>${t("recipe.use")}<//>`}>
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
