// Understands the recipes of InvokeAI, SwarmUI and Fooocus, which are flat lists of names and values. Knows no page.
import { amount, digits, parsed, text, whole } from "./values.js";

/** Return a file's name without its folders and its ending. */
const plain = (name) => text(name).replace(/^.*[\\/]/, "").replace(/\.(safetensors|ckpt|gguf|sft)$/, "");

/** Return the values that have no place in the form, by name; only words and numbers can be named. */
function rest(facts, used) {
  const shown = ([name, value]) => !used.has(name) && ["string", "number"].includes(typeof value) && value !== "" && String(value).length < 200;
  return Object.entries(facts).filter(shown).slice(0, 20).map(([name, value]) => [name, String(value)]);
}

const INVOKE = new Set(["positive_prompt", "negative_prompt", "seed", "steps", "cfg_scale", "width", "height", "model", "app_version"]);

/** Read what InvokeAI writes as `invokeai_metadata` (3 and later) or `sd-metadata` (2). */
export function fromInvoke(json) {
  const found = parsed(json);
  const old = found?.image;
  if (old && typeof old === "object") {
    const prompts = Array.isArray(old.prompt) ? old.prompt.map((part) => text(part?.prompt)).join(" ") : text(old.prompt);
    const [positive, ...unwanted] = prompts.split(/\s*\[|\]/);
    return made("invokeai", old, { prompt: positive, negative: unwanted.join(" ").trim(), cfg: old.cfg_scale, model: found.model_weights || found.model }, INVOKE);
  }
  if (typeof found?.positive_prompt !== "string") return null;
  const model = typeof found.model === "object" ? found.model?.name || found.model?.model_name : found.model;
  return made("invokeai", found, { prompt: found.positive_prompt, negative: found.negative_prompt, cfg: found.cfg_scale, model }, INVOKE);
}

const SWARM = new Set(["prompt", "negativeprompt", "seed", "steps", "cfgscale", "width", "height", "model", "images", "swarm_version"]);

/** Read what SwarmUI writes among the parameters. */
export function fromSwarm(json) {
  const found = json.trimStart().startsWith("{") && json.includes("sui_image_params") && parsed(json).sui_image_params;
  if (!found || typeof found.prompt !== "string") return null;
  return made("swarmui", found, { prompt: found.prompt, negative: found.negativeprompt, cfg: found.cfgscale, model: found.model }, SWARM);
}

const FOOOCUS = new Set(["prompt", "negative_prompt", "full_prompt", "full_negative_prompt", "seed", "steps", "guidance_scale", "resolution", "base_model", "base_model_hash", "metadata_scheme", "version"]);

/** Read what Fooocus writes among the parameters in its own scheme; its other scheme is A1111's. */
export function fromFooocus(json) {
  const found = json.trimStart().startsWith("{") && json.includes("base_model") && parsed(json);
  if (!found || typeof found.prompt !== "string" || typeof found.base_model !== "string") return null;
  const [width, height] = String(found.resolution || "").match(/\d+/g) || [];
  const wanted = { prompt: found.prompt, negative: found.negative_prompt, cfg: found.guidance_scale, model: found.base_model };
  return made("fooocus", { ...found, width, height }, wanted, new Set([...FOOOCUS, "width", "height"]));
}

function made(from, facts, { prompt, negative, cfg, model }, used) {
  return {
    from,
    prompt: text(prompt).trim(),
    negative: text(negative),
    seed: digits(facts.seed),
    steps: amount(facts.steps),
    cfg: amount(cfg),
    width: whole(facts.width),
    height: whole(facts.height),
    model: plain(model),
    extra: rest(facts, used),
  };
}
