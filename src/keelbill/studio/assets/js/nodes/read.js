// Reads a file that may hold a workflow and asks the server what it lacks. Knows no element of the page.
import { call } from "../api.js";

const MAX_FILE_BYTES = 32 * 1024 * 1024;

/**
 * Return the classes that a file's workflow lacks.
 * @param {File} file JSON, or a picture that carries a workflow.
 * @returns {Promise<object[] | null>} Null if the file holds none.
 */
export async function missingIn(file) {
  if (file.size > MAX_FILE_BYTES) return null;
  if (file.type.startsWith("image/")) return call("POST /api/nodes/missing", { body: { picture: await base64(file) } });
  let workflow;
  try {
    workflow = JSON.parse((await file.text()).replace(/\bNaN\b/g, "null"));
  } catch {
    return null;
  }
  if (!workflow || typeof workflow !== "object" || Array.isArray(workflow)) return null;
  return call("POST /api/nodes/missing", { body: { workflow } });
}

/** Return which of some classes are not there, as for a workflow of these nodes only. */
export function missingOf(classes) {
  const workflow = Object.fromEntries(classes.map((name, index) => [String(index + 1), { class_type: name, inputs: {} }]));
  return call("POST /api/nodes/missing", { body: { workflow } });
}

async function base64(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(text);
}
