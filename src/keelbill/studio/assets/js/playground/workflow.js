// Writes what was asked for as a graph of nodes, in the form that graph servers take. Knows no element of the page.
import { options } from "../state/account.js";

const FILES = {
  "sd3.5-large": "sd3.5_large",
  "sd3.5-large-turbo": "sd3.5_large_turbo",
  "sd3.5-medium": "sd3.5_medium",
  "sd3.5-flash": "sd3.5_large_turbo",
  "sd3-medium": "sd3_medium_incl_clips",
};
const SCHEDULER = "sgm_uniform";

/** Return the JSON of a graph for a body as for POST /api/jobs or POST /api/edits. */
export function workflowFor(body) {
  const model = options.peek()?.models.find((one) => one.name === body.model);
  const ratio = options.peek()?.aspect_ratios.find((one) => one.name === body.aspect_ratio);
  const graph = new Graph();
  const loader = graph.add("CheckpointLoaderSimple", { ckpt_name: `${FILES[body.model] || body.model}.safetensors` });
  const positive = graph.add("CLIPTextEncode", { text: body.prompt || "", clip: [loader, 1] });
  const negative = graph.add("CLIPTextEncode", { text: body.negative_prompt || "", clip: [loader, 1] });
  const { latent, denoise } = body.image_id
    ? latentOfPicture(graph, body, loader)
    : { latent: graph.add("EmptySD3LatentImage", { width: ratio?.width || 1024, height: ratio?.height || 1024, batch_size: 1 }), denoise: 1 };
  const sampler = graph.add("KSampler", {
    seed: String(body.seed || 0),
    steps: body.steps ?? (model?.is_distilled ? 4 : 28),
    cfg: body.cfg_scale ?? (model?.is_distilled ? 1 : 4),
    sampler_name: "euler",
    scheduler: SCHEDULER,
    denoise,
    model: [loader, 0],
    positive: [positive, 0],
    negative: [negative, 0],
    latent_image: [latent, 0],
  });
  const decoded = graph.add("VAEDecode", { samples: [sampler, 0], vae: [loader, 2] });
  graph.add("SaveImage", { images: [decoded, 0], filename_prefix: "keelbill" });
  return JSON.stringify(graph.nodes, null, 2).replace(/"seed": "(\d+)"/, '"seed": $1');
}

function latentOfPicture(graph, body, loader) {
  let picture = [graph.add("LoadImage", { image: "input.png" }), 0];
  let mask = null;
  if (body.kind === "outpaint") {
    const margins = { left: body.left || 0, top: body.up || 0, right: body.right || 0, bottom: body.down || 0 };
    const padded = graph.add("ImagePadForOutpaint", { image: picture, ...margins, feathering: 40 });
    picture = [padded, 0];
    mask = [padded, 1];
  } else if (body.mask_id) mask = [graph.add("LoadImageMask", { image: "mask.png", channel: "red" }), 0];
  const encoded = graph.add("VAEEncode", { pixels: picture, vae: [loader, 2] });
  const latent = mask ? graph.add("SetLatentNoiseMask", { samples: [encoded, 0], mask }) : encoded;
  return { latent, denoise: body.kind === "outpaint" ? 0.7 + 0.3 * (body.creativity ?? 0.5) : (body.strength ?? 1) };
}

class Graph {
  nodes = {};

  add(type, inputs) {
    const id = String(Object.keys(this.nodes).length + 1);
    this.nodes[id] = { class_type: type, inputs };
    return id;
  }
}
