// The gallery: search, filters, the grid, and above it one picture or two that are compared.
import { html, useEffect, useRef, useState } from "../lib.js";
import { t } from "../i18n/index.js";
import { chooseRecipeFile, useDroppedRecipe } from "../recipes/drop.js";
import { navigate, place } from "../router.js";
import { options } from "../state/account.js";
import { useCommands } from "../state/commands.js";
import { Button, Empty, IconButton } from "../ui/controls.js";
import { Dialog } from "../ui/dialog.js";
import { Icon } from "../ui/icon.js";
import { Detail } from "./detail.js";
import { Grid } from "./grid.js";
import { Panel } from "./panel.js";
import { list, more, show } from "./pictures.js";
import { Selection } from "./selection.js";
import { say } from "./texts.js";

const TYPING_MS = 250;

const WORDS = ["text", "model", "when", "album", "tag", "size", "key", "source"];
const PANEL = "keelbill.gallery.panel";

function filterIn(query) {
  return { ...Object.fromEntries(WORDS.map((name) => [name, query.get(name) || ""])), favourite: query.get("favourite") === "1" };
}

function addressOf(filter) {
  const query = new URLSearchParams();
  for (const name of WORDS) if (filter[name]) query.set(name, filter[name]);
  if (filter.favourite) query.set("favourite", "1");
  return `/gallery${query.size ? `?${query}` : ""}`;
}

function isWide() {
  return window.innerWidth >= 1000;
}

/** The page at /gallery and /gallery/:id. */
export function page({ parts }) {
  const filter = filterIn(place.value.query);
  const [selected, setSelected] = useState(new Set());
  const [selecting, setSelecting] = useState(false);
  const [panel, setPanel] = useState(() => isWide() && localStorage.getItem(PANEL) === "open");
  const [firstShown] = useState(() => list.peek().filter && parts.id);
  const isNew = useRef(true);
  useEffect(() => {
    const again = isNew.current && !parts.id; // what was shown before is asked for again when the page is opened
    isNew.current = false;
    if (!(firstShown && parts.id)) show(filter, { again });
  }, [JSON.stringify(filter)]);
  const { items, loading, done, error } = list.value;
  const chosen = selected.size ? items.filter((picture) => selected.has(picture.id)) : [];
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
  const togglePanel = () => {
    if (isWide()) localStorage.setItem(PANEL, panel ? "closed" : "open");
    setPanel(!panel);
  };
  const stop = () => {
    setSelected(new Set());
    setSelecting(false);
  };
  useCommands([
    { id: "gallery-search", title: () => t("gallery.search"), icon: "search", keys: "/", run: () => document.getElementById("gallery-search")?.focus() },
    { id: "gallery-panel", title: () => say("panel.show"), icon: "list-filter", keys: "b", run: togglePanel },
    { id: "gallery-read", title: () => t("gallery.read"), icon: "scan-search", run: chooseRecipeFile },
  ], [panel]);
  const drop = useDroppedRecipe();
  const isFiltered = filter.favourite || WORDS.some((name) => filter[name]);
  const side = html`<${Panel} filter=${filter} change=${change} />`;
  return html`<div class="gallery">
    <h1 class="out-of-sight">${t("page.gallery")}</h1>
    <${Bar} filter=${filter} change=${change} panel=${panel} onPanel=${togglePanel} selecting=${selecting} onSelect=${() => (selecting ? stop() : setSelecting(true))} />
    <div class=${panel && isWide() ? "gallery-body gallery-body-two" : "gallery-body"}>
      ${panel && isWide() && html`<aside class="gallery-panel" aria-label=${say("panel.title")}>${side}</aside>`}
      <div class="gallery-main">
        ${error
          ? html`<${Empty} icon="circle-alert" title=${t("gallery.failed")} actions=${html`<${Button} kind="primary" onClick=${more}>${t("error.again")}<//>`}>${error.message}<//>`
          : items.length || !done
            ? html`<${Grid} items=${items} loading=${loading} done=${done} selected=${selected} selecting=${selecting} onOpen=${open} onToggle=${toggle} onMore=${more} />`
            : isFiltered
              ? html`<${Empty} icon="search" title=${t("gallery.nothing")} actions=${html`<${Button} onClick=${() => navigate("/gallery")}>${t("gallery.clear")}<//>`}>${t("gallery.nothing_text")}<//>`
              : html`<${Empty} icon="image" title=${t("gallery.empty")} actions=${html`<a class="button button-primary" href="/">${t("gallery.create")}</a>`}>${t("gallery.empty_text")}<//>`}
      </div>
    </div>
    ${panel && !isWide() && html`<${Dialog} title=${say("panel.title")} onClose=${togglePanel}>${side}<//>`}
    ${selecting && html`<${Selection} chosen=${chosen} filter=${filter} onAll=${() => setSelected(new Set(items.map((one) => one.id)))} onStop=${stop} />`}
    ${parts.id && html`<${Detail} id=${parts.id} onClose=${() => navigate(`/gallery${location.search}`)} onGo=${(picture) => navigate(`/gallery/${picture.id}${location.search}`, { replace: true })} />`}
    ${drop}
  </div>`;
}

function Bar({ filter, change, panel, onPanel, selecting, onSelect }) {
  const [text, setText] = useState(filter.text);
  useEffect(() => setText(filter.text), [filter.text]);
  useEffect(() => {
    if (text === filter.text) return undefined;
    const timer = setTimeout(() => change({ text }), TYPING_MS);
    return () => clearTimeout(timer);
  }, [text]);
  const models = [...new Set((options.value?.models || []).map((model) => model.runs_on))];
  return html`<div class="gallery-bar">
    <${IconButton} label=${say("panel.show")} icon="list-filter" pressed=${panel} onClick=${onPanel} />
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
