// Writes what was asked for as something that asks for the same elsewhere. Knows no element of the page.
import { workflowFor } from "./workflow.js";

const SERVICES = { inpaint: "edit/inpaint", erase: "edit/erase", outpaint: "edit/outpaint" };
const KNOWN = {
  generate: ["prompt", "mode", "model", "negative_prompt", "aspect_ratio", "seed", "style_preset", "cfg_scale", "strength"],
  inpaint: ["prompt", "negative_prompt", "grow_mask", "seed", "style_preset"],
  erase: ["grow_mask", "seed"],
  outpaint: ["left", "right", "up", "down", "creativity", "prompt", "seed", "style_preset"],
};

/** Names of the forms that there are for a body. */
export function formsFor(body) {
  return ["curl", "python", "notebook", ...(body.kind === "erase" || body.kind === "outpaint" ? [] : ["cli"]), ...(body.kind === "erase" ? [] : ["workflow"])];
}

/**
 * Return code for a picture.
 * @param {"curl" | "python" | "notebook" | "cli" | "workflow"} form
 * @param {object} body As for POST /api/jobs or POST /api/edits.
 * @param {string} origin Address of the server.
 */
export function codeFor(form, body, origin) {
  return { curl: asCurl, python: asPython, notebook: asCell, cli: asCommand, workflow: workflowFor }[form](body, origin);
}

/** Name what a form cannot say of a body: "steps", "model", "strength", "style". */
export function missingFrom(form, body) {
  const has = (name) => body[name] !== undefined && body[name] !== "";
  const missing = [];
  if (form === "workflow") return has("style_preset") ? ["style"] : [];
  if (has("steps")) missing.push("steps");
  if (body.kind && has("model")) missing.push("model");
  if (body.kind === "inpaint" && body.strength < 1) missing.push("strength");
  return missing;
}

function shell(text) {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

function python(value) {
  return JSON.stringify(value); // JSON's strings and numbers are Python's, too
}

function fields(body) {
  const kind = body.kind || "generate";
  const found = { ...body, grow_mask: body.grow_mask ?? 0 };
  if (kind === "generate") Object.assign(found, body.image_id ? { mode: "image-to-image", aspect_ratio: undefined } : { strength: undefined });
  return KNOWN[kind].map((name) => [name, found[name]]).filter(([, value]) => value !== undefined && value !== "" && value !== null);
}

function asCurl(body, origin) {
  const lines = [`curl --fail-with-body ${origin}/v2beta/stable-image/${SERVICES[body.kind] || "generate/sd3"}`];
  lines.push('--header "authorization: Bearer $KEELBILL_API_KEY"', '--header "accept: image/*"');
  for (const [name, value] of fields(body)) lines.push(`--form-string ${name}=${shell(String(value))}`);
  if (body.image_id) lines.push("--form image=@input.png");
  if (body.mask_id) lines.push("--form mask=@mask.png");
  lines.push("--output picture.png");
  return lines.join(" \\\n  ");
}

function call(body, origin) {
  const { prompt, mode: _, ...rest } = Object.fromEntries(fields(body));
  const first = body.kind ? ['    "input.png",'] : [];
  if (body.kind === "outpaint" && prompt) rest.prompt = prompt;
  else if (prompt) first.push(`    ${python(prompt)},`);
  const named = Object.entries(rest).map(([name, value]) => `    ${name}=${name === "seed" ? String(value) : python(value)},`);
  if (!body.kind && body.image_id) named.push('    image="input.png",');
  if (body.mask_id) named.push('    mask="mask.png",');
  return [
    "from keelbill.client import Client",
    "",
    `client = Client(base_url=${python(origin)})  # the key comes from KEELBILL_API_KEY`,
    `picture = client.${body.kind || "generate"}(`,
    ...first,
    ...named,
    ")",
  ];
}

function asPython(body, origin) {
  return [...call(body, origin), 'picture.save("picture.png")'].join("\n");
}

function asCell(body, origin) {
  return ["%pip install --quiet keelbill", "", ...call(body, origin), "picture"].join("\n");
}

function asCommand(body, origin) {
  const parts = [`keelbill generate ${shell(body.prompt)}`, `--server ${origin}`];
  if (!body.mask_id) parts.push(`--model ${body.model}`);
  if (body.negative_prompt) parts.push(`--negative ${shell(body.negative_prompt)}`);
  if (body.aspect_ratio && !body.image_id) parts.push(`--aspect-ratio ${body.aspect_ratio}`);
  if (body.style_preset) parts.push(`--style ${body.style_preset}`);
  if (body.seed) parts.push(`--seed ${body.seed}`);
  if (body.cfg_scale !== undefined && !body.mask_id) parts.push(`--cfg ${body.cfg_scale}`);
  if (body.image_id) parts.push("--image input.png");
  if (body.mask_id) parts.push("--mask mask.png");
  else if (body.image_id) parts.push(`--strength ${body.strength}`);
  parts.push("--output picture.png");
  return parts.join(" \\\n  ");
}
