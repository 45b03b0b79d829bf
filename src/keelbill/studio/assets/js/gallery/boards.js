// Boards, tags and counts of the gallery as far as they are known; asked again when they change. Knows no page.
import { ApiError, call } from "../api.js";
import { signal } from "../lib.js";
import { onLeave } from "../shell/leave.js";
import { toast } from "../state/toasts.js";

/** Boards by name: {id, name, pictures}; null until they are there. */
export const boards = signal(null);

/** Tags: {tag, pictures}; null until they are there. */
export const tags = signal(null);

/** Counts: {total, models, sizes, keys, sources}; null until they are there. */
export const facets = signal(null);

/** Names of API keys by id; those that may not be read are missing. */
export const keyNames = signal(new Map());

onLeave(() => {
  boards.value = tags.value = facets.value = null;
  keyNames.value = new Map();
});

/** Ask for everything that the panel shows. */
export async function loadPanel() {
  const keys = call("GET /api/keys").catch(() => []);
  try {
    [boards.value, tags.value, facets.value] = await Promise.all([call("GET /api/gallery/albums"), call("GET /api/gallery/tags"), call("GET /api/gallery/facets")]);
    keyNames.value = new Map((await keys).map((key) => [key.id, key.name || key.stub]));
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    toast(error.message, { kind: "bad" });
  }
}

/** Make a board and return it. */
export async function makeBoard(name) {
  const made = await call("POST /api/gallery/albums", { body: { name } });
  await loadPanel();
  return made;
}

/** Give a board another name. */
export async function renameBoard(id, name) {
  await call("PATCH /api/gallery/albums/{album_id}", { params: { album_id: id }, body: { name } });
  await loadPanel();
}

/** Delete a board; its pictures stay. */
export async function deleteBoard(id) {
  await call("DELETE /api/gallery/albums/{album_id}", { params: { album_id: id } });
  await loadPanel();
}

const AT_ONCE = 200;

/** Put pictures into a board. */
export async function putIntoBoard(id, pictureIds) {
  for (let at = 0; at < pictureIds.length; at += AT_ONCE) {
    await call("POST /api/gallery/albums/{album_id}/pictures", { params: { album_id: id }, body: { picture_ids: pictureIds.slice(at, at + AT_ONCE) } });
  }
  await loadPanel();
}

/** Take pictures out of a board. */
export async function takeFromBoard(id, pictureIds) {
  for (const picture of pictureIds) {
    await call("DELETE /api/gallery/albums/{album_id}/pictures/{picture_id}", { params: { album_id: id, picture_id: picture } });
  }
  await loadPanel();
}

/** Change the tags of pictures. */
export async function changeTags(pictureIds, { add = [], remove = [] }) {
  await call("POST /api/gallery/changes", { body: { picture_ids: pictureIds, add_tags: add, remove_tags: remove } });
  await loadPanel();
}

/** Return tags in a line of text; commas part them. */
export function tagsIn(text) {
  return [...new Set(text.split(",").map((tag) => tag.trim().replace(/\s+/g, " ")).filter(Boolean))];
}
