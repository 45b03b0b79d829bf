// Fills the form of the playground with a recipe. Knows no element of the page.
import { options } from "../state/account.js";
import { fill, form, nearestRatio } from "../playground/form.js";
import { navigate, place } from "../router.js";

/** Return the published or installed model that a recipe's name means, or nothing. */
export function modelOf(name) {
  const plain = (text) => text.toLowerCase().replaceAll("_", "-").replace(/\.(safetensors|ckpt|gguf)$/, "");
  const wanted = plain(name || "");
  const known = options.peek()?.models || [];
  const same = (one) => plain(one.name) === wanted || wanted.startsWith(`${plain(one.name)}-incl`) || wanted.startsWith(`${plain(one.name)}-fp8`);
  return wanted ? known.find((one) => plain(one.name) === wanted) || known.find(same) || known.find((one) => plain(one.runs_on) === wanted) : undefined;
}

/** Fill a recipe into the form and show the form. */
export function applyRecipe(recipe) {
  const model = modelOf(recipe.model);
  const ratios = options.peek()?.aspect_ratios || [];
  const style = (options.peek()?.style_presets || []).includes(recipe.style) ? recipe.style : "";
  const shape = recipe.width && recipe.height ? nearestRatio(recipe.width, recipe.height) : "1:1";
  fill({
    prompt: recipe.prompt,
    negative: recipe.negative,
    seed: recipe.seed,
    locked: Boolean(recipe.seed),
    steps: recipe.steps && recipe.steps <= 150 ? recipe.steps : "",
    cfg: recipe.cfg && recipe.cfg >= 1 ? Math.min(recipe.cfg, 15) : "",
    ratio: ratios.some((one) => one.name === recipe.ratio) ? recipe.ratio : shape,
    style,
    count: Math.min(4, Math.max(1, recipe.count || 1)),
    input: null,
    ...(recipe.strength ? { strength: Math.min(1, Math.max(0.05, recipe.strength)) } : {}),
    ...(model ? { model: model.name } : { model: form.peek().model }),
  });
  if (place.peek().path !== "/canvas") navigate("/");
}
