// The bar for pictures that are selected: compare, mark, sort, download, delete. Knows what can be done, not how.
import { html, useState } from "../lib.js";
import { t, tn } from "../i18n/index.js";
import { toast } from "../state/toasts.js";
import { Button, IconButton } from "../ui/controls.js";
import { takeFromBoard } from "./boards.js";
import { Compare } from "./compare.js";
import { PutIntoBoard, TagMany } from "./sorting.js";
import { MOST, download, favour, remove, show } from "./pictures.js";
import { say } from "./texts.js";

/** The bar; `chosen` are pictures, `onAll` selects what is loaded, `onStop` ends the selection. */
export function Selection({ chosen, filter, onAll, onStop }) {
  const [open, setOpen] = useState("");
  const [packing, setPacking] = useState(false);
  const ids = chosen.map((one) => one.id);
  const close = () => setOpen("");
  const limited = (work) => () => (ids.length > MOST ? toast(say("archive.too_many", { n: MOST }), { kind: "bad" }) : work());
  const pack = async () => {
    setPacking(true);
    await download(chosen);
    setPacking(false);
  };
  const takeOut = async () => {
    try {
      await takeFromBoard(filter.album, ids);
      show(filter, { again: true });
      onStop();
    } catch (error) {
      toast(error.message, { kind: "bad" });
    }
  };
  const none = !ids.length;
  return html`<div class="selection" role="region" aria-label=${t("gallery.select")}>
      <strong aria-live="polite">${tn("gallery.selected", ids.length)}</strong>
      <${IconButton} label=${say("select.all")} icon="square-check" onClick=${onAll} />
      <${Button} small icon="columns-2" disabled=${ids.length !== 2} onClick=${() => setOpen("compare")}>${t("gallery.compare")}<//>
      <${Button} small icon="star" disabled=${none} onClick=${limited(() => favour(ids, !chosen.every((one) => one.favourite)))}>${t("gallery.favourite")}<//>
      <${Button} small icon="folder" disabled=${none} onClick=${limited(() => setOpen("board"))}>${say("boards.put")}<//>
      ${filter.album && html`<${Button} small icon="minus" disabled=${none} onClick=${takeOut}>${say("boards.take")}<//>`}
      <${Button} small icon="tag" disabled=${none} onClick=${limited(() => setOpen("tags"))}>${say("tags.change")}<//>
      <${Button} small icon="download" busy=${packing} disabled=${none} onClick=${limited(pack)}>${t("result.download")}<//>
      <${Button} small kind="danger" icon="trash-2" disabled=${none} onClick=${limited(() => {
        remove(ids);
        onStop();
      })}>${t("gallery.delete")}<//>
      <${IconButton} label=${t("gallery.select_none")} icon="x" onClick=${onStop} />
    </div>
    ${open === "compare" && html`<${Compare} pictures=${chosen} onClose=${close} />`}
    ${open === "board" && html`<${PutIntoBoard} ids=${ids} onClose=${close} onDone=${onStop} />`}
    ${open === "tags" && html`<${TagMany} ids=${ids} onClose=${close} onDone=${onStop} />`}`;
}
