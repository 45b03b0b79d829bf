// A window above the page, and the stack of toasts. The browser keeps the focus inside and closes with Escape.
import { classes, html, useEffect, useId, useLayoutEffect, useRef } from "../lib.js";
import { t } from "../i18n/index.js";
import { toasts } from "../state/toasts.js";
import { IconButton } from "./controls.js";
import { Icon } from "./icon.js";

/** A dialog that is open while it is there. `wide` gives room; `bare` leaves out the head. */
export function Dialog({ title, onClose, children, actions, wide = false, bare = false, class: more }) {
  const element = useRef(null);
  const id = useId();
  // Before the page is drawn: what somebody types right after the key that opened it belongs inside.
  useLayoutEffect(() => {
    const before = document.activeElement;
    const opened = element.current;
    opened.showModal();
    return () => {
      opened.close(); // while it is open, nothing outside can have the focus
      if (before instanceof HTMLElement && before.isConnected) before.focus();
    };
  }, []);
  return html`<dialog
    ref=${element}
    class=${classes("dialog", wide && "dialog-wide", bare && "dialog-bare", more)}
    aria-labelledby=${bare ? undefined : id}
    aria-label=${bare ? title : undefined}
    onCancel=${(event) => {
      event.preventDefault();
      onClose();
    }}
    onMouseDown=${(event) => event.target === element.current && onClose()}
  >
    <div class="dialog-inside">
      ${!bare &&
      html`<header class="dialog-head">
        <h2 id=${id}>${title}</h2>
        <${IconButton} label=${t("dialog.close")} icon="x" onClick=${onClose} />
      </header>`}
      ${children} ${actions && html`<footer class="dialog-actions">${actions}</footer>`}
    </div>
  </dialog>`;
}

/** The messages that come and go, above everything. */
export function Toasts() {
  const box = useRef(null);
  const shown = toasts.value;
  useEffect(() => {
    // A popover is above open dialogs, too, where the browser knows popovers.
    if (!box.current?.showPopover) return;
    if (box.current.matches(":popover-open")) box.current.hidePopover();
    if (shown.length) box.current.showPopover();
  }, [shown]);
  return html`<div class="toasts" ref=${box} popover="manual" role="region" aria-label=${t("toasts.label")} aria-live="polite">
    ${shown.map(
      (one) =>
        html`<div key=${one.id} class=${`toast toast-${one.kind}`}>
          <${Icon} name=${{ info: "info", good: "check", bad: "circle-alert" }[one.kind]} />
          <p>${one.text}</p>
          ${one.action &&
          html`<button
            type="button"
            class="toast-action"
            onClick=${() => {
              one.action.run();
              one.remove();
            }}
          >
            ${one.action.label}
          </button>`}
          <${IconButton} label=${t("dialog.close")} icon="x" size=${16} onClick=${one.remove} />
        </div>`,
    )}
  </div>`;
}
