// Understands text that asks for a picture: a cURL command, Python, a notebook's cell, our own command, a node graph,
// parameters of A1111. Knows no page. What it finds is a Recipe as in read.js, perhaps with more members.
import { pythonCall } from "./python.js";
import { recipeFrom } from "./read.js";
import { shellWords } from "./shell.js";

const MAX_CHARS = 200_000;
const INPUTS = ["image", "init_image", "image_id", "mask"];
const SHORT = { "-F": "--form", "-d": "--data", "-m": "--model", "-n": "--n", "-o": "--output" };

/**
 * Read a text.
 * @param {string} text
 * @returns {import("./read.js").Recipe & {ratio?: string, style?: string, strength?: number, count?: number,
 *   needs?: boolean} | null} Null if it is only words. `needs` says that a picture belongs to it.
 */
export function recipeFromText(text) {
  const trimmed = text.trim();
  if (trimmed.length < 12 || trimmed.length > MAX_CHARS) return null;
  for (const attempt of [fromCurl, fromCommand, fromJson, fromPython, fromParameters]) {
    try {
      const found = attempt(trimmed);
      if (found?.prompt) return found;
    } catch {
      // Broken code of this kind; it may still be of another.
    }
  }
  return null;
}

function fromCurl(text) {
  if (!/(^|[\s;|&$])curl\s/.test(text)) return null;
  const words = shellWords(text);
  const options = optionsOf(words.slice(words.indexOf("curl") + 1));
  const fields = {};
  for (const [name, value] of options) {
    if (["--form", "--form-string", "--data-urlencode"].includes(name)) {
      const [key, ...rest] = value.split("=");
      fields[key] = rest.join("=");
    } else if (["--data", "--data-raw", "--data-binary", "--json"].includes(name)) {
      Object.assign(fields, parsed(value));
    }
  }
  return fromFields(fields, "curl");
}

function fromCommand(text) {
  const words = shellWords(text.replace(/^[$!%]\s*/, ""));
  const start = words.findIndex((word, index) => /(^|\/)keelbill$/.test(word) && words[index + 1] === "generate");
  if (start < 0) return null;
  const names = { negative: "negative_prompt", cfg: "cfg_scale", style: "style_preset", size: "size", n: "n" };
  const fields = {};
  for (const [name, value] of optionsOf(words.slice(start + 2))) {
    if (!name) fields.prompt ??= value;
    else fields[names[name.slice(2)] || name.slice(2).replaceAll("-", "_")] = value;
  }
  return fromFields(fields, "cli");
}

/** Return [name, value] of every option; words that belong to none have no name. */
function optionsOf(words) {
  const found = [];
  for (let index = 0; index < words.length; index++) {
    const word = words[index];
    if (/^[|;&>]/.test(word)) break;
    if (!/^-/.test(word) || /^-\d/.test(word)) found.push(["", word]);
    else if (word.startsWith("--") && word.includes("=")) found.push([word.slice(0, word.indexOf("=")), word.slice(word.indexOf("=") + 1)]);
    else if (word in SHORT) found.push([SHORT[word], words[++index] ?? ""]);
    else if (TAKES_NOTHING.has(word) || !word.startsWith("--")) found.push([word, ""]);
    else found.push([word, words[++index] ?? ""]);
  }
  return found;
}

const TAKES_NOTHING = new Set(["--fail", "--fail-with-body", "--silent", "--location", "--show-error", "--compressed", "--insecure"]);

