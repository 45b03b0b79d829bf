// The quickstart: a key, and the first call with it in several languages. Keeps the key in memory only.
import { call } from "../api.js";
import { html, signal, useState } from "../lib.js";
import { number } from "../i18n/index.js";
import { onLeave } from "../shell/leave.js";
import { options, organisation } from "../state/account.js";
import { Button, CopyButton, Note, TextField } from "../ui/controls.js";
import { Icon } from "../ui/icon.js";
import { EXAMPLES, exampleFor } from "./examples.js";
import { say } from "./texts.js";

const KEY = /^sk-[A-Za-z0-9]{48}$/;
const PLACEHOLDER = "sk-YOUR-KEY";
const key = signal("");
onLeave(() => {
  key.value = "";
});

/** The part of the page. */
export function Start() {
  const [shown, setShown] = useState("curl");
  const example = EXAMPLES[shown];
  const code = exampleFor(shown, location.origin, key.value || PLACEHOLDER);
  const price = options.value?.models.find((model) => model.name === options.value.default_model)?.price;
  return html`
    <${Key} />
    <section class="part">
      <div class="part-head"><h2>${say("start.code")}</h2></div>
      <div class="tabs" role="tablist" aria-label=${say("start.code_label")} onKeyDown=${(event) => walk(event, shown, setShown)}>
        ${Object.entries(EXAMPLES).map(([name, { title }]) => html`<button key=${name} type="button" role="tab" id=${`tab-${name}`} aria-controls="example" aria-selected=${String(name === shown)} tabindex=${name === shown ? 0 : -1} onClick=${() => setShown(name)}>${title}</button>`)}
      </div>
      <div class="example" id="example" role="tabpanel" aria-labelledby=${`tab-${shown}`}>
        ${example.install && html`<p class="hint">${say("start.install")} <code>${example.install}</code></p>`}
        <pre tabindex="0"><code>${code}</code></pre>
        <${CopyButton} text=${code} />
      </div>
      ${price && html`<p class="hint">${say("start.saves", { n: number(price) })}</p>`}
    </section>
    <section class="part">
      <div class="part-head"><h2>${say("start.next")}</h2></div>
      <ul class="cards">
        ${[["/help/reference", "book-open", "reference"], ["/usage", "activity", "usage"], ["/webhooks", "webhook", "hooks"]].map(
          ([to, icon, name]) => html`<li key=${to}><a class="card card-link" href=${to}><${Icon} name=${icon} /><span>${say(`start.next_${name}`)}</span></a></li>`,
        )}
      </ul>
    </section>
  `;
}

function walk(event, shown, setShown) {
  const names = Object.keys(EXAMPLES);
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const next = names[(names.indexOf(shown) + step + names.length) % names.length];
  setShown(next);
  document.getElementById(`tab-${next}`)?.focus();
}

function Key() {
  const [typed, setTyped] = useState("");
  const [state, setState] = useState({ busy: false, problem: "", made: false });
  const mayMake = ["owner", "admin", "member"].includes(organisation.value?.role);
  const make = async () => {
    setState({ busy: true, problem: "", made: false });
    try {
      key.value = (await call("POST /api/keys", { body: { name: "Quickstart" } })).secret;
      setTyped("");
      setState({ busy: false, problem: "", made: true });
    } catch (error) {
      setState({ busy: false, problem: error.message, made: false });
    }
  };
  const type = (text) => {
    setTyped(text);
    const found = text.trim();
    key.value = KEY.test(found) ? found : "";
    setState({ busy: false, problem: found && !KEY.test(found) ? say("start.key_wrong") : "", made: false });
  };
  return html`<section class="part">
    <div class="part-head"><div><h2>${say("start.key")}</h2><p class="soft">${say("start.key_text")}</p></div></div>
    ${state.made
      ? html`<${Note} kind="good" actions=${html`<a href="/keys">${say("start.keys")}</a>`}>${say("start.key_made")}<//>`
      : html`<div class="key-choice">
          ${mayMake && html`<${Button} kind="primary" icon="key" busy=${state.busy} onClick=${make}>${say("start.key_make")}<//>`}
          <${TextField} label=${say("start.key_paste")} problem=${state.problem} autocomplete="off" spellcheck="false" value=${typed} onValue=${type} />
        </div>`}
  </section>`;
}
