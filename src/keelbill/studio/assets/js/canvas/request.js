// Turns what is on the canvas into a request: uploads the mask, names the picture, knows the price. Knows no element.
import { signal } from "../lib.js";
import { t } from "../i18n/index.js";
import { chosenModel, form, requestOf, seedsOf } from "../playground/form.js";
import { begin } from "../playground/runs.js";
import { picturesAddress, upload } from "../sources/bring.js";
import { options } from "../state/account.js";
import { drawMask, isEmpty, maskFile, widened } from "./mask.js";
import { source } from "./source.js";
import { amounts, deed, feather, finishedSize, margins, strokes } from "./state.js";

/** What is shown on the board now; needed for a part and a margin at once. */
export const bitmap = signal(null);

/** What keeps a request from being made, as the name of a text. */
export class Missing extends Error {}

const PRICED = { inpaint: "inpaint", both: "inpaint", erase: "erase", outpaint: "outpaint" };
let sent = { key: "", mask: null, picture: null };

/** Return the price of one picture in credits, or null before prices are known. */
export function priceOfDeed() {
  const known = options.value;
  const item = PRICED[deed.value];
  const base = item ? known?.edit_prices[item] : chosenModel()?.price;
  if (base === undefined) return null;
  const steps = Math.max(Number(form.value.steps) || 0, known.steps_included);
  return (Number(base) * steps) / known.steps_included;
}

/** Ask for what the canvas says; the promise gives the run. */
export async function ask() {
  const values = form.peek();
  const what = deed.peek();
  if (!values.prompt.trim() && (what === "inpaint" || what === "both" || what === "whole")) throw new Missing("empty");
  const { aspect_ratio: _, ...body } = requestOf({ ...values, input: null });
  const edit = await bodyOf(what, body);
  const bodies = seedsOf(values).map((seed) => ({ ...edit, seed }));
  const label = values.prompt.trim() || t(`canvas.deed_${what}`);
  const files = [{ name: "input.png", href: picturesAddress({ ...source.peek(), ...(what === "both" ? sent.picture : {}) }) }];
  if (edit.mask_id) files.push({ name: "mask.png", href: picturesAddress({ id: edit.mask_id, isUpload: true }) });
  return begin(what === "whole" ? "POST /api/jobs" : "POST /api/edits", bodies, { ...finishedSize.peek(), label, files });
}

async function bodyOf(what, body) {
  const image_id = source.peek().id;
  if (what === "whole") return { ...body, image_id, strength: amounts.peek().whole };
  if (what === "outpaint") return { ...body, kind: "outpaint", image_id, ...margins.peek(), creativity: amounts.peek().margin };
  await send(what);
  if (what === "erase") return { ...body, kind: "erase", image_id, mask_id: sent.mask.id };
  return { ...body, kind: "inpaint", image_id: sent.picture?.id || image_id, mask_id: sent.mask.id, strength: amounts.peek().part };
}

/** Upload the mask, and the widened picture if there is one, unless they are there from the last time. */
async function send(what) {
  const picture = source.peek();
  const key = JSON.stringify([picture.id, feather.peek(), what === "both" ? margins.peek() : null, strokes.peek()]);
  if (sent.key === key) return;
  if (isEmpty(drawMask(strokes.peek(), picture))) throw new Missing("unpainted");
  if (what === "both") {
    const files = await widened(bitmap.peek(), strokes.peek(), margins.peek(), feather.peek());
    sent = { key, picture: await upload(files.picture), mask: await upload(files.mask) };
  } else sent = { key, picture: null, mask: await upload(await maskFile(strokes.peek(), picture, feather.peek())) };
}