function fromJson(text) {
  if (!/^[{[]/.test(text)) return null;
  const found = parsed(text);
  const cell = cellOf(found);
  if (cell !== null) return { ...recipeFromText(cell), from: "notebook" };
  const graph = found.prompt && typeof found.prompt === "object" ? found.prompt : found;
  if (Object.values(graph).some((node) => node?.class_type)) return fromGraph(graph);
  if (Array.isArray(found.nodes)) return fromCanvas(found);
  if (found.engine || found.model_hash) return recipeFrom({ keelbill: text });
  return fromFields(found, "json");
}

/** Return the code of a notebook, or of one cell of it; null for other objects. */
function cellOf(found) {
  const cells = found.cells || (found.cell_type ? [found] : Array.isArray(found) && found[0]?.cell_type ? found : null);
  if (!cells) return null;
  const source = (cell) => (Array.isArray(cell.source) ? cell.source.join("") : String(cell.source || ""));
  return cells.filter((cell) => cell.cell_type === "code").map(source).join("\n");
}

function fromGraph(graph) {
  const found = recipeFrom({ prompt: JSON.stringify(graph) });
  if (!found) return null;
  const nodes = Object.values(graph);
  const sampler = nodes.find((node) => /Sampler/.test(node?.class_type || ""));
  const strength = Number(sampler?.inputs?.denoise);
  const needs = nodes.some((node) => /^LoadImage/.test(node?.class_type || ""));
  return { ...found, from: "workflow", needs, ...(strength < 1 ? { strength } : {}) };
}

/** Bring what an editor saves into the form that servers take, as far as reading needs it. */
function fromCanvas(saved) {
  const links = new Map((saved.links || []).map((link) => (Array.isArray(link) ? [link[0], [String(link[1]), link[2]]] : [link.id, [String(link.origin_id), link.origin_slot]])));
  const graph = {};
  for (const node of saved.nodes) {
    const inputs = {};
    for (const input of node.inputs || []) if (input.link != null && links.has(input.link)) inputs[input.name] = links.get(input.link);
    const values = Array.isArray(node.widgets_values) ? node.widgets_values : [];
    for (const [index, name] of (WIDGETS[node.type] || []).entries()) inputs[name] ??= values[index];
    graph[node.id] = { class_type: node.type, inputs };
  }
  return fromGraph(graph);
}

const WIDGETS = {
  KSampler: ["seed", "control_after_generate", "steps", "cfg", "sampler_name", "scheduler", "denoise"],
  CLIPTextEncode: ["text"],
  CLIPTextEncodeSD3: ["clip_l", "clip_g", "t5xxl", "empty_padding"],
  CheckpointLoaderSimple: ["ckpt_name"],
  UNETLoader: ["unet_name"],
  EmptySD3LatentImage: ["width", "height", "batch_size"],
  EmptyLatentImage: ["width", "height", "batch_size"],
  LoadImage: ["image"],
};

function fromPython(text) {
  const call = pythonCall(text);
  if (!call) return null;
  const { args, named } = call;
  const fields = { ...(named.data || {}), ...(named.json || {}), ...(call.name === "post" ? {} : named) };
  const first = { inpaint: 1, outpaint: 1, structure: 1, sketch: 1 }[call.name] || 0;
  if (call.name !== "post" && typeof args[first] === "string") fields.prompt ??= args[first];
  if (first || named.files) fields.image ??= "input";
  const isCell = /_repr_|display\(|^\s*%|^\w+$/m.test(text.split("\n").at(-1) || "") || /^\s*%/m.test(text);
  return fromFields(fields, isCell ? "notebook" : "python");
}

function fromParameters(text) {
  return /(^|, |\n)Steps: \d+/.test(text) ? recipeFrom({ parameters: text }) : null;
}

function parsed(json) {
  return JSON.parse(json.replace(/"(seed|noise_seed)":\s*(\d{16,})/g, '"$1":"$2"'));
}

const text = (value) => (typeof value === "string" ? value.slice(0, 10_000) : "");
const amount = (value) => (value !== undefined && value !== null && value !== "" && Number.isFinite(Number(value)) ? Number(value) : "");

function fromFields(fields, from) {
  const prompts = Array.isArray(fields.text_prompts) ? fields.text_prompts : [];
  const prompt = text(fields.prompt) || text(prompts.find((one) => !(one.weight < 0))?.text);
  if (!prompt) return null;
  const [width, height] = (text(fields.size).match(/^(\d+)x(\d+)$/) || []).slice(1).map(Number);
  const seed = String(fields.seed ?? "");
  const needs = INPUTS.some((name) => fields[name] !== undefined && fields[name] !== null);
  return {
    from,
    prompt,
    negative: text(fields.negative_prompt) || text(prompts.find((one) => one.weight < 0)?.text),
    seed: /^[1-9]\d{0,19}$/.test(seed) ? seed : "",
    steps: amount(fields.steps),
    cfg: amount(fields.cfg_scale ?? fields.cfg),
    width: width || Number(fields.width) || 0,
    height: height || Number(fields.height) || 0,
    ratio: text(fields.aspect_ratio),
    style: text(fields.style_preset),
    strength: amount(fields.strength) || undefined,
    count: Number(fields.n ?? fields.samples) || 1,
    model: text(fields.model),
    needs,
    extra: [],
  };
}
