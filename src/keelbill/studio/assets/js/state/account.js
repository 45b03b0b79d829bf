// What the server offers and what the account has: options, credits, recent pictures. Shared by header and pages.
import { call, session } from "../api.js";
import { computed, effect, signal } from "../lib.js";

/** The answer of GET /api/options; null until it is there. */
export const options = signal(null);

/** The answer of GET /api/credits; null until it is there. */
export const credits = signal(null);

/** The newest pictures, newest first; null until they are there. */
export const recent = signal(null);

/** The organisation for which the session acts. */
export const organisation = computed(
  () => session.value?.user.organizations.find((org) => org.is_default) || session.value?.user.organizations[0] || null,
);

/** Ask what the server offers. */
export async function loadOptions() {
  options.value = await call("GET /api/options");
}

/** Ask for the balance again; a failure leaves what is known. */
export async function loadCredits() {
  credits.value = await call("GET /api/credits").catch(() => credits.peek());
}

let loading = null;

/** Ask for the newest pictures again; calls that come while one runs wait for the next one together. */
export async function loadRecent() {
  if (loading) await loading.catch(() => {});
  loading ??= call("GET /api/gallery", { query: { limit: 40 } })
    .then((page) => {
      recent.value = page.pictures;
    })
    .finally(() => {
      loading = null;
    });
  return loading;
}

effect(() => {
  if (session.value?.user.id) {
    loadCredits();
  } else {
    credits.value = null;
    recent.value = null;
  }
});
