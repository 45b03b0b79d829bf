// The gallery: search, filters, the grid, and above it one picture or two that are compared.
import { html, useEffect, useState } from "../lib.js";
import { t, tn } from "../i18n/index.js";
import { chooseRecipeFile, useDroppedRecipe } from "../recipes/drop.js";
import { navigate, place } from "../router.js";
import { options } from "../state/account.js";
import { useCommands } from "../state/commands.js";
import { Button, Empty, IconButton } from "../ui/controls.js";
import { Icon } from "../ui/icon.js";
import { Compare } from "./compare.js";
import { Detail } from "./detail.js";
import { Grid } from "./grid.js";
import { download, favour, list, more, remove, show } from "./pictures.js";

const TYPING_MS = 250;

function filterIn(query) {
  return { text: query.get("text") || "", model: query.get("model") || "", favourite: query.get("favourite") === "1", when: query.get("when") || "" };
}

function addressOf(filter) {
  const query = new URLSearchParams();
  for (const name of ["text", "model", "when"]) if (filter[name]) query.set(name, filter[name]);
  if (filter.favourite) query.set("favourite", "1");
  return `/gallery${query.size ? `?${query}` : ""}`;
}

/** The page at /gallery and /gallery/:id. */
export function page({ parts }) {
  const filter = filterIn(place.value.query);
  const [selected, setSelected] = useState(new Set());
  const [selecting, setSelecting] = useState(false);
  const [comparing, setComparing] = useState(null);
  const [firstShown] = useState(() => list.peek().filter && parts.id);
  useEffect(() => {
    if (!(firstShown && parts.id)) show(filter);
  }, [JSON.stringify(filter)]);
  useEffect(() => {
    if (!parts.id) show(filter, { again: true });
  }, []);
  const { items, loading, done, error } = list.value;
  const chosen = items.filter((picture) => selected.has(picture.id));
  const change = (values) => navigate(addressOf({ ...filter, ...values }), { replace: true });
  const open = (picture) => navigate(`/gallery/${picture.id}${location.search}`);
  const toggle = (picture, until) => {
    const next = new Set(selected);
    if (until) {
      const [from, to] = [items.findIndex((one) => one.id === until), items.indexOf(picture)].sort((a, b) => a - b);
      for (const one of items.slice(Math.max(from, 0), to + 1)) next.add(one.id);
    } else if (!next.delete(picture.id)) next.add(picture.id);
    setSelected(next);
    setSelecting(next.size > 0 || selecting);
  };
  const stop = () => {
    setSelected(new Set());
    setSelecting(false);
  };
  useCommands([
    { id: "gallery-search", title: () => t("gallery.search"), icon: "search", keys: "/", run: () => document.getElementById("gallery-search")?.focus() },
    { id: "gallery-read", title: () => t("gallery.read"), icon: "scan-search", run: chooseRecipeFile },
  ]);
  const drop = useDroppedRecipe();
  const isFiltered = filter.text || filter.model || filter.favourite || filter.when;
  return html`<div class="gallery">
    <h1 class="out-of-sight">${t("page.gallery")}</h1>
    <${Bar} filter=${filter} change=${change} selecting=${selecting} onSelect=${() => (selecting ? stop() : setSelecting(true))} />
    ${error
      ? html`<${Empty} icon="circle-alert" title=${t("gallery.failed")} actions=${html`<${Button} kind="primary" onClick=${more}>${t("error.again")}<//>`}>${error.message}<//>`
      : items.length || !done
        ? html`<${Grid} items=${items} loading=${loading} done=${done} selected=${selected} selecting=${selecting} onOpen=${open} onToggle=${toggle} onMore=${more} />`
        : isFiltered
          ? html`<${Empty} icon="search" title=${t("gallery.nothing")} actions=${html`<${Button} onClick=${() => navigate("/gallery")}>${t("gallery.clear")}<//>`}>${t("gallery.nothing_text")}<//>`
          : html`<${Empty} icon="image" title=${t("gallery.empty")} actions=${html`<a class="button button-primary" href="/">${t("gallery.create")}</a>`}>${t("gallery.empty_text")}<//>`}
    ${selecting &&
    html`<div class="selection" role="region" aria-label=${t("gallery.select")}>
      <strong aria-live="polite">${tn("gallery.selected", chosen.length)}</strong>
      <${Button} small icon="columns-2" disabled=${chosen.length !== 2} onClick=${() => setComparing(chosen)}>${t("gallery.compare")}<//>
      <${Button} small icon="star" disabled=${!chosen.length} onClick=${() => favour(chosen.map((one) => one.id), !chosen.every((one) => one.favourite))}>${t("gallery.favourite")}<//>
      <${Button} small icon="download" disabled=${!chosen.length} onClick=${() => download(chosen)}>${t("result.download")}<//>
      <${Button} small kind="danger" icon="trash-2" disabled=${!chosen.length} onClick=${() => {
        remove(chosen.map((one) => one.id));
        stop();
      }}>${t("gallery.delete")}<//>
      <${IconButton} label=${t("gallery.select_none")} icon="x" onClick=${stop} />
    </div>`}
    ${parts.id && html`<${Detail} id=${parts.id} onClose=${() => navigate(`/gallery${location.search}`)} onGo=${(picture) => navigate(`/gallery/${picture.id}${location.search}`, { replace: true })} />`}
    ${comparing && html`<${Compare} pictures=${comparing} onClose=${() => setComparing(null)} />`}
    ${drop}
  </div>`;
}

function Bar({ filter, change, selecting, onSelect }) {
  const [text, setText] = useState(filter.text);
  useEffect(() => setText(filter.text), [filter.text]);
  useEffect(() => {
    if (text === filter.text) return undefined;
    const timer = setTimeout(() => change({ text }), TYPING_MS);
    return () => clearTimeout(timer);
  }, [text]);
  const models = [...new Set((options.value?.models || []).map((model) => model.runs_on))];
  return html`<div class="gallery-bar">
    <label class="gallery-search">
      <${Icon} name="search" />
      <span class="out-of-sight">${t("gallery.search")}</span>
      <input id="gallery-search" class="input" type="search" autocomplete="off" placeholder=${t("gallery.search")} value=${text} onInput=${(event) => setText(event.target.value)} />
    </label>
    <div class="gallery-filters" role="group" aria-label=${t("gallery.filters")}>
      <select class="select" aria-label=${t("playground.model")} value=${filter.model} onChange=${(event) => change({ model: event.target.value })}>
        <option value="">${t("gallery.all_models")}</option>
        ${models.map((name) => html`<option key=${name} value=${name}>${name}</option>`)}
      </select>
      <select class="select" aria-label=${t("gallery.date")} value=${filter.when} onChange=${(event) => change({ when: event.target.value })}>
        <option value="">${t("gallery.any_time")}</option>
        ${["today", "week", "month", "year"].map((when) => html`<option key=${when} value=${when}>${t(`gallery.${when}`)}</option>`)}
      </select>
      <${IconButton} label=${t("gallery.favourites")} icon="star" pressed=${filter.favourite} onClick=${() => change({ favourite: !filter.favourite })} />
      <${IconButton} label=${t("gallery.select")} icon="square-check" pressed=${selecting} onClick=${onSelect} />
      <${IconButton} label=${t("gallery.read")} icon="scan-search" onClick=${chooseRecipeFile} />
    </div>
  </div>`;
}
