// Brings pictures along: files are made fit and uploaded once, and are named by their id from then on. Knows no page.
import { ApiError, call, imageOf, uploadOf } from "../api.js";
import { signal } from "../lib.js";
import { t } from "../i18n/index.js";
import { toast } from "../state/toasts.js";

const FIT = new Set(["image/png", "image/jpeg", "image/webp"]);
const MAX_FILE_BYTES = 9 * 1024 * 1024;
const MAX_PIXELS = 4 * 1024 * 1024;
const MAX_SIDE = 4096;

/** The question that is open: {answer}, a function that takes a picture or null; or null. */
export const question = signal(null);

/** Let the person choose a picture; the promise gives {id, width, height, isUpload} or null. */
export function bringPicture() {
  return new Promise((resolve) => {
    question.value = {
      answer: (picture) => {
        question.value = null;
        resolve(picture);
      },
    };
  });
}

/** Let the person choose a file of this machine; the promise gives null if they do not. */
export function chooseFile() {
  return new Promise((resolve) => {
    const input = document.createElement("input");
    input.type = "file";
    input.accept = "image/*";
    input.addEventListener("change", () => resolve(input.files[0] || null));
    input.addEventListener("cancel", () => resolve(null));
    input.click();
  });
}

/** Upload a file and return the picture, or null after saying why not. */
export async function uploadFile(file) {
  try {
    return await upload(await madeFit(file), file.name);
  } catch (error) {
    if (error instanceof ApiError) toast(error.message, { kind: "bad" });
    else if (error instanceof DOMException || error instanceof TypeError) toast(t("source.no_picture", { name: file.name }), { kind: "bad" });
    else throw error;
    return null;
  }
}

/** Upload bytes as they are and return {id, width, height, isUpload, name}. */
export async function upload(blob, name = "") {
  const form = new FormData();
  form.append("image", blob, "input");
  const { id, width, height } = await call("POST /api/uploads", { form });
  return { id, width, height, isUpload: true, name };
}

/** Address of a picture of the gallery, or of an upload. */
export function picturesAddress(picture) {
  return picture.isUpload ? uploadOf(picture.id) : imageOf(picture.id);
}

/** Pictures that are too large, or of a kind that the server does not read, are drawn anew. */
async function madeFit(file) {
  const bitmap = await createImageBitmap(file);
  const { width, height } = bitmap;
  const scale = Math.min(1, Math.sqrt(MAX_PIXELS / (width * height)), MAX_SIDE / Math.max(width, height));
  if (scale === 1 && FIT.has(file.type) && file.size <= MAX_FILE_BYTES) {
    bitmap.close();
    return file;
  }
  const canvas = new OffscreenCanvas(Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale)));
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return canvas.convertToBlob({ type: file.type === "image/jpeg" ? "image/jpeg" : "image/webp", quality: 0.95 });
}
