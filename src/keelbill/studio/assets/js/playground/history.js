// The strip of the newest pictures. Knows small forms only.
import { thumbnailOf } from "../api.js";
import { html } from "../lib.js";
import { t } from "../i18n/index.js";
import { recent } from "../state/account.js";
import { Icon } from "../ui/icon.js";

/** The strip; each picture leads to its page in the gallery. */
export function History() {
  const found = recent.value;
  if (!found?.length) return null;
  return html`<aside class="history" aria-label=${t("history.label")}>
    <div class="history-head">
      <h2>${t("history.label")}</h2>
      <a href="/gallery">${t("history.all")}<${Icon} name="arrow-right" size=${16} /></a>
    </div>
    <ul>
      ${found.map(
        (picture) =>
          html`<li key=${picture.id}><a href=${`/gallery/${picture.id}`}><img src=${thumbnailOf(picture.id)} alt=${picture.prompt || t("gallery.untitled")} loading="lazy" decoding="async" /></a></li>`,
      )}
    </ul>
  </aside>`;
}
