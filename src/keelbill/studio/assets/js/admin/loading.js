// Loading for administrators: asks for the password when the server wants it, and again every few seconds. Knows no page.
import { html, useEffect, useRef } from "../lib.js";
import { Pending, useLoaded } from "../account/parts.js";
import { proven } from "../account/proof.js";
import { toast } from "../state/toasts.js";

/** As `useLoaded`; with `everyMs`, what is shown stays fresh while somebody looks. */
export function useProven(load, { needs = [], everyMs = 0 } = {}) {
  const state = useLoaded(() => proven(load), needs);
  const refused = useRef(false);
  refused.current = state.error?.status === 403; // who did not enter the password is not asked every few seconds
  useEffect(() => {
    if (!everyMs) return undefined;
    const timer = setInterval(() => {
      const isWatched = document.visibilityState === "visible" && !document.querySelector("dialog[open]");
      if (isWatched && !refused.current) state.reload();
    }, everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return state;
}

/** What is loaded, or that it is on its way, or why it is not there. */
export function Loaded({ state, children }) {
  return state.data ? children(state.data) : html`<${Pending} error=${state.error} reload=${state.reload} />`;
}

/** Do something and load again; a refusal becomes a message. Returns whether it was done. */
export async function act(work, reload, said = "") {
  try {
    await proven(work);
    if (said) toast(said, { kind: "good" });
    return true;
  } catch (error) {
    toast(error.message, { kind: "bad" });
    return false;
  } finally {
    reload();
  }
}
