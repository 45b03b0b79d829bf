// The card in the middle of the page, for signing in and the like.
import { ApiError } from "../api.js";
import { BASE, html, useState } from "../lib.js";
import { LANGUAGES, language, t } from "../i18n/index.js";
import { chosenLanguage } from "../state/preferences.js";
import { Note } from "../ui/controls.js";

/** A card with the name of the product, a title and what belongs to it. */
export function EntryFrame({ title, text, children, foot }) {
  return html`<div class="entry">
    <div class="entry-card">
      <img class="entry-mark" src=${`${BASE}/img/icon.svg`} width="44" height="44" alt="Keelbill" />
      <h1>${title}</h1>
      ${text && html`<p class="entry-text">${text}</p>`} ${children}
    </div>
    ${foot && html`<p class="entry-foot">${foot}</p>`}
    <p class="entry-languages">
      ${Object.entries(LANGUAGES).map(
        ([code, name]) =>
          html`<button key=${code} type="button" lang=${code} aria-pressed=${String(language.value === code)} onClick=${() => (chosenLanguage.value = code)}>${name}</button>`,
      )}
    </p>
  </div>`;
}

/** A form that is sent once at a time; its problem is shown above the button. `children` gets {busy}. */
export function EntryForm({ onSend, children }) {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");
  const send = async (event) => {
    event.preventDefault();
    if (busy) return;
    setBusy(true);
    setProblem("");
    try {
      await onSend();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      setProblem(sentence(error));
    } finally {
      setBusy(false);
    }
  };
  return html`<form class="entry-form" onSubmit=${send}>
    ${problem && html`<${Note} kind="bad">${problem}<//>`} ${children({ busy })}
  </form>`;
}

/** Return a problem as a sentence: without the field's name in front, with a full stop. */
export function sentence(error) {
  if (error.status === 429 && error.retryAfterS) return t("error.too_often", { n: error.retryAfterS });
  const text = error.problems.map((one) => one.replace(/^[a-z_.]+: /, "")).join(" ");
  const first = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(first) ? first : `${first}.`;
}
