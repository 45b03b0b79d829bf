// The page of API keys: made, shown once, replaced, ended. Knows nothing of what keys are used for.
import { call } from "../api.js";
import { html, useState } from "../lib.js";
import { dateTime, number } from "../i18n/index.js";
import { Button, CopyButton, Empty, Field, Note, TextField } from "../ui/controls.js";
import { Dialog } from "../ui/dialog.js";
import { CAPS, capsText } from "./caps.js";
import { AccountPage, Pending, Table, useLoaded } from "./parts.js";
import { say } from "./texts.js";

const SCOPES = ["generate", "edit", "upscale", "graph", "history:read", "account:read", "keys:write"];
const DAY_MS = 86_400_000;

export function page() {
  const { data, error, reload } = useLoaded(() => call("GET /api/keys"));
  const [open, setOpen] = useState(null);
  const close = () => setOpen(null);
  const made = (answer) => {
    reload();
    setOpen({ what: "secret", made: answer });
  };
  const create = html`<${Button} kind="primary" icon="plus" onClick=${() => setOpen({ what: "new" })}>${say("keys.create")}<//>`;
  return html`<${AccountPage} title=${say("keys.title")} lead=${say("keys.lead")} actions=${data?.length > 0 && create}>
    ${error || !data
      ? html`<${Pending} error=${error} reload=${reload} />`
      : data.length
        ? html`<${Keys} keys=${data} onOpen=${setOpen} />`
        : html`<${Empty} icon="key" title=${say("keys.none")} actions=${create}>${say("keys.none_text")}<//>`}
    ${open?.what === "new" && html`<${KeyForm} onClose=${close} onMade=${made} />`}
    ${open?.what === "edit" && html`<${KeyForm} chosen=${open.chosen} onClose=${close} onMade=${() => (reload(), close())} />`}
    ${open?.what === "secret" && html`<${Secret} made=${open.made} onClose=${close} />`}
    ${open?.what === "rotate" && html`<${Rotate} chosen=${open.chosen} onClose=${close} onMade=${made} />`}
    ${open?.what === "revoke" && html`<${Revoke} chosen=${open.chosen} onClose=${close} onDone=${reload} />`}
  <//>`;
}

function stateOf(key) {
  if (key.revoked_ms) return "revoked";
  if (!key.is_active) return "expired";
  return key.replaced_by ? "replaced" : "active";
}

function Keys({ keys, onOpen }) {
  const columns = ["name", "scopes", "caps", "used", "expires", "state", "actions"].map((name) => [say(`keys.${name}`)]);
  return html`<${Table} label=${say("keys.title")} columns=${columns}>
    ${keys.map((key) => {
      const state = stateOf(key);
      return html`<tr key=${key.id} class=${key.is_active ? "" : "row-over"}>
        <th scope="row"><span class="cell-name">${key.name || say("keys.unnamed")}</span><code class="soft">${key.stub}</code></th>
        <td>${key.scopes.join(", ")}</td>
        <td>${capsText(key.caps)}${key.rate_limit && html`<br /><span class="soft">${say("keys.rate_short", { n: number(key.rate_limit) })}</span>`}</td>
        <td>${key.last_used_ms ? html`${dateTime(key.last_used_ms)}<br /><span class="soft">${key.last_used_ip}</span>` : say("keys.never_used")}</td>
        <td>${key.expires_ms ? dateTime(key.expires_ms) : say("keys.never")}</td>
        <td><span class=${`state state-${state}`}>${say(`keys.${state}`)}</span></td>
        <td class="row-actions">
          ${key.is_active &&
          html`<${Button} small icon="pencil" onClick=${() => onOpen({ what: "edit", chosen: key })}>${say("keys.edit")}<//>
            <${Button} small icon="refresh-cw" onClick=${() => onOpen({ what: "rotate", chosen: key })}>${say("keys.rotate")}<//>
            <${Button} small kind="danger" icon="trash-2" onClick=${() => onOpen({ what: "revoke", chosen: key })}>${say("keys.revoke")}<//>`}
        </td>
      </tr>`;
    })}
  <//>`;
}

/** Send something once; show what the server refused. */
function useSending(onDone) {
  const [state, setState] = useState({ busy: false, problem: "" });
  const send = async (...request) => {
    setState({ busy: true, problem: "" });
    try {
      onDone(await call(...request));
    } catch (error) {
      setState({ busy: false, problem: error.message });
    }
  };
  return { ...state, send };
}

/** What is sent of a form; an end that was not changed is left out, so that it does not move. */
function bodyOf(form, isNew) {
  const amount = (text) => String(text).trim().replace(",", ".") || null;
  return {
    name: form.name.trim(),
    scopes: form.scopes,
    caps: Object.fromEntries(CAPS.map((cap) => [cap, amount(form[cap])])),
    rate_limit: form.rate ? Number(form.rate) : null,
    networks: form.networks.split(/[\s,]+/).filter(Boolean),
    ...(isNew || form.days !== "" ? { expires_ms: Number(form.days) ? Date.now() + Number(form.days) * DAY_MS : 0 } : {}),
  };
}

function formOf(key) {
  const caps = Object.fromEntries(CAPS.map((cap) => [cap, key?.caps[cap] ?? ""]));
  return { name: key?.name || "", scopes: key?.scopes || null, days: key ? "" : "0", rate: key?.rate_limit || "", networks: key?.networks.join(" ") || "", ...caps };
}

