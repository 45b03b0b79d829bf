// The only way the studio talks to the server. Knows addresses' shape, the session's token and errors; no page.
import { signal } from "./lib.js";
import { t } from "./i18n/index.js";

/** The session: undefined while nobody knows, null when signed out, else {csrf_token, is_recent, user}. */
export const session = signal(undefined);

// A 401 of these says that the password is wrong, not that the session is over.
const ASK_PASSWORD = ["/api/sign-in", "/api/password/prove", "/api/password/change"];

/** What went wrong with a request. */
export class ApiError extends Error {
  /**
   * @param {number} status Of the answer; 0 without one.
   * @param {string} name Such as "payment_required".
   * @param {string[]} problems Sentences for people.
   * @param {number} retryAfterS Seconds to wait before the next try; 0 if the server names none.
   */
  constructor(status, name, problems, retryAfterS = 0) {
    super(problems.join(" "));
    this.status = status;
    this.name = name;
    this.problems = problems;
    this.retryAfterS = retryAfterS;
  }
}

/** Whole numbers that JavaScript would round (seeds have 64 bits) are read as text... */
export function parsed(text) {
  return JSON.parse(text.replace(/"seed":\s?(\d{16,})/g, '"seed":"$1"'));
}

/** ...and written as numbers again. */
export function written(body) {
  return JSON.stringify(body).replace(/"seed":"(\d+)"/g, '"seed":$1');
}

function address(path, params, query) {
  const filled = path.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(params[name]));
  const asked = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value === undefined || value === null || value === "") continue;
    for (const one of Array.isArray(value) ? value : [value]) asked.append(name, one);
  }
  const text = asked.toString();
  return text ? `${filled}?${text}` : filled;
}

/** Take the answer that boot.js has asked for already, if it has; a second request for the same goes to the server. */
function takeEarly(url) {
  const answer = window.keelbillEarly?.[url];
  if (answer) delete window.keelbillEarly[url];
  return answer;
}

async function send(method, url, { body, form, headers, signal: aborted, keepalive }) {
  const sent = { ...headers };
  if (method !== "GET" && session.peek()) sent["x-csrf-token"] = session.peek().csrf_token;
  if (body !== undefined) sent["content-type"] = "application/json";
  try {
    const early = method === "GET" && !headers ? takeEarly(url) : undefined;
    if (early) return await early;
    return await fetch(url, {
      method,
      headers: sent,
      body: form || (body === undefined ? undefined : written(body)),
      signal: aborted,
      keepalive,
      credentials: "same-origin",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "unreachable", [t("error.unreachable")]);
  }
}

async function failure(answer) {
  const retryAfterS = Number(answer.headers.get("retry-after")) || 0;
  try {
    const body = await answer.json();
    return new ApiError(answer.status, body.name || "", body.errors || [body.message || ""], retryAfterS);
  } catch {
    return new ApiError(answer.status, "", [t("error.unexpected", { status: answer.status })], retryAfterS);
  }
}

/**
 * Call an operation of the API and return its answer.
 * @template {keyof Api.Answers} Operation
 * @param {Operation} operation As in the OpenAPI document: "GET /api/jobs/{job_id}".
 * @param {{params?: object, query?: object, body?: object, form?: FormData, headers?: object, as?: "json" | "blob",
 *          signal?: AbortSignal, keepalive?: boolean}} [options]
 * @returns {Promise<Api.Answers[Operation]>} Types are written from the OpenAPI document: `studio/api.d.ts`.
 * @throws {ApiError} The server refused, or cannot be reached.
 */
export async function call(operation, { params = {}, query = {}, as = "json", ...rest } = {}) {
  const [method, path] = operation.split(" ");
  const url = address(path, params, query);
  let answer = await send(method, url, rest);
  if (answer.status === 403 && method !== "GET" && session.peek()) {
    const problem = await failure(answer.clone());
    if (problem.message.includes("x-csrf-token") && (await loadSession())) answer = await send(method, url, rest);
  }
  if (!answer.ok) {
    const problem = await failure(answer);
    if (answer.status === 401 && session.peek() && !ASK_PASSWORD.includes(path)) session.value = null;
    throw problem;
  }
  if (answer.status === 204) return null;
  if (as === "blob") return answer.blob();
  const found = parsed(await answer.text());
  if (found && typeof found === "object" && "csrf_token" in found) session.value = found;
  return found;
}

/** Ask who is signed in here, and return the session or null. */
export async function loadSession() {
  try {
    return await call("GET /api/session");
  } catch (error) {
    if (error instanceof ApiError && (error.status === 401 || error.status === 403)) session.value = null;
    else throw error;
    return null;
  }
}

/** Return a random name for a request, so that a retry is not a second request. */
export function requestName() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Address of a picture's small form. */
export function thumbnailOf(id) {
  return `/api/gallery/${encodeURIComponent(id)}/thumbnail`;
}

/** Address of a picture's file. */
export function imageOf(id) {
  return `/api/gallery/${encodeURIComponent(id)}/image`;
}

/** Address of an uploaded picture's file. */
export function uploadOf(id) {
  return `/api/uploads/${encodeURIComponent(id)}/image`;
}
