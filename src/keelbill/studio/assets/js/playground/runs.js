// Runs: pictures that were asked for together, and how far each is. Watches them; knows no element of the page.
import { ApiError, call, requestName } from "../api.js";
import { effect, signal } from "../lib.js";
import { onLeave } from "../shell/leave.js";
import { loadCredits, loadRecent, recent } from "../state/account.js";
import { watch } from "./watching.js";

const KEY = "keelbill.runs";
const KEPT = 24;

/**
 * All runs, newest first: {id, at, body, label, jobs}. Each job is a signal of {key, id, state, step, total, preview,
 * position, waitMs, startedAt, error, pictureId, ...}; `state` is one of sending, queued, running, succeeded, failed,
 * cancelled.
 */
export const runs = signal(restored());

export const ENDED = new Set(["succeeded", "failed", "cancelled"]);

function restored() {
  try {
    const found = JSON.parse(sessionStorage.getItem(KEY) || "[]");
    return found.map((run) => ({ ...run, jobs: run.jobs.map((job) => signal(job)) }));
  } catch {
    return [];
  }
}

effect(() => {
  const kept = runs.value.slice(0, KEPT).map((run) => ({
    ...run,
    jobs: run.jobs.map((job) => ({ ...job.value, preview: "" })).filter((job) => job.id),
  }));
  try {
    sessionStorage.setItem(KEY, JSON.stringify(kept.filter((run) => run.jobs.length)));
  } catch {
    // Without storage a reload forgets the runs; the gallery has the pictures.
  }
});
onLeave(() => {
  runs.value = [];
});

function change(job, values) {
  job.value = { ...job.peek(), ...values };
}

/** Watch again what was running when the page was left. */
export function resume() {
  for (const run of runs.peek()) {
    for (const job of run.jobs) if (!ENDED.has(job.peek().state)) follow(job);
  }
}

/**
 * Ask for pictures. The promise ends when all are taken in; what the server refuses is thrown, unless some were taken.
 * @param {string} operation "POST /api/jobs" or "POST /api/enlargements".
 * @param {object[]} bodies One for each picture.
 * @param {{label?: string, width: number, height: number, files?: {name: string, href: string}[]}} shown
 *   `files` are the pictures that the bodies name by id, for people who run the code of a picture.
 */
export async function begin(operation, bodies, shown) {
  const jobs = bodies.map((body, index) =>
    signal({ key: index, id: "", state: "sending", seed: body.seed, width: shown.width, height: shown.height, startedAt: 0 }),
  );
  const run = { id: requestName(), at: Date.now(), operation, body: bodies[0], label: shown.label || bodies[0].prompt, files: shown.files || [], jobs };
  runs.value = [run, ...runs.peek()];
  let refusal = null;
  for (const [index, body] of bodies.entries()) {
    if (refusal) {
      change(jobs[index], { state: "failed", error: refusal.problems?.[0] || refusal.message });
      continue;
    }
    try {
      const made = await call(operation, { body, headers: { "idempotency-key": requestName() } });
      change(jobs[index], { id: made.id, state: jobs[index].peek().unwanted ? "cancelled" : "queued" });
      if (jobs[index].peek().unwanted) call("DELETE /api/jobs/{job_id}", { params: { job_id: made.id } });
      else follow(jobs[index]);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      refusal = error;
      change(jobs[index], { state: "failed", error: error.problems[0] || error.message });
    }
  }
  loadCredits();
  if (refusal && jobs.every((job) => !job.peek().id)) {
    runs.value = runs.peek().filter((one) => one !== run);
    throw refusal;
  }
  return run;
}

function follow(job) {
  watch(job.peek().id, (kind, facts) => {
    if (ENDED.has(job.peek().state)) return;
    if (kind === "queued") change(job, { state: "queued", position: facts.position, waitMs: facts.estimate_ms });
    if (kind === "started") change(job, { state: "running", startedAt: job.peek().startedAt || Date.now(), step: 0, total: 0 });
    if (kind === "retrying") change(job, { state: "queued", position: null, step: 0, preview: "", startedAt: 0 });
    if (kind === "progress") {
      const preview = facts.preview ? `data:image/jpeg;base64,${facts.preview}` : job.peek().preview;
      change(job, { state: "running", step: facts.step, total: facts.total, preview, startedAt: job.peek().startedAt || Date.now() });
    }
    if (kind === "failed") change(job, { state: "failed", error: facts.message });
    if (kind === "cancelled") change(job, { state: "cancelled" });
    if (kind === "succeeded") {
      const { width, height, seed, model, filtered } = facts;
      change(job, { state: "succeeded", width, height, seed: String(seed), model, filtered });
      find(job);
    }
    if (ENDED.has(job.peek().state)) loadCredits();
  });
}

/** Find the picture of a finished job in the gallery. */
async function find(job) {
  const mine = () => recent.peek()?.find((picture) => picture.job_id === job.peek().id);
  for (let tries = 0; tries < 3 && !mine(); tries++) await loadRecent().catch(() => {});
  if (mine()) change(job, { pictureId: mine().id });
}

/** Make one picture no longer. */
export async function cancel(job) {
  const { id } = job.peek();
  if (!id) {
    change(job, { unwanted: true });
    return;
  }
  const answer = await call("DELETE /api/jobs/{job_id}", { params: { job_id: id } });
  if (answer.cancelled) change(job, { state: "cancelled" });
  loadCredits();
}

/** Make none of a run's pictures any longer. */
export function cancelRun(run) {
  return Promise.all(run.jobs.filter((job) => !ENDED.has(job.peek().state)).map(cancel));
}

/** Take a run out of the list; its pictures stay in the gallery. */
export function dismiss(run) {
  runs.value = runs.peek().filter((one) => one !== run);
}

/** A picture is gone: show it no longer. */
export function forgetPicture(id) {
  for (const run of runs.peek()) {
    for (const job of run.jobs) if (job.peek().pictureId === id) change(job, { pictureId: "", deleted: true });
  }
}
