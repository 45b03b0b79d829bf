// The pictures of the gallery as far as they are loaded: filtered, marked, deleted with a moment to think again.
import { ApiError, call, imageOf } from "../api.js";
import { signal } from "../lib.js";
import { t, tn } from "../i18n/index.js";
import { forgetPicture } from "../playground/runs.js";
import { loadRecent, recent } from "../state/account.js";
import { onLeave } from "../shell/leave.js";
import { toast } from "../state/toasts.js";

const PAGE = 100;
const DAY_MS = 86_400_000;
const THINK_MS = 7000;

/** What is loaded: {key, items, cursor, done, loading, error}. `key` names the filter. */
export const list = signal({ key: null, items: [], cursor: "", done: false, loading: false, error: null });

const doomed = new Set();
onLeave(() => {
  list.value = { key: null, items: [], cursor: "", done: false, loading: false, error: null };
});

function queryOf(filter) {
  const days = { today: 1, week: 7, month: 30, year: 365 }[filter.when];
  const from_ms = filter.when === "today" ? new Date().setHours(0, 0, 0, 0) : days ? Date.now() - days * DAY_MS : undefined;
  return { text: filter.text, model: filter.model, favourite: filter.favourite ? "true" : undefined, from_ms, limit: PAGE };
}

/** Show the pictures that fit a filter {text, model, favourite, when}, from the newest. */
export function show(filter, { again = false } = {}) {
  const key = JSON.stringify(filter);
  if (!again && list.peek().key === key && !list.peek().error) return;
  list.value = { key, filter, items: again ? list.peek().items : [], cursor: "", done: false, loading: false, error: null, fresh: true };
  more();
}

/** Load the next pictures, if there are more. */
export async function more() {
  const now = list.peek();
  if (now.loading || now.done || now.key === null) return;
  list.value = { ...now, loading: true, error: null };
  try {
    const page = await call("GET /api/gallery", { query: { ...queryOf(now.filter), cursor: now.cursor } });
    if (list.peek().key !== now.key) return;
    const items = now.fresh ? page.pictures : [...list.peek().items, ...page.pictures];
    const shown = items.filter((picture) => !doomed.has(picture.id));
    list.value = { ...list.peek(), items: shown, cursor: page.next_cursor, done: !page.next_cursor, loading: false, fresh: false };
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (list.peek().key === now.key) list.value = { ...list.peek(), loading: false, error };
  }
}

function change(id, values) {
  const swap = (items) => items.map((picture) => (picture.id === id ? { ...picture, ...values } : picture));
  list.value = { ...list.peek(), items: swap(list.peek().items) };
  if (recent.peek()) recent.value = swap(recent.peek());
}

/** Mark pictures as favourites, or no longer; shown at once, taken back if the server refuses. */
export async function favour(ids, favourite) {
  for (const id of ids) change(id, { favourite });
  for (const id of ids) {
    try {
      await call("PATCH /api/gallery/{picture_id}", { params: { picture_id: id }, body: { favourite } });
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      change(id, { favourite: !favourite });
      toast(error.message, { kind: "bad" });
    }
  }
}

/** Delete pictures; until the message is gone, they can be had back. */
export function remove(ids) {
  const before = list.peek();
  const gone = before.items.filter((picture) => ids.includes(picture.id));
  for (const id of ids) doomed.add(id);
  list.value = { ...before, items: before.items.filter((picture) => !doomed.has(picture.id)) };
  if (recent.peek()) recent.value = recent.peek().filter((picture) => !doomed.has(picture.id));
  let kept = false;
  const really = (keepalive) => {
    window.removeEventListener("pagehide", leaving);
    if (!kept) for (const id of ids) erase(id, keepalive);
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

async function erase(id, keepalive) {
  try {
    await call("DELETE /api/gallery/{picture_id}", { params: { picture_id: id }, keepalive });
    forgetPicture(id);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    doomed.delete(id);
    if (error.status !== 404) toast(error.message, { kind: "bad" });
  }
}

/** Save pictures one after the other. */
export async function download(pictures) {
  for (const picture of pictures) {
    const link = document.createElement("a");
    link.href = imageOf(picture.id);
    link.download = `${picture.id}.${picture.media_type === "image/jpeg" ? "jpg" : picture.media_type.split("/")[1]}`;
    link.target = "_self";
    link.click();
    await new Promise((done) => setTimeout(done, 250));
  }
}
