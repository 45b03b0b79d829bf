// The panel beside the grid: boards, tags and facets. On small screens it is a dialog. Knows no pictures.
import { html, useEffect, useState } from "../lib.js";
import { number } from "../i18n/index.js";
import { Button, Field, IconButton, Note, TextField } from "../ui/controls.js";
import { Dialog } from "../ui/dialog.js";
import { Icon } from "../ui/icon.js";
import { boards, deleteBoard, facets, keyNames, loadPanel, makeBoard, renameBoard, tags } from "./boards.js";
import { say } from "./texts.js";

/** The panel; `change` changes the filter. */
export function Panel({ filter, change }) {
  const [asked, setAsked] = useState(null);
  useEffect(() => {
    loadPanel();
  }, []);
  const close = () => setAsked(null);
  const isNarrowed = ["album", "tag", "size", "source", "key", "model", "when"].some((name) => filter[name]) || filter.favourite;
  const board = boards.value?.find((one) => one.id === filter.album);
  return html`<div class="panel-inside">
    <section aria-labelledby="boards-title">
      <div class="panel-head"><h2 id="boards-title">${say("boards.title")}</h2><${IconButton} label=${say("boards.new")} icon="plus" onClick=${() => setAsked("new")} /></div>
      <ul class="panel-list">
        <li><${Choice} icon="images" text=${say("boards.all")} count=${facets.value?.total} chosen=${!filter.album} onClick=${() => change({ album: "" })} /></li>
        ${(boards.value || []).map((one) => html`<li key=${one.id}><${Choice} icon="folder" text=${one.name} count=${one.pictures} chosen=${one.id === filter.album} onClick=${() => change({ album: one.id })} /></li>`)}
      </ul>
      ${boards.value?.length === 0 && html`<p class="hint">${say("boards.none")}</p>`}
      ${board && html`<div class="row"><${Button} small kind="quiet" icon="pencil" onClick=${() => setAsked("rename")}>${say("boards.rename")}<//><${Button} small kind="quiet" icon="trash-2" onClick=${() => setAsked("delete")}>${say("boards.delete")}<//></div>`}
    </section>
    <section aria-labelledby="tags-title">
      <div class="panel-head"><h2 id="tags-title">${say("tags.title")}</h2></div>
      ${tags.value?.length === 0 && html`<p class="hint">${say("tags.none")}</p>`}
      <ul class="tags">
        ${(tags.value || []).map((one) => html`<li key=${one.tag}><button type="button" class="tag" aria-pressed=${String(one.tag === filter.tag)} onClick=${() => change({ tag: one.tag === filter.tag ? "" : one.tag })}>${one.tag} <span>${number(one.pictures)}</span></button></li>`)}
      </ul>
    </section>
    <section class="panel-facets">
      <${Facet} label=${say("facet.size")} value=${filter.size} counts=${facets.value?.sizes} text=${(value) => value.replace("x", " × ")} onValue=${(size) => change({ size })} />
      <${Facet} label=${say("facet.source")} value=${filter.source} counts=${facets.value?.sources} text=${(value) => say(`source.${value}`)} onValue=${(source) => change({ source })} />
      <${Facet} label=${say("facet.key")} value=${filter.key} counts=${facets.value?.keys} text=${(id) => keyNames.value.get(id) || say("facet.deleted_key", { id: id.slice(-6) })} onValue=${(key) => change({ key })} />
      ${isNarrowed && html`<${Button} small icon="x" onClick=${() => change({ album: "", tag: "", size: "", source: "", key: "", model: "", when: "", favourite: false })}>${say("clear")}<//>`}
    </section>
    ${asked === "new" && html`<${BoardName} title=${say("boards.new")} action=${say("boards.make")} onClose=${close} onSend=${async (name) => change({ album: (await makeBoard(name)).id })} />`}
    ${asked === "rename" && html`<${BoardName} title=${say("boards.rename")} action=${say("save")} first=${board.name} onClose=${close} onSend=${(name) => renameBoard(board.id, name)} />`}
    ${asked === "delete" &&
    board &&
    html`<${Dialog} title=${say("boards.delete_title", { name: board.name })} onClose=${close}
      actions=${html`<${Button} onClick=${close}>${say("cancel")}<//><${Button} kind="danger" onClick=${async () => {
        close();
        await deleteBoard(board.id);
        change({ album: "" });
      }}>${say("boards.delete")}<//>`}><p>${say("boards.delete_text")}</p><//>`}
  </div>`;
}

function Choice({ icon, text, count, chosen, onClick }) {
  return html`<button type="button" class="panel-choice" aria-current=${chosen ? "true" : undefined} onClick=${onClick}>
    <${Icon} name=${icon} size=${16} /><span>${text}</span>${count !== undefined && html`<span class="soft">${number(count)}</span>`}
  </button>`;
}

function Facet({ label, value, counts, text, onValue }) {
  if (!counts || (counts.length < 2 && !value)) return null;
  return html`<${Field} label=${label}>${(given) => html`<select ...${given} class="select" value=${value} onChange=${(event) => onValue(event.target.value)}>
    <option value="">${say("facet.any")}</option>
    ${counts.slice(0, 100).map((one) => html`<option key=${one.value} value=${one.value}>${text(one.value)} (${number(one.pictures)})</option>`)}
  </select>`}<//>`;
}

/** The question for a board's name. */
export function BoardName({ title, action, first = "", onClose, onSend }) {
  const [name, setName] = useState(first);
  const [state, setState] = useState({ busy: false, problem: "" });
  const submit = async (event) => {
    event.preventDefault();
    setState({ busy: true, problem: "" });
    try {
      await onSend(name);
      onClose();
    } catch (error) {
      setState({ busy: false, problem: error.message });
    }
  };
  return html`<${Dialog} title=${title} onClose=${onClose}>
    <form class="form" onSubmit=${submit}>
      <${TextField} label=${say("boards.name")} required autofocus maxlength="200" value=${name} onValue=${setName} />
      ${state.problem && html`<${Note} kind="bad">${state.problem}<//>`}
      <footer class="dialog-actions"><${Button} onClick=${onClose}>${say("cancel")}<//><${Button} kind="primary" type="submit" busy=${state.busy} disabled=${!name.trim()}>${action}<//></footer>
    </form>
  <//>`;
}
