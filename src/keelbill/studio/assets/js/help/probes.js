// What each check asks and how it judges the answer: {state: "good" | "warn" | "bad", text, to?, toName?}. Knows no element.
import { session } from "../api.js";
import { day, number } from "../i18n/index.js";
import { say } from "./texts.js";

const SLOW_MS = 1500;
const SKEW_S = 60;
const WEEK_MS = 7 * 86_400_000;
const LONG_QUEUE_S = 60;

const good = (text) => ({ state: "good", text });
const warn = (text, toName = "", to = "") => ({ state: "warn", text, toName, to });
const bad = (text, toName = "", to = "") => ({ state: "bad", text, toName, to });

async function server(call) {
  const begun = performance.now();
  try {
    const { version } = await call("GET /healthz");
    const ms = Math.round(performance.now() - begun);
    return ms > SLOW_MS ? warn(say("check.server_slow", { ms: number(ms) })) : good(say("check.server_good", { ms: number(ms), version }));
  } catch (error) {
    return bad(say("check.server_bad", { problem: error.message }));
  }
}

async function ready() {
  const answer = await fetch("/readyz", { credentials: "omit" });
  const { failing, degraded } = await answer.json();
  const parts = [...failing, ...degraded];
  const way = session.peek()?.user.is_staff ? ["admin", "/admin"] : [];
  if (!parts.length) return good(say("check.ready_good"));
  return (failing.length ? bad : warn)(say("check.ready_bad", { parts: parts.join(", ") }), ...way);
}

async function queue(call) {
  const { queue: found, workers } = await call("GET /api/status");
  const values = { n: number(found.jobs), s: number(Math.ceil(found.wait_s)) };
  if (!workers && !found.running) return bad(say("check.queue_none"));
  return found.wait_s > LONG_QUEUE_S ? warn(say("check.queue_bad", values)) : good(say("check.queue_good", values));
}

async function credits(call) {
  const found = await call("GET /api/credits");
  if (found.is_unlimited) return good(say("check.credits_unlimited"));
  const values = { n: number(found.available) };
  return Number(found.available) < 5 ? warn(say("check.credits_low", values), "credits", "/billing") : good(say("check.credits_good", values));
}

async function rate(call) {
  const found = await call("GET /api/usage/limits");
  const values = { n: number(found.rate_remaining), limit: number(found.rate_limit) };
  return found.rate_remaining < found.rate_limit / 10 ? warn(say("check.rate_low", values), "usage", "/usage") : good(say("check.rate_good", values));
}

async function keys(call) {
  const active = (await call("GET /api/keys")).filter((key) => key.is_active);
  if (!active.length) return warn(say("check.keys_none"), "keys", "/keys");
  const soon = active.find((key) => key.expires_ms && key.expires_ms < Date.now() + WEEK_MS && !key.replaced_by);
  if (soon) return warn(say("check.keys_soon", { name: soon.name || soon.stub, day: day(soon.expires_ms) }), "keys", "/keys");
  return good(say("check.keys_good", { n: number(active.length) }));
}

async function jobs(call) {
  const { jobs: newest } = await call("GET /api/jobs", { query: { limit: 20 } });
  const failed = newest.filter((job) => job.state === "failed");
  if (!newest.length) return good(say("check.jobs_none"));
  if (!failed.length) return good(say("check.jobs_good", { n: newest.length }));
  return warn(say("check.jobs_bad", { bad: failed.length, n: newest.length, problem: failed[0].error?.message || failed[0].error_message || "–" }));
}

async function clock() {
  const answer = await fetch("/healthz", { credentials: "omit", cache: "no-store" });
  const date = Date.parse(answer.headers.get("date") || "");
  const s = Number.isNaN(date) ? 0 : Math.round(Math.abs(Date.now() - date) / 1000);
  return s > SKEW_S ? warn(say("check.clock_bad", { s: number(s) })) : good(say("check.clock_good", { s: number(s) }));
}

async function secure() {
  return window.isSecureContext ? good(say("check.secure_good")) : warn(say("check.secure_bad"));
}

async function browser() {
  const missing = [];
  try {
    localStorage.setItem("keelbill.check", "1");
    localStorage.removeItem("keelbill.check");
  } catch {
    missing.push("localStorage");
  }
  if (!("EventSource" in window)) missing.push("EventSource");
  if (!document.createElement("canvas").toDataURL("image/webp").startsWith("data:image/webp")) missing.push("WebP");
  if (!HTMLDialogElement.prototype.showModal) missing.push("dialog");
  return missing.length ? warn(say("check.browser_bad", { parts: missing.join(", ") })) : good(say("check.browser_good"));
}

/** Checks by name, in the order in which they are shown. */
export const CHECKS = { server, ready, queue, credits, rate, keys, jobs, clock, secure, browser };
