// Keeps the address and what is shown in step, without loading the page again. Knows no page.
import { signal } from "./lib.js";

/** Addresses of this server that are no pages of the studio. */
const ELSEWHERE = /^\/(api|studio|v1|v2beta|comfy)\//;

function here() {
  return { path: location.pathname, query: new URLSearchParams(location.search) };
}

/** Where we are: {path, query}. */
export const place = signal(here());

/** Go to an address of the studio. */
export function navigate(to, { replace = false } = {}) {
  const target = new URL(to, location.href);
  if (target.origin !== location.origin) return;
  if (ELSEWHERE.test(target.pathname)) {
    location[replace ? "replace" : "assign"](target.href);
    return;
  }
  const full = target.pathname + target.search + target.hash;
  if (full !== location.pathname + location.search + location.hash) {
    history[replace ? "replaceState" : "pushState"](null, "", full);
  }
  const moved = target.pathname !== place.peek().path;
  place.value = here();
  if (moved) window.scrollTo(0, 0);
}

/** Return the path to go to after signing in: one of ours, whatever the address says. */
export function returnPath() {
  const wanted = place.peek().query.get("next") || "/";
  if (!wanted.startsWith("/") || wanted.startsWith("//") || wanted.includes("\\")) return "/";
  const target = new URL(wanted, location.href);
  // "/..//host" is one of ours as it stands, but its path alone would name another host.
  return target.origin === location.origin && !target.pathname.startsWith("//") ? target.pathname + target.search : "/";
}

/** Match a pattern such as "/gallery/:id"; return its parts, or null. */
export function match(pattern, path) {
  const wanted = pattern.split("/");
  const given = path.replace(/\/$/, "").split("/");
  if (path === "/") given.splice(0, given.length, "", "");
  if (wanted.length !== given.length) return null;
  const parts = {};
  for (const [index, piece] of wanted.entries()) {
    if (piece.startsWith(":")) parts[piece.slice(1)] = decodeURIComponent(given[index]);
    else if (piece !== given[index]) return null;
  }
  return parts;
}

/** Take the token out of the address, so that it is neither seen nor shared; return it. */
export function takeToken() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token") || "";
  if (token) history.replaceState(null, "", location.pathname + location.search);
  return token;
}

window.addEventListener("popstate", () => {
  place.value = here();
});

// A link with a token that is opened where its page is open already.
window.addEventListener("hashchange", () => {
  if (location.hash.startsWith("#token=")) location.reload();
});

document.addEventListener("click", (event) => {
  if (event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const link = event.target instanceof Element && event.target.closest("a[href]");
  if (!link || link.target || link.hasAttribute("download") || link.origin !== location.origin) return;
  if (ELSEWHERE.test(link.pathname) || link.getAttribute("href").startsWith("#")) return;
  event.preventDefault();
  navigate(link.href);
});
