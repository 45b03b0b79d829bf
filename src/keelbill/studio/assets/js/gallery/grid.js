// A grid of any number of pictures, of which only those in sight exist. Knows positions and keys, not what pictures are.
import { thumbnailOf } from "../api.js";
import { classes, html, useEffect, useLayoutEffect, useRef, useState } from "../lib.js";
import { t } from "../i18n/index.js";
import { Icon } from "../ui/icon.js";
import { favour, remove } from "./pictures.js";

const GAP = 12;
const WANTED = 208;
const WANTED_SMALL = 112;
const SPARE_SCREENS = 1.5;
const AHEAD_SCREENS = 6;

function shapeOf(width) {
  const wanted = width < 600 ? WANTED_SMALL : WANTED;
  const gap = width < 600 ? 4 : GAP;
  const columns = Math.max(2, Math.floor((width + gap) / (wanted + gap)));
  return { columns, gap, side: (width - gap * (columns - 1)) / columns };
}

/** The grid. `selected` holds ids; `onToggle(picture, until)` selects a range when `until` is an id. */
export function Grid({ items, loading, done, selected, selecting, onOpen, onToggle, onMore }) {
  const box = useRef(null);
  const [width, setWidth] = useState(0);
  const [rows, setRows] = useState([0, 12]);
  const [at, setAt] = useState(0);
  const lastToggled = useRef("");
  const { columns, gap, side } = shapeOf(width);
  const rowHeight = side + gap;
  const all = Math.ceil(items.length / columns);

  useLayoutEffect(() => {
    const measure = () => setWidth(box.current?.clientWidth || 0);
    measure();
    const watcher = new ResizeObserver(measure);
    watcher.observe(box.current);
    return () => watcher.disconnect();
  }, []);

  useEffect(() => {
    if (!width) return undefined;
    let waiting = 0;
    const look = () => {
      waiting = 0;
      const top = -box.current.getBoundingClientRect().top;
      const screen = Math.ceil(window.innerHeight / rowHeight);
      const spare = Math.ceil(screen * SPARE_SCREENS);
      const first = Math.max(0, Math.floor(top / rowHeight) - spare);
      const last = Math.ceil((top + window.innerHeight) / rowHeight) + spare;
      setRows((before) => (before[0] === first && before[1] === last ? before : [first, last]));
      if (last + screen * AHEAD_SCREENS > all && !done) onMore();
    };
    const later = () => {
      waiting ||= requestAnimationFrame(look);
    };
    look();
    window.addEventListener("scroll", later, { passive: true });
    window.addEventListener("resize", later);
    return () => {
      cancelAnimationFrame(waiting);
      window.removeEventListener("scroll", later);
      window.removeEventListener("resize", later);
    };
  }, [width, all, done, loading]);

  const first = rows[0] * columns;
  const shown = width ? items.slice(first, rows[1] * columns) : [];
  const current = Math.min(at, Math.max(items.length - 1, 0));
  const focus = (index) => {
    const to = Math.max(0, Math.min(items.length - 1, index));
    setAt(to);
    const row = Math.floor(to / columns);
    const top = box.current.getBoundingClientRect().top + row * rowHeight;
    if (top < 140) window.scrollBy(0, top - 140);
    else if (top + side > window.innerHeight - 80) window.scrollBy(0, top + side - window.innerHeight + 80);
    const tries = (left) => {
      const cell = box.current?.querySelector(`[data-index="${to}"] .cell-open`);
      if (cell) cell.focus({ preventScroll: true });
      else if (left) requestAnimationFrame(() => tries(left - 1));
    };
    tries(10);
  };
  const keys = (event) => {
    const picture = items[current];
    if (!picture || !event.target.closest(".cell")) return;
    const moves = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, Home: -current, End: items.length - 1 - current };
    if (event.key in moves) focus(current + moves[event.key]);
    else if (event.key === "f") favour([picture.id], !picture.favourite);
    else if (event.key === "x") onToggle(picture);
    else if (event.key === "Delete") {
      remove([picture.id]);
      focus(current);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  };
  const choose = (event, picture) => {
    if (event.shiftKey && lastToggled.current) onToggle(picture, lastToggled.current);
    else if (selecting || event.ctrlKey || event.metaKey) onToggle(picture);
    else {
      onOpen(picture);
      return;
    }
    lastToggled.current = picture.id;
  };
  const height = all * rowHeight - (all ? gap : 0);
  return html`<ul class=${classes("grid", selecting && "grid-selecting")} ref=${box} aria-label=${t("gallery.pictures")} style=${{ height: `${height}px` }} onKeyDown=${keys}>
    ${shown.map((picture, offset) => {
      const index = first + offset;
      const place = { width: `${side}px`, height: `${side}px`, transform: `translate(${(index % columns) * (side + gap)}px, ${Math.floor(index / columns) * rowHeight}px)` };
      const isSelected = selected.has(picture.id);
      return html`<li key=${picture.id} class=${classes("cell", isSelected && "cell-selected")} data-index=${index} style=${place}>
        <button type="button" class="cell-open" tabindex=${index === current ? 0 : -1} onFocus=${() => setAt(index)} onClick=${(event) => choose(event, picture)} aria-pressed=${selecting ? String(isSelected) : undefined} aria-label=${(selecting ? t("gallery.select_one", { prompt: picture.prompt || t("gallery.untitled") }) : picture.prompt || t("gallery.untitled"))}>
          <img src=${thumbnailOf(picture.id)} alt="" decoding="async" />
        </button>
        <button type="button" class="cell-star" tabindex="-1" aria-pressed=${String(picture.favourite)} aria-label=${t(picture.favourite ? "gallery.unfavour" : "gallery.favour")} onClick=${() => favour([picture.id], !picture.favourite)}>
          <${Icon} name="star" size=${16} />
        </button>
        ${selecting && html`<span class="cell-check" aria-hidden="true">${isSelected && html`<${Icon} name="check" size=${14} />`}</span>`}
      </li>`;
    })}
  </ul>
  ${(loading || !done) && html`<div class="grid-more" role="status"><span class="spinner" aria-hidden="true" /><span class="out-of-sight">${t("shell.loading")}</span></div>`}`;
}
