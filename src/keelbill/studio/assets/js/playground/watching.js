// Watches jobs until they end. Knows events, not what is shown of them.
//
// A browser opens six connections to a server at most, and each stream of events holds one. So two jobs at a time are
// watched live, and the rest by asking for the list every now and then.
import { call, parsed } from "../api.js";

const LIVE = 2;
const EVERY_MS = 1500;
const KINDS = ["queued", "started", "progress", "retrying", "succeeded", "failed", "cancelled"];
const LAST = new Set(["succeeded", "failed", "cancelled"]);

const watched = new Map(); // job id -> {tell, stream}
let timer = 0;

/**
 * Tell `tell(kind, facts)` what happens to a job until it has ended.
 * @param {string} id
 * @param {(kind: string, facts: object) => void} tell
 */
export function watch(id, tell) {
  watched.set(id, { tell, stream: null });
  arrange();
}

function arrange() {
  let live = [...watched.values()].filter((one) => one.stream).length;
  for (const [id, one] of watched) {
    if (one.stream || live >= LIVE) continue;
    open(id, one);
    live += 1;
  }
  if (watched.size > live && !timer) timer = setTimeout(ask, EVERY_MS);
}

function open(id, one) {
  one.stream = new EventSource(`/api/jobs/${id}/events`);
  for (const kind of KINDS) {
    one.stream.addEventListener(kind, (event) => say(id, kind, parsed(event.data)));
  }
  one.stream.onerror = () => {
    // The browser tries again by itself while the stream is only interrupted; a refusal ends it.
    if (one.stream?.readyState === EventSource.CLOSED) {
      one.stream = null;
      if (watched.has(id) && !timer) timer = setTimeout(ask, EVERY_MS);
    }
  };
}

function say(id, kind, facts) {
  const one = watched.get(id);
  if (!one) return;
  if (LAST.has(kind)) {
    one.stream?.close();
    watched.delete(id);
  }
  one.tell(kind, facts);
  if (LAST.has(kind)) arrange();
}

async function ask() {
  timer = 0;
  const page = await call("GET /api/jobs", { query: { limit: 100 } }).catch(() => null);
  if (page) {
    const found = new Map(page.jobs.map((job) => [job.id, job]));
    for (const [id, one] of watched) {
      if (one.stream) continue;
      const job = found.get(id) || (await call("GET /api/jobs/{job_id}", { params: { job_id: id } }).catch(() => null));
      if (job) say(id, ...eventOf(job));
      else say(id, "failed", { message: "" });
    }
  }
  arrange();
}

function eventOf(job) {
  if (job.state === "succeeded") return ["succeeded", job];
  if (job.state === "failed") return ["failed", { message: job.error?.message || "" }];
  if (job.state === "cancelled") return ["cancelled", {}];
  if (job.state === "queued") return ["queued", { position: job.position, estimate_ms: job.wait_estimate_ms }];
  return ["started", {}];
}
