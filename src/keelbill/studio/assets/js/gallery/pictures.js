// The pictures of the gallery as far as they are loaded: filtered, marked, deleted with a moment to think again.
import { ApiError, call, imageOf } from "../api.js";
import { signal } from "../lib.js";
import { number, t, tn } from "../i18n/index.js";
import { forgetPicture } from "../playground/runs.js";
import { loadRecent, recent } from "../state/account.js";
import { onLeave } from "../shell/leave.js";
import { toast } from "../state/toasts.js";
import { say } from "./texts.js";

const FIRST_PAGE = 60;
const PAGE = 200;
const DAY_MS = 86_400_000;
const THINK_MS = 7000;

/** Pictures that may be changed at once. */
export const MOST = 500;

/** What is loaded: {key, items, cursor, done, loading, error}. `key` names the filter. */
export const list = signal({ key: null, items: [], cursor: "", done: false, loading: false, error: null });

const doomed = new Set();
onLeave(() => {
  list.value = { key: null, items: [], cursor: "", done: false, loading: false, error: null };
});

function queryOf(filter, cursor) {
  const days = { today: 1, week: 7, month: 30, year: 365 }[filter.when];
  const from_ms = filter.when === "today" ? new Date().setHours(0, 0, 0, 0) : days ? Date.now() - days * DAY_MS : undefined;
  const { text, model, album, tag, size, key, source } = filter;
  return { text, model, album, tag, size, key, source, favourite: filter.favourite ? "true" : undefined, from_ms, cursor, limit: cursor ? PAGE : FIRST_PAGE };
}

/** Show the pictures that fit a filter {text, model, favourite, when, album, tag, size, key, source}, from the newest. */
export function show(filter, { again = false } = {}) {
  const key = JSON.stringify(filter);
  if (!again && list.peek().key === key && !list.peek().error) return;
  const items = list.peek().key === key ? list.peek().items : [];
  list.value = { key, filter, items, cursor: "", done: false, loading: false, error: null, fresh: true };
  more();
}

/** Load the next pictures, if there are more. */
export async function more() {
  const now = list.peek();
  if (now.loading || now.done || now.key === null) return;
  list.value = { ...now, loading: true, error: null };
  try {
    const page = await call("GET /api/gallery", { query: queryOf(now.filter, now.cursor) });
    if (list.peek().key !== now.key) return;
    const came = page.pictures.filter((picture) => !doomed.has(picture.id));
    list.value = { ...list.peek(), items: now.fresh ? came : [...list.peek().items, ...came], cursor: page.next_cursor, done: !page.next_cursor, loading: false, fresh: false };
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (list.peek().key === now.key) list.value = { ...list.peek(), loading: false, error };
  }
}

function change(ids, values) {
  const wanted = new Set(ids);
  const swap = (items) => items.map((picture) => (wanted.has(picture.id) ? { ...picture, ...values } : picture));
  list.value = { ...list.peek(), items: swap(list.peek().items) };
  if (recent.peek()) recent.value = swap(recent.peek());
}

/** Mark pictures as favourites, or no longer; shown at once, taken back if the server refuses. */
export async function favour(ids, favourite) {
  change(ids, { favourite });
  try {
    await call("POST /api/gallery/changes", { body: { picture_ids: ids, favourite } });
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    change(ids, { favourite: !favourite });
    toast(error.message, { kind: "bad" });
  }
}

/** Delete pictures; until the message is gone, they can be had back. */
export function remove(ids) {
  const before = list.peek();
  for (const id of ids) doomed.add(id);
  const gone = before.items.filter((picture) => doomed.has(picture.id) && ids.includes(picture.id));
  list.value = { ...before, items: before.items.filter((picture) => !doomed.has(picture.id)) };
  if (recent.peek()) recent.value = recent.peek().filter((picture) => !doomed.has(picture.id));
  let kept = false;
  const really = (keepalive) => {
    window.removeEventListener("pagehide", leaving);
    if (!kept) erase(ids, keepalive);
  };
  const leaving = () => really(true);
  window.addEventListener("pagehide", leaving);
  toast(tn("gallery.deleted", ids.length), {
    lifeMs: THINK_MS,
    action: {
      label: t("gallery.undo"),
      run: () => {
        kept = true;
        for (const id of ids) doomed.delete(id);
        const now = list.peek();
        const items = [...now.items, ...(now.key === before.key ? gone : [])];
        list.value = { ...now, items: items.sort((a, b) => b.created_ms - a.created_ms || (a.id < b.id ? 1 : -1)) };
        loadRecent().catch(() => {});
      },
    },
    onGone: () => really(false),
  });
}

async function erase(ids, keepalive) {
  try {
    await call("POST /api/gallery/deletions", { body: { picture_ids: ids }, keepalive });
    for (const id of ids) forgetPicture(id);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    for (const id of ids) doomed.delete(id);
    toast(error.message, { kind: "bad" });
  }
}

/** Save one picture, or several as an archive with their recipes. */
export async function download(pictures) {
  if (pictures.length === 1) {
    const [picture] = pictures;
    saveFrom(imageOf(picture.id), `${picture.id}.${picture.media_type === "image/jpeg" ? "jpg" : picture.media_type.split("/")[1]}`);
    return;
  }
  const done = toast(say("archive.busy", { n: number(pictures.length) }), { lifeMs: 600_000 });
  try {
    const archive = await call("POST /api/gallery/archives", { body: { picture_ids: pictures.map((one) => one.id) }, as: "blob" });
    const url = URL.createObjectURL(archive);
    saveFrom(url, say("archive.name"));
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    toast(error.message, { kind: "bad" });
  } finally {
    done();
  }
}

function saveFrom(url, name) {
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.target = "_self";
  link.click();
}