function KeyForm({ chosen, onClose, onMade }) {
  const [form, setForm] = useState(() => formOf(chosen));
  const { busy, problem, send } = useSending(onMade);
  const set = (name) => (value) => setForm((before) => ({ ...before, [name]: value }));
  const submit = (event) => {
    event.preventDefault();
    const body = bodyOf(form, !chosen);
    if (chosen) send("PATCH /api/keys/{key_id}", { params: { key_id: chosen.id }, body });
    else send("POST /api/keys", { body });
  };
  const toggle = (scope) => {
    const chosen = new Set(form.scopes || []);
    chosen.has(scope) ? chosen.delete(scope) : chosen.add(scope);
    set("scopes")(chosen.size ? [...chosen] : null);
  };
  const expiries = [...(chosen ? [""] : []), "0", "7", "30", "90", "365"];
  const expiry = (days) => (days === "" ? (chosen.expires_ms ? dateTime(chosen.expires_ms) : say("keys.never")) : days === "0" ? say("keys.never") : say("keys.in_days", { n: days }));
  return html`<${Dialog} title=${chosen ? say("keys.edit_title", { name: chosen.name || chosen.stub }) : say("keys.create")} onClose=${onClose}>
    <form class="form" onSubmit=${submit}>
      <${TextField} label=${say("keys.name")} hint=${say("keys.name_hint")} maxlength="100" value=${form.name} onValue=${set("name")} />
      <fieldset class="checks"><legend>${say("keys.scopes")}</legend>
        ${SCOPES.map((scope) => html`<label class="check" key=${scope}><input type="checkbox" checked=${form.scopes?.includes(scope) || false} onChange=${() => toggle(scope)} /><code>${scope}</code></label>`)}
        <p class="hint">${say("keys.scopes_hint")}</p>
      </fieldset>
      <div class="two">
        ${CAPS.map((cap) => html`<${TextField} key=${cap} label=${say(`caps.${cap}`)} optional inputmode="decimal" value=${form[cap]} onValue=${set(cap)} />`)}
        <${Field} label=${say("keys.expires")}>${(given) => html`<select ...${given} class="select" value=${form.days} onChange=${(event) => set("days")(event.target.value)}>
          ${expiries.filter((days, at) => at === 0 || !(chosen && days === "0" && !chosen.expires_ms)).map((days) => html`<option key=${days} value=${days}>${expiry(days)}</option>`)}
        </select>`}<//>
        <${TextField} label=${say("keys.rate")} optional type="number" min="1" max="100000" value=${form.rate} onValue=${set("rate")} />
      </div>
      <${TextField} label=${say("keys.networks")} hint=${say("keys.networks_hint")} optional value=${form.networks} onValue=${set("networks")} />
      ${problem && html`<${Note} kind="bad">${problem}<//>`}
      <footer class="dialog-actions"><${Button} onClick=${onClose}>${say("cancel")}<//><${Button} kind="primary" type="submit" busy=${busy}>${say(chosen ? "save" : "keys.make")}<//></footer>
    </form>
  <//>`;
}

function Secret({ made, onClose }) {
  return html`<${Dialog} title=${say("keys.ready")} onClose=${onClose} actions=${html`<${Button} kind="primary" onClick=${onClose}>${say("keys.kept")}<//>`}>
    <${Note} kind="warn">${say("keys.once")}<//>
    <div class="secret"><code>${made.secret}</code><${CopyButton} text=${made.secret} /></div>
  <//>`;
}

function Rotate({ chosen, onClose, onMade }) {
  const [overlap, setOverlap] = useState("86400");
  const { busy, problem, send } = useSending(onMade);
  const submit = () => send("POST /api/keys/{key_id}/rotate", { params: { key_id: chosen.id }, body: { overlap_s: Number(overlap) } });
  return html`<${Dialog} title=${say("keys.rotate_title", { name: chosen.name || chosen.stub })} onClose=${onClose}
    actions=${html`<${Button} onClick=${onClose}>${say("cancel")}<//><${Button} kind="primary" busy=${busy} onClick=${submit}>${say("keys.rotate")}<//>`}>
    <p>${say("keys.rotate_text")}</p>
    <${Field} label=${say("keys.overlap")}>${(given) => html`<select ...${given} class="select" value=${overlap} onChange=${(event) => setOverlap(event.target.value)}>
      ${[["0", "now"], ["3600", "hour"], ["86400", "day"], ["604800", "week"]].map(([s, name]) => html`<option key=${s} value=${s}>${say(`overlap.${name}`)}</option>`)}
    </select>`}<//>
    ${problem && html`<${Note} kind="bad">${problem}<//>`}
  <//>`;
}

function Revoke({ chosen, onClose, onDone }) {
  const { busy, problem, send } = useSending(() => {
    onDone();
    onClose();
  });
  const submit = () => send("DELETE /api/keys/{key_id}", { params: { key_id: chosen.id } });
  return html`<${Dialog} title=${say("keys.revoke_title", { name: chosen.name || chosen.stub })} onClose=${onClose}
    actions=${html`<${Button} onClick=${onClose}>${say("cancel")}<//><${Button} kind="danger" busy=${busy} onClick=${submit}>${say("keys.revoke_now")}<//>`}>
    <p>${say("keys.revoke_text")}</p>
    ${problem && html`<${Note} kind="bad">${problem}<//>`}
  <//>`;
}
