// One picture with its recipe and what can be done with it, above the gallery. Arrow keys go to its neighbours.
import { ApiError, call, imageOf } from "../api.js";
import { html, useEffect, useState } from "../lib.js";
import { dateTime, number, t } from "../i18n/index.js";
import { applyRecipe } from "../recipes/drop.js";
import { CodeDialog, canEnlarge, enlarge, useAsInput, vary } from "../playground/result.js";
import { nearestRatio } from "../playground/form.js";
import { navigate } from "../router.js";
import { options } from "../state/account.js";
import { Button, CopyButton, Empty, IconButton } from "../ui/controls.js";
import { Dialog } from "../ui/dialog.js";
import { Icon } from "../ui/icon.js";
import { favour, list, more, remove } from "./pictures.js";
import { TagsOfOne } from "./sorting.js";

/** A picture in full; `onGo(picture)` shows another. */
export function Detail({ id, onClose, onGo }) {
  const [found, setFound] = useState({ id: "", picture: null, recipe: null, gone: false });
  const { items } = list.value;
  const index = items.findIndex((picture) => picture.id === id);
  const inList = items[index];
  useEffect(() => {
    let wanted = true;
    const params = { picture_id: id };
    Promise.all([call("GET /api/gallery/{picture_id}", { params }), call("GET /api/gallery/{picture_id}/recipe", { params })]).then(
      ([picture, { recipe }]) => wanted && setFound({ id, picture, recipe, gone: false }),
      (error) => {
        if (!(error instanceof ApiError)) throw error;
        if (wanted) setFound({ id, picture: null, recipe: null, gone: true });
      },
    );
    if (index >= items.length - 3) more();
    return () => {
      wanted = false;
    };
  }, [id]);
  const keys = (event) => {
    if (event.target.matches("input, textarea, select, pre")) return;
    const to = { ArrowRight: index + 1, ArrowLeft: index - 1 }[event.key];
    if (to !== undefined && index >= 0 && items[to]) {
      event.preventDefault();
      onGo(items[to]);
    }
    if (event.key === "f" && inList) favour([id], !inList.favourite);
  };
  if (found.gone && found.id === id) {
    return html`<${Dialog} title=${t("gallery.gone")} onClose=${onClose}><${Empty} icon="circle-question-mark" title=${t("gallery.gone")}>${t("gallery.gone_text")}<//><//>`;
  }
  const picture = { ...(found.id === id ? found.picture : inList), ...(inList ? { favourite: inList.favourite } : {}) };
  if (!picture.id) return null;
  return html`<${Dialog} bare title=${picture.prompt || t("gallery.untitled")} onClose=${onClose} class="detail">
    <div class="detail-inside" onKeyDown=${keys}>
      <figure class="detail-picture">
        <img key=${id} src=${imageOf(id)} alt=${picture.prompt} width=${picture.width} height=${picture.height} />
        ${index > 0 && html`<${IconButton} class="detail-previous" label=${t("gallery.previous")} icon="chevron-left" size=${22} onClick=${() => onGo(items[index - 1])} />`}
        ${index >= 0 && items[index + 1] && html`<${IconButton} class="detail-next" label=${t("gallery.next")} icon="chevron-right" size=${22} onClick=${() => onGo(items[index + 1])} />`}
      </figure>
      <div class="detail-side">
        <div class="detail-head">
          <${IconButton} label=${t(picture.favourite ? "gallery.unfavour" : "gallery.favour")} icon="star" pressed=${picture.favourite} onClick=${() =>
            favour([id], !picture.favourite).then(() => setFound((before) => ({ ...before, picture: before.picture && { ...before.picture, favourite: !picture.favourite } })))} />
          <a class="icon-button" href=${imageOf(id)} download aria-label=${t("result.download")} title=${t("result.download")}><${Icon} name="download" /></a>
          <${IconButton} label=${t("gallery.delete")} icon="trash-2" onClick=${() => {
            onClose();
            remove([id]);
          }} />
          <span class="detail-gap" />
          <${IconButton} label=${t("dialog.close")} icon="x" onClick=${onClose} />
        </div>
        <${Recipe} picture=${picture} recipe=${found.id === id ? found.recipe : null} onClose=${onClose} onTags=${(tags) => setFound((before) => ({ ...before, picture: { ...before.picture, tags } }))} />
      </div>
    </div>
  <//>`;
}

