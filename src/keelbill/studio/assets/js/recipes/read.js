// Understands the recipes that programs leave in pictures: our own, A1111's text, ComfyUI's graph. Knows no page.
import { textsOf } from "./containers.js";
import { fromFooocus, fromInvoke, fromSwarm } from "./others.js";
import { amount, digits, text, whole } from "./values.js";

/**
 * @typedef {{from: "keelbill" | "a1111" | "comfyui" | "invokeai" | "swarmui" | "fooocus", prompt: string, negative: string, seed: string, steps: number | "",
 *   cfg: number | "", width: number, height: number, model: string, extra: [string, string][]}} Recipe
 * `extra` names what was found and has no place in the form.
 */

/**
 * Read the recipe of a file.
 * @param {Blob} file
 * @returns {Promise<{kind: string, recipe: Recipe | null}>} `kind` is "" if it is no picture that we know.
 */
export async function recipeOf(file) {
  const { kind, texts } = await textsOf(await file.arrayBuffer());
  return { kind, recipe: kind ? recipeFrom(texts) : null };
}

/** Find the recipe among texts of a picture; the most exact one wins. */
export function recipeFrom(texts) {
  const own = texts.keelbill || (texts.description || "").match(/^keelbill:(.*)$/s)?.[1];
  const parameters = texts.parameters || texts.comment || "";
  const tries = [
    () => own && fromKeelbill(own),
    () => fromSwarm(parameters),
    () => fromInvoke(texts.invokeai_metadata || texts["sd-metadata"] || "null"),
    () => fromFooocus(parameters),
    () => texts.prompt && fromComfy(texts.prompt),
    () => fromParameters(parameters),
  ];
  for (const attempt of tries) {
    try {
      const found = attempt();
      if (found) return found;
    } catch {
      // A damaged recipe is none; the next kind may be whole.
    }
  }
  return null;
}

function fromKeelbill(json) {
  const found = JSON.parse(json.replace(/"seed":\s?(\d{16,})/, '"seed":"$1"'));
  if (!found || typeof found.prompt !== "string") return null;
  const extra = [
    ["sampler", found.sampler],
    ["schedule", found.schedule],
    ["strength", found.image_hash ? String(found.strength) : ""],
    ["image", found.image_hash ? found.image_hash.slice(0, 12) : ""],
    ["enlarger", found.enlarger],
  ];
  return {
    from: "keelbill",
    prompt: text(found.prompt),
    negative: text(found.negative),
    seed: digits(found.seed),
    steps: amount(found.steps),
    cfg: amount(found.cfg),
    width: whole(found.painted_width || found.width),
    height: whole(found.painted_height || found.height),
    model: text(found.model),
    extra: extra.filter(([, value]) => typeof value === "string" && value),
  };
}

const KNOWN = new Set(["Steps", "Seed", "CFG scale", "Size", "Model"]);

function fromParameters(parameters) {
  const lines = parameters.replace(/\r/g, "").split("\n");
  const last = lines.findLastIndex((line) => /(^|, )Steps: \d+/.test(line));
  if (last < 0) return null;
  const facts = {};
  for (const found of lines.slice(last).join(", ").matchAll(/\s*([A-Z][\w /-]*?):\s*("(?:\\.|[^"\\])*"|[^,]*)(?:,|$)/g)) {
    facts[found[1]] ??= found[2].startsWith('"') ? JSON.parse(found[2]) : found[2].trim();
  }
  const words = lines.slice(0, last);
  const split = words.findIndex((line) => line.startsWith("Negative prompt:"));
  const [width, height] = (facts.Size || "").split("x").map(whole);
  return {
    from: "a1111",
    prompt: text((split < 0 ? words : words.slice(0, split)).join("\n").trim()),
    negative: split < 0 ? "" : text(words.slice(split).join("\n").replace("Negative prompt:", "").trim()),
    seed: digits(facts.Seed),
    steps: amount(facts.Steps),
    cfg: amount(facts["CFG scale"]),
    width: width || 0,
    height: height || 0,
    model: text(facts.Model),
    extra: Object.entries(facts).filter(([name]) => !KNOWN.has(name)).slice(0, 20),
  };
}

/** Read the graph of ComfyUI: what leads into the last sampler. */
function fromComfy(json) {
  const nodes = JSON.parse(json.replace(/\bNaN\b/g, "null").replace(/"(seed|noise_seed)":\s?(\d{16,})/g, '"$1":"$2"'));
  const all = Object.values(nodes).filter((node) => node && typeof node === "object" && node.inputs);
  const follow = (link) => (Array.isArray(link) ? nodes[link[0]] : null);
  const sampler = all.findLast((node) => /Sampler/.test(node.class_type) && ("positive" in node.inputs || "guider" in node.inputs));
  if (!sampler) return null;
  const value = (given, names) => (Array.isArray(given) ? search(follow(given), names, follow) : given);
  const guider = follow(sampler.inputs.guider);
  const positive = sampler.inputs.positive || guider?.inputs.positive || guider?.inputs.conditioning;
  const negative = sampler.inputs.negative || guider?.inputs.negative;
  const latent = find(follow(sampler.inputs.latent_image), (node) => "width" in node.inputs && "height" in node.inputs, follow);
  const loader = find(sampler, (node) => typeof (node.inputs.ckpt_name || node.inputs.unet_name) === "string", follow);
  const others = [...new Set(all.map((node) => String(node.class_type)))];
  const used = /KSampler|CLIPTextEncode|EmptyLatent|EmptySD3|Checkpoint|VAEDecode|SaveImage|UNETLoader|VAELoader|CLIPLoader/;
  const seed = value(sampler.inputs.seed ?? sampler.inputs.noise_seed ?? sampler.inputs.noise, ["seed", "noise_seed", "value"]);
  return {
    from: "comfyui",
    prompt: text(search(follow(positive), ["text", "clip_g", "t5xxl", "clip_l", "value", "string"], follow)),
    negative: text(search(follow(negative), ["text", "clip_g", "t5xxl", "clip_l", "value", "string"], follow)),
    seed: digits(seed),
    steps: amount(value(sampler.inputs.steps ?? sampler.inputs.sigmas, ["steps", "value"])),
    cfg: amount(value(sampler.inputs.cfg ?? guider?.inputs.cfg, ["cfg", "value"])),
    width: whole(value(latent?.inputs.width, ["value", "width"])),
    height: whole(value(latent?.inputs.height, ["value", "height"])),
    model: text(loader?.inputs.ckpt_name || loader?.inputs.unet_name).replace(/^.*[\\/]/, "").replace(/\.(safetensors|ckpt|gguf)$/, ""),
    extra: others.filter((name) => !used.test(name)).slice(0, 12).map((name) => ["node", name]),
  };
}

function find(node, wanted, follow, seen = new Set()) {
  if (!node?.inputs || seen.has(node) || seen.size > 500) return null;
  seen.add(node);
  if (wanted(node)) return node;
  for (const input of Object.values(node.inputs)) {
    const found = find(follow(input), wanted, follow, seen);
    if (found) return found;
  }
  return null;
}

function search(node, names, follow) {
  const has = (one) => names.some((name) => ["string", "number"].includes(typeof one.inputs[name]) && one.inputs[name] !== "");
  const found = find(node, has, follow);
  return found ? found.inputs[names.find((name) => ["string", "number"].includes(typeof found.inputs[name]) && found.inputs[name] !== "")] : "";
}
