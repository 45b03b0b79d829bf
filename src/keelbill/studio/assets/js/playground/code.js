// Writes what was asked for as a command or a program that asks for the same. Knows no element of the page.

function shell(text) {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

function python(value) {
  return JSON.stringify(value); // JSON's strings and numbers are Python's, too
}

/** Names of the forms that there are. */
export const FORMS = ["curl", "python", "cli"];

/**
 * Return code for a picture.
 * @param {"curl" | "python" | "cli"} kind
 * @param {object} body As for POST /api/jobs.
 * @param {string} origin Address of the server.
 */
export function codeFor(kind, body, origin) {
  return { curl: asCurl, python: asPython, cli: asCommand }[kind](body, origin);
}

function fields(body) {
  const { prompt, model, negative_prompt, aspect_ratio, seed, style_preset, cfg_scale, image_id, strength } = body;
  const found = { prompt, model, negative_prompt, aspect_ratio, seed, style_preset, cfg_scale };
  if (image_id) Object.assign(found, { mode: "image-to-image", strength, aspect_ratio: undefined });
  return Object.entries(found).filter(([, value]) => value !== undefined && value !== "" && value !== null);
}

function asCurl(body, origin) {
  const lines = [`curl --fail-with-body ${origin}/v2beta/stable-image/generate/sd3`];
  lines.push('--header "authorization: Bearer $KEELBILL_API_KEY"', '--header "accept: image/*"');
  for (const [name, value] of fields(body)) lines.push(`--form-string ${name}=${shell(String(value))}`);
  if (body.image_id) lines.push("--form image=@input.png");
  lines.push("--output picture.png");
  return lines.join(" \\\n  ");
}

function asPython(body, origin) {
  const given = Object.fromEntries(fields(body));
  const { prompt, ...rest } = given;
  delete rest.mode;
  const lines = [`    ${python(prompt)},`];
  for (const [name, value] of Object.entries(rest)) {
    lines.push(`    ${name}=${name === "seed" ? String(value) : python(value)},`);
  }
  if (body.image_id) lines.push('    image="input.png",');
  return [
    "from keelbill.client import Client",
    "",
    `client = Client(base_url=${python(origin)})  # the key comes from KEELBILL_API_KEY`,
    "picture = client.generate(",
    ...lines,
    ")",
    'picture.save("picture.png")',
  ].join("\n");
}

function asCommand(body, origin) {
  const parts = [`keelbill generate ${shell(body.prompt)}`, `--server ${origin}`, `--model ${body.model}`];
  if (body.negative_prompt) parts.push(`--negative ${shell(body.negative_prompt)}`);
  if (body.aspect_ratio && !body.image_id) parts.push(`--aspect-ratio ${body.aspect_ratio}`);
  if (body.style_preset) parts.push(`--style ${body.style_preset}`);
  if (body.seed) parts.push(`--seed ${body.seed}`);
  if (body.cfg_scale !== undefined) parts.push(`--cfg ${body.cfg_scale}`);
  if (body.image_id) parts.push("--image input.png", `--strength ${body.strength}`);
  parts.push("--output picture.png");
  return parts.join(" \\\n  ");
}