function recipeFor(picture, recipe) {
  return {
    prompt: picture.prompt,
    negative: picture.negative_prompt,
    seed: String(picture.seed),
    steps: recipe?.steps ?? "",
    cfg: recipe?.cfg ?? "",
    width: recipe?.width || picture.width,
    height: recipe?.height || picture.height,
    model: picture.requested_model || picture.model,
    extra: [],
  };
}

function bodyFor(picture, recipe) {
  const body = { prompt: picture.prompt, model: picture.requested_model || options.value?.default_model, aspect_ratio: nearestRatio(picture.width, picture.height), seed: String(picture.seed) };
  if (picture.negative_prompt) body.negative_prompt = picture.negative_prompt;
  if (recipe?.cfg) body.cfg_scale = recipe.cfg;
  return body;
}

function Recipe({ picture, recipe, onClose, onTags }) {
  const [code, setCode] = useState(false);
  const isPainted = picture.kind === "generate" && Boolean(picture.prompt);
  const facts = [
    ["playground.negative", picture.negative_prompt],
    ["playground.model_used", picture.model],
    ["playground.seed", String(picture.seed ?? "")],
    ["playground.steps", recipe?.steps],
    ["playground.cfg", recipe?.cfg],
    ["gallery.sampler", recipe?.sampler],
    ["playground.strength", recipe?.image ? number(recipe.strength) : ""],
    ["gallery.size", `${picture.width} × ${picture.height}`],
    ["gallery.file", `${picture.media_type?.split("/")[1].toUpperCase()}, ${number(picture.size_bytes / 1024, 0)} kB`],
    ["gallery.price", `${number(picture.price || 0)}`],
    ["gallery.made", dateTime(picture.created_ms)],
  ];
  const go = (what) => {
    what();
    navigate("/");
  };
  return html`<div class="detail-recipe">
    <p class="detail-prompt">${picture.prompt || t("gallery.untitled")}</p>
    ${picture.prompt && html`<div><${CopyButton} text=${picture.prompt} label=${t("gallery.copy_prompt")} /></div>`}
    ${picture.filtered && html`<p class="soft">${t("result.filtered")}</p>`}
    <div class="detail-actions">
      ${isPainted && html`<${Button} kind="primary" icon="sparkles" onClick=${() => (onClose(), applyRecipe(recipeFor(picture, recipe)))}>${t("gallery.reuse")}<//>`}
      ${isPainted && html`<${Button} icon="shuffle" onClick=${() => go(() => vary(bodyFor(picture, recipe), picture))}>${t("result.vary")}<//>`}
      <${Button} icon="image-up" onClick=${() => go(() => useAsInput(picture))}>${t("result.use")}<//>
      ${canEnlarge(picture) && html`<${Button} icon="expand" onClick=${() => go(() => enlarge(picture, picture.prompt || t("gallery.untitled")))}>${t("result.enlarge_short")}<//>`}
      <a class="button button-plain" href=${`/comfy/?picture=${picture.id}`}><${Icon} name="workflow" /><span>${t("result.graph")}</span></a>
      ${isPainted && html`<${Button} icon="code" onClick=${() => setCode(true)}>${t("result.code")}<//>`}
    </div>
    <dl class="facts facts-two">
      ${facts.filter(([, value]) => value !== "" && value !== undefined && value !== null).map(([label, value]) => html`<div key=${label}><dt>${t(label)}</dt><dd>${String(value)}</dd></div>`)}
    </dl>
    ${recipe && html`<${TagsOfOne} key=${picture.id} picture=${picture} onChanged=${onTags} />`}
    ${code && html`<${CodeDialog} body=${bodyFor(picture, recipe)} onClose=${() => setCode(false)} />`}
  </div>`;
}
