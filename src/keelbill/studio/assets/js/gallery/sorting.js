// Dialogs that sort pictures: into boards, with tags. Know ids only.
import { html, useState } from "../lib.js";
import { number } from "../i18n/index.js";
import { toast } from "../state/toasts.js";
import { Button, Note, TextField } from "../ui/controls.js";
import { Dialog } from "../ui/dialog.js";
import { Icon } from "../ui/icon.js";
import { boards, changeTags, makeBoard, putIntoBoard, tags, tagsIn } from "./boards.js";
import { say } from "./texts.js";

/** Choose a board for pictures, or make one for them. */
export function PutIntoBoard({ ids, onClose, onDone }) {
  const [name, setName] = useState("");
  const [problem, setProblem] = useState("");
  const put = async (board) => {
    try {
      const into = board || (await makeBoard(name));
      await putIntoBoard(into.id, ids);
      toast(say("boards.put_done", { name: into.name }), { kind: "good" });
      onDone();
      onClose();
    } catch (error) {
      setProblem(error.message);
    }
  };
  return html`<${Dialog} title=${say("boards.put_title")} onClose=${onClose}>
    <ul class="panel-list">
      ${(boards.value || []).map((one) => html`<li key=${one.id}><button type="button" class="panel-choice" onClick=${() => put(one)}><${Icon} name="folder" size=${16} /><span>${one.name}</span><span class="soft">${number(one.pictures)}</span></button></li>`)}
    </ul>
    <form class="form" onSubmit=${(event) => (event.preventDefault(), put(null))}>
      <${TextField} label=${say("boards.new")} maxlength="200" value=${name} onValue=${setName} />
      ${problem && html`<${Note} kind="bad">${problem}<//>`}
      <footer class="dialog-actions"><${Button} onClick=${onClose}>${say("cancel")}<//><${Button} kind="primary" icon="plus" type="submit" disabled=${!name.trim()}>${say("boards.make")}<//></footer>
    </form>
  <//>`;
}

/** Give tags to pictures, or take them away. */
export function TagMany({ ids, onClose, onDone }) {
  const [text, setText] = useState("");
  const [problem, setProblem] = useState("");
  const send = async (change) => {
    try {
      await changeTags(ids, change);
      onDone();
      onClose();
    } catch (error) {
      setProblem(error.message);
    }
  };
  const wanted = tagsIn(text);
  return html`<${Dialog} title=${say("tags.change_title")} onClose=${onClose}>
    <form class="form" onSubmit=${(event) => (event.preventDefault(), send({ add: wanted }))}>
      <${TextField} label=${say("tags.add")} hint=${say("tags.add_hint")} autofocus autocomplete="off" list="known-tags" value=${text} onValue=${setText} />
      <datalist id="known-tags">${(tags.value || []).map((one) => html`<option key=${one.tag} value=${one.tag} />`)}</datalist>
      ${problem && html`<${Note} kind="bad">${problem}<//>`}
      <footer class="dialog-actions">
        <${Button} onClick=${onClose}>${say("cancel")}<//>
        <${Button} disabled=${!wanted.length} onClick=${() => send({ remove: wanted })}>${say("tags.take")}<//>
        <${Button} kind="primary" icon="tag" type="submit" disabled=${!wanted.length}>${say("tags.give")}<//>
      </footer>
    </form>
  <//>`;
}

/** The tags of one picture, which may be added and removed. */
export function TagsOfOne({ picture, onChanged }) {
  const [text, setText] = useState("");
  const [problem, setProblem] = useState("");
  const change = async (wanted) => {
    try {
      await changeTags([picture.id], wanted);
      setProblem("");
      if (wanted.add) setText(""); // taking a tag away leaves what is being typed meanwhile
      const gone = new Set(wanted.remove || []);
      onChanged([...new Set([...picture.tags, ...(wanted.add || [])])].filter((tag) => !gone.has(tag)).sort());
    } catch (error) {
      setProblem(error.message);
    }
  };
  return html`<form class="tags-of-one" onSubmit=${(event) => (event.preventDefault(), tagsIn(text).length && change({ add: tagsIn(text) }))}>
    <ul class="tags">
      ${picture.tags.map((tag) => html`<li key=${tag}><button type="button" class="tag tag-own" aria-label=${say("tags.remove", { tag })} title=${say("tags.remove", { tag })} onClick=${() => change({ remove: [tag] })}>${tag}<${Icon} name="x" size=${12} /></button></li>`)}
    </ul>
    <${TextField} label=${say("tags.add")} autocomplete="off" maxlength="200" problem=${problem} value=${text} onValue=${setText} />
  </form>`;
}
