// Buttons, fields and notes. Know neither pages nor the API.
import { classes, html, useId, useRef, useState } from "../lib.js";
import { t } from "../i18n/index.js";
import { Icon } from "./icon.js";

/** A button. `kind` is "primary", "plain", "quiet" or "danger"; `busy` shows that it works. */
export function Button({ kind = "plain", icon, busy = false, small = false, children, class: more, ...rest }) {
  return html`<button
    type="button"
    ...${rest}
    class=${classes("button", `button-${kind}`, small && "button-small", more)}
    aria-busy=${busy ? "true" : undefined}
    disabled=${rest.disabled || busy}
  >
    ${busy ? html`<span class="spinner" aria-hidden="true" />` : icon && html`<${Icon} name=${icon} />`}
    ${children && html`<span>${children}</span>`}
  </button>`;
}

/** A button that is only an icon; its label is read out and shown on hover. */
export function IconButton({ label, icon, pressed, size, class: more, ...rest }) {
  return html`<button
    type="button"
    ...${rest}
    class=${classes("icon-button", more)}
    aria-label=${label}
    title=${label}
    aria-pressed=${pressed === undefined ? undefined : String(pressed)}
  >
    <${Icon} name=${icon} size=${size} />
  </button>`;
}

/** A field with its label, a hint and what is wrong with it. `children` is called with the control's attributes. */
export function Field({ label, hint, problem, optional, children }) {
  const id = useId();
  const told = [hint && `${id}-hint`, problem && `${id}-problem`].filter(Boolean).join(" ");
  return html`<div class=${classes("field", problem && "field-wrong")}>
    <label for=${id}>${label}${optional && html` <span class="soft">${t("form.optional")}</span>`}</label>
    ${children({ id, "aria-describedby": told || undefined, "aria-invalid": problem ? "true" : undefined })}
    ${hint && html`<p class="hint" id=${`${id}-hint`}>${hint}</p>`}
    ${problem && html`<p class="problem" id=${`${id}-problem`} role="alert">${problem}</p>`}
  </div>`;
}

/** A line of text to fill in. */
export function TextField({ label, hint, problem, optional, value, onValue, ...rest }) {
  return html`<${Field} label=${label} hint=${hint} problem=${problem} optional=${optional}>
    ${(given) =>
      html`<input
        type="text"
        ...${rest}
        ...${given}
        class="input"
        value=${value}
        onInput=${(event) => onValue(event.target.value)}
      />`}
  <//>`;
}

/** A password to fill in, which may be looked at. */
export function PasswordField({ label, hint, problem, value, onValue, ...rest }) {
  const [shown, setShown] = useState(false);
  return html`<${Field} label=${label} hint=${hint} problem=${problem}>
    ${(given) =>
      html`<span class="with-button">
        <input
          ...${rest}
          ...${given}
          class="input"
          type=${shown ? "text" : "password"}
          value=${value}
          onInput=${(event) => onValue(event.target.value)}
        />
        <${IconButton}
          label=${t(shown ? "form.hide_password" : "form.show_password")}
          icon=${shown ? "eye-off" : "eye"}
          pressed=${shown}
          onClick=${() => setShown(!shown)}
        />
      </span>`}
  <//>`;
}

/** One choice out of few, side by side. `choices` are [value, label] pairs. */
export function Segments({ label, name, value, choices, onValue }) {
  return html`<fieldset class="segments">
    <legend>${label}</legend>
    <div class="segments-row">
      ${choices.map(
        ([choice, text]) =>
          html`<label key=${choice}>
            <input type="radio" name=${name} checked=${choice === value} onChange=${() => onValue(choice)} />
            <span>${text}</span>
          </label>`,
      )}
    </div>
  </fieldset>`;
}

/** A slider with its value. */
export function Range({ label, value, onValue, min, max, step, shown, hint }) {
  return html`<${Field} label=${html`<span class="range-label">${label}<output>${shown ?? value}</output></span>`} hint=${hint}>
    ${(given) =>
      html`<input
        ...${given}
        class="range"
        type="range"
        min=${min}
        max=${max}
        step=${step}
        value=${value}
        onInput=${(event) => onValue(Number(event.target.value))}
      />`}
  <//>`;
}

/** A sentence that must not be missed. `kind` is "info", "good", "bad" or "warn". */
export function Note({ kind = "info", children, actions }) {
  const icon = { info: "info", good: "check", bad: "circle-alert", warn: "triangle-alert" }[kind];
  return html`<div class=${`note note-${kind}`} role=${kind === "bad" ? "alert" : "status"}>
    <${Icon} name=${icon} />
    <div class="note-text">${children}${actions && html`<div class="note-actions">${actions}</div>`}</div>
  </div>`;
}

/** What is shown where there is nothing yet. */
export function Empty({ icon, title, children, actions }) {
  return html`<div class="empty">
    <span class="empty-icon"><${Icon} name=${icon} size=${28} /></span>
    <h2>${title}</h2>
    ${children && html`<p>${children}</p>`} ${actions && html`<div class="empty-actions">${actions}</div>`}
  </div>`;
}

/** A button that copies text and says so. */
export function CopyButton({ text, label, small = true, kind = "plain" }) {
  const [done, setDone] = useState(false);
  const timer = useRef(0);
  const copy = async () => {
    await copyText(typeof text === "function" ? text() : text);
    setDone(true);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => setDone(false), 2000);
  };
  return html`<${Button} kind=${kind} small=${small} icon=${done ? "check" : "copy"} onClick=${copy}>
    ${done ? t("copy.done") : label || t("copy.copy")}
  <//>`;
}

/** Copy text; on plain HTTP browsers offer no clipboard, so an invisible field helps. */
export async function copyText(text) {
  if (navigator.clipboard && window.isSecureContext) {
    await navigator.clipboard.writeText(text);
    return;
  }
  const field = document.createElement("textarea");
  field.value = text;
  field.className = "out-of-sight";
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}
