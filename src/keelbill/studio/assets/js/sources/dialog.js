// Asks for a picture: a file, or one of the newest pictures. Works with keys alone. Knows not what it is for.
import { thumbnailOf } from "../api.js";
import { html, useState } from "../lib.js";
import { t } from "../i18n/index.js";
import { recent } from "../state/account.js";
import { Button } from "../ui/controls.js";
import { Dialog } from "../ui/dialog.js";
import { bringPicture, chooseFile, question, uploadFile } from "./bring.js";

export { bringPicture };

/** The question, while it is open. */
export function SourceDialog() {
  const asked = question.value;
  const [busy, setBusy] = useState(false);
  if (!asked) return null;
  const pictures = recent.value || [];
  const take = async () => {
    const file = await chooseFile();
    if (!file) return;
    setBusy(true);
    const picture = await uploadFile(file);
    setBusy(false);
    if (picture) asked.answer(picture);
  };
  return html`<${Dialog} wide title=${t("source.title")} onClose=${() => asked.answer(null)}>
    <p class="soft">${t("source.text")}</p>
    <div><${Button} kind="primary" icon="upload" busy=${busy} onClick=${take}>${t("source.file")}<//></div>
    ${pictures.length > 0 &&
    html`<h3 class="label">${t("source.recent")}</h3>
      <ul class="source-pictures">
        ${pictures.map(
          (picture) => html`<li key=${picture.id}>
            <button type="button" aria-label=${picture.prompt || t("gallery.untitled")} onClick=${() => asked.answer({ id: picture.id, width: picture.width, height: picture.height })}>
              <img src=${thumbnailOf(picture.id)} alt="" loading="lazy" decoding="async" />
            </button>
          </li>`,
        )}
      </ul>`}
  <//>`;
}
