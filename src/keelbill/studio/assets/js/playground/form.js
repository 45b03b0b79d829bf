// What is filled in on the playground: kept in this tab, turned into requests and prices. Knows no element of the page.
import { effect, signal } from "../lib.js";
import { options } from "../state/account.js";
import { onLeave } from "../shell/leave.js";

const KEY = "keelbill.form";
const EMPTY = {
  prompt: "",
  negative: "",
  model: "",
  ratio: "1:1",
  style: "",
  count: 1,
  seed: "",
  locked: false,
  steps: "",
  cfg: "",
  input: null,
  strength: 0.6,
};

function kept() {
  try {
    return { ...EMPTY, ...JSON.parse(sessionStorage.getItem(KEY) || "{}") };
  } catch {
    return EMPTY;
  }
}

/** The form. `input` is {id, width, height, isUpload} of a picture of the gallery or an upload, or null. */
export const form = signal(kept());

effect(() => {
  try {
    sessionStorage.setItem(KEY, JSON.stringify(form.value));
  } catch {
    // Without storage the form lives as long as the page.
  }
});
onLeave(() => {
  form.value = EMPTY;
});

/** Change some of the form. */
export function fill(values) {
  form.value = { ...form.peek(), ...values };
}

/** Return the form to its beginning, but keep the model. */
export function clearForm() {
  form.value = { ...EMPTY, model: form.peek().model };
}

/** The model that is chosen, as GET /api/options describes it; null before that is known. */
export function chosenModel() {
  const known = options.value?.models || [];
  const wanted = form.value.model || options.value?.default_model;
  return known.find((model) => model.name === wanted) || known.find((model) => model.name === options.value.default_model) || null;
}

/** Width and height of the shape that is chosen. */
export function chosenSize() {
  return options.value?.aspect_ratios.find((ratio) => ratio.name === form.value.ratio) || { width: 1024, height: 1024 };
}

/** Return the price of one picture in credits; the server computes the same in whole millionths. */
export function priceEach() {
  const model = chosenModel();
  if (!model) return null;
  const steps = Math.max(Number(form.value.steps) || 0, options.value.steps_included);
  return (Number(model.price) * steps) / options.value.steps_included;
}

/** Return what the form asks for, without seed: the body of POST /api/jobs. */
export function requestOf(values) {
  const model = chosenModel();
  const body = {
    prompt: values.prompt.trim(),
    model: model?.name || options.value.default_model,
    previews: true,
  };
  if (values.negative.trim()) body.negative_prompt = values.negative.trim();
  if (values.style) body.style_preset = values.style;
  if (values.steps !== "") body.steps = Number(values.steps);
  if (values.cfg !== "" && !model?.is_distilled) body.cfg_scale = Number(values.cfg);
  if (values.input) {
    body.image_id = values.input.id;
    body.strength = values.strength;
  } else {
    body.aspect_ratio = values.ratio;
  }
  return body;
}

/** Return the seeds of the pictures that are asked for, and remember a new one in the form. */
export function seedsOf(values) {
  const first = values.locked && values.seed ? BigInt(values.seed) : 0n;
  const seeds = Array.from({ length: values.count }, (_, index) => (first ? String(first + BigInt(index)) : Number(randomSeed())));
  if (!values.locked) fill({ seed: String(seeds[0]) });
  return seeds;
}

/** Return the published shape that is nearest to a size. */
export function nearestRatio(width, height) {
  const wanted = Math.log(width / height);
  const far = (ratio) => Math.abs(Math.log(ratio.width / ratio.height) - wanted);
  return (options.peek()?.aspect_ratios || []).reduce((best, one) => (best && far(best) <= far(one) ? best : one), null)?.name || "1:1";
}

/** Return a seed that may be typed again. */
export function randomSeed() {
  return String(1 + (crypto.getRandomValues(new Uint32Array(1))[0] % 4294967294));
}
