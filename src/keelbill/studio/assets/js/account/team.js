// The page of organisations: which there are, who belongs to the one that is shown, invitations, changes. Knows no money.
import { call, session } from "../api.js";
import { html, useState } from "../lib.js";
import { day } from "../i18n/index.js";
import { organisation } from "../state/account.js";
import { toast } from "../state/toasts.js";
import { Button, Note, TextField } from "../ui/controls.js";
import { Dialog } from "../ui/dialog.js";
import { AuditTable } from "./audit.js";
import { Members } from "./members.js";
import { AccountPage, Confirm, Part, Pending, Table, useDoing, useLoaded } from "./parts.js";
import { RoleSelect } from "./roles.js";
import { say } from "./texts.js";

export function page() {
  const org = organisation.value;
  const manages = org.role === "owner" || org.role === "admin";
  return html`<${AccountPage} title=${say("team.title")} lead=${say("team.lead")}>
    <${Yours} />
    ${org.kind === "personal"
      ? html`<${Note}>${say("team.members_personal")}<//>`
      : html`<${Members} key=${org.id} org=${org} manages=${manages} />${manages && html`<${Invitations} key=${`i${org.id}`} />`}`}
    ${manages && html`<${Changes} key=${`c${org.id}`} />`}
  <//>`;
}

function Yours() {
  const orgs = session.value.user.organizations;
  const [open, setOpen] = useState(null);
  const close = () => setOpen(null);
  const go = async (org) => {
    try {
      await call("POST /api/orgs/switch/{org_id}", { params: { org_id: org.id } });
      toast(say("team.switched", { name: org.name }), { kind: "good" });
    } catch (error) {
      toast(error.message, { kind: "bad" });
    }
  };
  return html`<${Part} title=${say("team.yours")} actions=${html`<${Button} small icon="plus" onClick=${() => setOpen({ what: "new" })}>${say("team.create")}<//>`}>
    <ul class="cards">
      ${orgs.map(
        (org) => html`<li key=${org.id} class=${org.is_default ? "card card-chosen" : "card"}>
          <strong>${org.name}</strong>
          <span class="soft">${say(`team.${org.kind}`)} · ${say(`role.${org.role}`)}</span>
          <div class="row">
            ${org.is_default ? html`<span class="state state-active">${say("team.active")}</span>` : html`<${Button} small onClick=${() => go(org)}>${say("team.switch")}<//>`}
            ${org.is_default && ["owner", "admin"].includes(org.role) && html`<${Button} small kind="quiet" icon="pencil" onClick=${() => setOpen({ what: "rename", org })}>${say("team.rename")}<//>`}
            ${org.is_default && org.kind === "team" && org.role === "owner" && html`<${Button} small kind="quiet" icon="trash-2" onClick=${() => setOpen({ what: "delete", org })}>${say("team.delete")}<//>`}
          </div>
        </li>`,
      )}
    </ul>
    ${open?.what === "new" && html`<${NameDialog} title=${say("team.create")} action=${say("team.found")} onClose=${close} onSend=${found} />`}
    ${open?.what === "rename" && html`<${NameDialog} title=${say("team.rename")} action=${say("save")} first=${open.org.name} onClose=${close} onSend=${rename} />`}
    ${open?.what === "delete" && html`<${Confirm} title=${say("team.delete_title", { name: open.org.name })} text=${say("team.delete_text")} action=${say("team.delete")} onDo=${dissolve} onClose=${close} />`}
  <//>`;
}

async function found(name) {
  const org = await call("POST /api/orgs", { body: { name } });
  await call("POST /api/orgs/switch/{org_id}", { params: { org_id: org.id } });
}

async function rename(name) {
  await call("PATCH /api/orgs/current", { body: { name } });
  await call("GET /api/session");
}

async function dissolve() {
  await call("DELETE /api/orgs/current");
  location.assign("/sign-in"); // the sessions of the team have ended, this one too
}

function NameDialog({ title, action, first = "", onClose, onSend }) {
  const [name, setName] = useState(first);
  const { busy, problem, run } = useDoing();
  const submit = async (event) => {
    event.preventDefault();
    if (await run(() => onSend(name))) onClose();
  };
  return html`<${Dialog} title=${title} onClose=${onClose}>
    <form class="form" onSubmit=${submit}>
      <${TextField} label=${say("team.name")} required maxlength="200" autofocus value=${name} onValue=${setName} />
      ${problem && html`<${Note} kind="bad">${problem}<//>`}
      <footer class="dialog-actions"><${Button} onClick=${onClose}>${say("cancel")}<//><${Button} kind="primary" type="submit" busy=${busy} disabled=${!name.trim()}>${action}<//></footer>
    </form>
  <//>`;
}

function Invitations() {
  const { data, error, reload } = useLoaded(() => call("GET /api/orgs/current/invitations"));
  const [asking, setAsking] = useState(false);
  const withdraw = async (one) => {
    try {
      await call("DELETE /api/orgs/current/invitations/{invitation_id}", { params: { invitation_id: one.id } });
      reload();
    } catch (problem) {
      toast(problem.message, { kind: "bad" });
    }
  };
  return html`<${Part} title=${say("team.invitations")} actions=${html`<${Button} small icon="plus" onClick=${() => setAsking(true)}>${say("team.invite")}<//>`}>
    ${error || !data
      ? html`<${Pending} error=${error} reload=${reload} />`
      : data.length
        ? html`<${Table} label=${say("team.invitations")} columns=${[[say("profile.email")], [say("team.role")], [say("keys.expires")], [say("keys.actions")]]}>
            ${data.map((one) => html`<tr key=${one.id}><th scope="row">${one.email}</th><td>${say(`role.${one.role}`)}</td><td>${say("team.until", { day: day(one.expires_ms) })}</td><td class="row-actions"><${Button} small onClick=${() => withdraw(one)}>${say("team.withdraw")}<//></td></tr>`)}
          <//>`
        : html`<p class="soft">${say("team.no_invitations")}</p>`}
    ${asking && html`<${Invite} onClose=${() => setAsking(false)} onDone=${reload} />`}
  <//>`;
}

function Invite({ onClose, onDone }) {
  const [email, setEmail] = useState("");
  const [role, setRole] = useState("member");
  const { busy, problem, run } = useDoing();
  const submit = async (event) => {
    event.preventDefault();
    if (await run(() => call("POST /api/orgs/current/invitations", { body: { email, role } }))) {
      toast(say("team.invited", { email }), { kind: "good" });
      onDone();
      onClose();
    }
  };
  return html`<${Dialog} title=${say("team.invite_title")} onClose=${onClose}>
    <form class="form" onSubmit=${submit}>
      <p class="soft">${say("team.invite_text")}</p>
      <${TextField} label=${say("profile.email")} type="email" required autofocus autocomplete="off" value=${email} onValue=${setEmail} />
      <${RoleSelect} value=${role} onValue=${setRole} />
      ${problem && html`<${Note} kind="bad">${problem}<//>`}
      <footer class="dialog-actions"><${Button} onClick=${onClose}>${say("cancel")}<//><${Button} kind="primary" type="submit" busy=${busy}>${say("team.invite")}<//></footer>
    </form>
  <//>`;
}

function Changes() {
  const { data, error, reload } = useLoaded(() => call("GET /api/orgs/current/audit", { query: { limit: 20 } }));
  return html`<${Part} title=${say("team.audit")}>
    ${error || !data ? html`<${Pending} error=${error} reload=${reload} />` : data.length ? html`<${AuditTable} lines=${data} />` : html`<p class="soft">${say("team.no_audit")}</p>`}
  <//>`;
}
