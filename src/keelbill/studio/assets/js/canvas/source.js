// Which picture lies on the canvas. Small, because every page may open one there; the canvas itself comes later.
import { effect, signal } from "../lib.js";
import { navigate } from "../router.js";
import { onLeave } from "../shell/leave.js";

const KEY = "keelbill.canvas";

function kept() {
  try {
    return JSON.parse(sessionStorage.getItem(KEY) || "null");
  } catch {
    return null;
  }
}

/** The picture: {id, width, height, isUpload, name}, or null. */
export const source = signal(kept());

effect(() => {
  try {
    sessionStorage.setItem(KEY, JSON.stringify(source.value));
  } catch {
    // Without storage the canvas is empty after a reload.
  }
});
onLeave(() => {
  source.value = null;
});

/** Lay a picture on the canvas and go there. */
export function editPicture({ id, width, height, isUpload, name }) {
  source.value = { id, width, height, isUpload: Boolean(isUpload), name: name || "" };
  navigate("/canvas");
}
