// Pictures for buttons, from one file of symbols. Knows names only.
import { BASE, html } from "../lib.js";

const FILE = `${BASE}/vendor/icons.svg`;

/** An icon that says nothing to screen readers; the text beside it does. */
export function Icon({ name, size = 18 }) {
  return html`<svg class="icon" width=${size} height=${size} aria-hidden="true" focusable="false">
    <use href=${`${FILE}#${name}`} />
  </svg>`;
}
