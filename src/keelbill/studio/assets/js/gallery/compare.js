// Two pictures one above the other; a slider shows more of the one or of the other.
import { imageOf } from "../api.js";
import { html, useState } from "../lib.js";
import { t } from "../i18n/index.js";
import { Dialog } from "../ui/dialog.js";

/** The comparison of exactly two pictures. */
export function Compare({ pictures, onClose }) {
  const [part, setPart] = useState(50);
  const [first, second] = pictures;
  return html`<${Dialog} wide title=${t("compare.title")} onClose=${onClose} class="compare">
    <div class="compare-box" style=${{ aspectRatio: `${first.width} / ${first.height}` }}>
      <img src=${imageOf(second.id)} alt=${`${t("compare.second")}: ${second.prompt}`} />
      <img class="compare-top" src=${imageOf(first.id)} alt=${`${t("compare.first")}: ${first.prompt}`} style=${{ clipPath: `inset(0 ${100 - part}% 0 0)` }} />
      <span class="compare-line" style=${{ left: `${part}%` }} aria-hidden="true" />
      <input type="range" min="0" max="100" value=${part} aria-label=${t("compare.slider")} onInput=${(event) => setPart(Number(event.target.value))} />
    </div>
    <div class="compare-facts">
      ${[first, second].map(
        (picture, index) => html`<p key=${picture.id}><strong>${t(index ? "compare.second" : "compare.first")}</strong><span>${picture.prompt}</span><span class="soft">${picture.model} · ${t("playground.seed")} ${picture.seed}</span></p>`,
      )}
    </div>
  <//>`;
}
