// Members of a team with their roles and limits. Knows no other teams.
import { call, session } from "../api.js";
import { html, useState } from "../lib.js";
import { day } from "../i18n/index.js";
import { toast } from "../state/toasts.js";
import { Button, Note, TextField } from "../ui/controls.js";
import { Dialog } from "../ui/dialog.js";
import { CAPS, capsText } from "./caps.js";
import { Confirm, Part, Pending, Table, useDoing, useLoaded } from "./parts.js";
import { proven } from "./proof.js";
import { ROLES } from "./roles.js";
import { say } from "./texts.js";

/** The part of the page; those who manage nobody see themselves. */
export function Members({ manages }) {
  const { data, error, reload } = useLoaded(() => call("GET /api/orgs/current/members"));
  const [open, setOpen] = useState(null);
  const mine = session.value.user.id;
  const close = () => setOpen(null);
  const change = async (member, role) => {
    try {
      await proven(() => call("PATCH /api/orgs/current/members/{user_id}", { params: { user_id: member.user_id }, body: { role } }));
      toast(say("saved"), { kind: "good" });
    } catch (problem) {
      toast(problem.message, { kind: "bad" });
    }
    reload();
  };
  const remove = async () => {
    await call("DELETE /api/orgs/current/members/{user_id}", { params: { user_id: open.member.user_id } });
    if (open.member.user_id === mine) location.assign("/team");
    else reload();
  };
  const nameOf = (member) => member.name || member.email || say("team.nameless");
  const columns = [[say("team.member")], [say("team.role")], [say("team.limits")], [say("team.since")], [say("keys.actions")]];
  return html`<${Part} title=${say("team.members")}>
    ${error || !data
      ? html`<${Pending} error=${error} reload=${reload} />`
      : html`<${Table} label=${say("team.members")} columns=${columns}>
          ${data.map(
            (member) => html`<tr key=${member.user_id}>
              <th scope="row"><span class="cell-name">${nameOf(member)}${member.user_id === mine && html` <span class="soft">(${say("team.you")})</span>`}</span><span class="soft">${member.name && member.email}</span></th>
              <td>${manages && member.user_id !== mine
                ? html`<select class="select select-small" aria-label=${`${say("team.role")}: ${nameOf(member)}`} value=${member.role} onChange=${(event) => change(member, event.target.value)}>${ROLES.map((role) => html`<option key=${role} value=${role}>${say(`role.${role}`)}</option>`)}</select>`
                : say(`role.${member.role}`)}</td>
              <td>${capsText(member.caps)}</td><td>${day(member.created_ms)}</td>
              <td class="row-actions">
                ${manages && html`<${Button} small onClick=${() => setOpen({ what: "caps", member })}>${say("team.limits")}<//>`}
                ${(manages || member.user_id === mine) && html`<${Button} small kind="danger" onClick=${() => setOpen({ what: "remove", member })}>${say(member.user_id === mine ? "team.leave" : "team.remove")}<//>`}
              </td>
            </tr>`,
          )}
        <//>`}
    ${open?.what === "caps" && html`<${CapsDialog} name=${nameOf(open.member)} member=${open.member} onClose=${close} onDone=${reload} />`}
    ${open?.what === "remove" && html`<${Confirm} title=${say("team.remove_title", { name: nameOf(open.member) })} text=${say("team.remove_text")} action=${say("team.remove")} onDo=${remove} onClose=${close} />`}
  <//>`;
}

function CapsDialog({ name, member, onClose, onDone }) {
  const [caps, setCaps] = useState(() => Object.fromEntries(CAPS.map((cap) => [cap, member.caps[cap] ?? ""])));
  const { busy, problem, run } = useDoing();
  const submit = async (event) => {
    event.preventDefault();
    const body = { caps: Object.fromEntries(CAPS.map((cap) => [cap, caps[cap].trim().replace(",", ".") || null])) };
    if (await run(() => call("PATCH /api/orgs/current/members/{user_id}", { params: { user_id: member.user_id }, body }))) {
      onDone();
      onClose();
    }
  };
  return html`<${Dialog} title=${say("team.limits_title", { name })} onClose=${onClose}>
    <form class="form" onSubmit=${submit}>
      <p class="soft">${say("team.limits_text")}</p>
      <div class="two">${CAPS.map((cap) => html`<${TextField} key=${cap} label=${say(`caps.${cap}`)} inputmode="decimal" value=${caps[cap]} onValue=${(value) => setCaps({ ...caps, [cap]: value })} />`)}</div>
      ${problem && html`<${Note} kind="bad">${problem}<//>`}
      <footer class="dialog-actions"><${Button} onClick=${onClose}>${say("cancel")}<//><${Button} kind="primary" type="submit" busy=${busy}>${say("save")}<//></footer>
    </form>
  <//>`;
}
