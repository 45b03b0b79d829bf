// Everybody who has an account here: found, added, given credits, disabled. Knows no pictures.
import { call, session } from "../api.js";
import { Confirm, Table, useDoing } from "../account/parts.js";
import { html, useEffect, useState } from "../lib.js";
import { day, number } from "../i18n/index.js";
import { toast } from "../state/toasts.js";
import { Button, Empty, Note, TextField } from "../ui/controls.js";
import { Dialog } from "../ui/dialog.js";
import { Icon } from "../ui/icon.js";
import { Loaded, useProven } from "./loading.js";
import { NewAccount } from "./new-account.js";
import { say } from "./texts.js";

const TYPING_MS = 250;

/** The part of the page. */
export function Accounts() {
  const [typed, setTyped] = useState("");
  const [text, setText] = useState("");
  const [before, setBefore] = useState([""]);
  const [open, setOpen] = useState(null);
  useEffect(() => {
    const timer = setTimeout(() => {
      setText(typed);
      setBefore([""]);
    }, TYPING_MS);
    return () => clearTimeout(timer);
  }, [typed]);
  const state = useProven(() => call("GET /api/admin/accounts", { query: { text, before: before.at(-1) } }), { needs: [text, before.at(-1)] });
  const { reload } = state;
  const close = () => setOpen(null);
  const change = (body) => async () => {
    await call("PATCH /api/admin/accounts/{user_id}", { params: { user_id: open.account.id }, body });
    reload();
  };
  return html`
    <div class="row row-apart">
      <label class="gallery-search"><${Icon} name="search" /><span class="out-of-sight">${say("accounts.search")}</span><input class="input" type="search" autocomplete="off" placeholder=${say("accounts.search")} value=${typed} onInput=${(event) => setTyped(event.target.value)} /></label>
      <${Button} kind="primary" icon="plus" onClick=${() => setOpen({ what: "new" })}>${say("accounts.new")}<//>
    </div>
    <${Loaded} state=${state}>
      ${({ accounts, next_before }) => html`
        ${accounts.length ? html`<${List} accounts=${accounts} onOpen=${setOpen} change=${change} />` : html`<${Empty} icon="users" title=${say("accounts.none")} />`}
        <div class="row">
          ${before.length > 1 && html`<${Button} icon="arrow-left" onClick=${() => setBefore(before.slice(0, -1))}>${say("wizard.back")}<//>`}
          ${next_before && html`<${Button} onClick=${() => setBefore([...before, next_before])}>${say("wizard.next")}<//>`}
        </div>
      `}
    <//>
    ${open?.what === "new" && html`<${NewAccount} onClose=${close} onDone=${reload} />`}
    ${open?.what === "grant" && html`<${Grant} account=${open.account} onClose=${close} onDone=${reload} />`}
    ${open?.what === "disable" && html`<${Confirm} title=${say("accounts.disable_title", { name: nameOf(open.account) })} text=${say("accounts.disable_text")} action=${say("accounts.disable")} onClose=${close} onDo=${change({ is_disabled: true })} />`}
    ${open?.what === "enable" && html`<${Confirm} title=${`${say("accounts.enable")}: ${nameOf(open.account)}`} text="" action=${say("accounts.enable")} onClose=${close} onDo=${change({ is_disabled: false })} />`}
    ${open?.what === "promote" && html`<${Confirm} title=${say("accounts.promote_title", { name: nameOf(open.account) })} text=${say("accounts.promote_text")} action=${say("accounts.promote")} onClose=${close} onDo=${change({ is_staff: true })} />`}
    ${open?.what === "demote" && html`<${Confirm} title=${`${say("accounts.demote")}: ${nameOf(open.account)}`} text="" action=${say("accounts.demote")} onClose=${close} onDo=${change({ is_staff: false })} />`}
  `;
}

function nameOf(account) {
  return account.name || account.email || say("accounts.nameless");
}

function List({ accounts, onOpen }) {
  const mine = session.value.user.id;
  const columns = [[say("accounts.account")], [say("accounts.credits"), true], [say("accounts.since")], [say("accounts.state")], [say("actions")]];
  return html`<${Table} label=${say("nav.accounts")} columns=${columns}>
    ${accounts.map((account) => {
      const act = (what) => () => onOpen({ what, account });
      return html`<tr key=${account.id} class=${account.disabled_ms ? "row-over" : ""}>
        <th scope="row"><span class="cell-name">${nameOf(account)}</span><span class="soft">${account.name && account.email}${account.teams > 0 && ` · ${say("accounts.teams", { n: account.teams })}`}</span></th>
        <td class="figure">${number(account.credits)}</td><td>${day(account.created_ms)}</td>
        <td>
          <span class=${`state ${account.disabled_ms ? "state-replaced" : "state-active"}`}>${say(account.disabled_ms ? "accounts.disabled" : "accounts.active")}</span>
          ${account.is_staff && html` <span class="state">${say("accounts.staff")}</span>`}
          ${account.email && !account.is_verified && html` <span class="state">${say("accounts.unverified")}</span>`}
        </td>
        <td class="row-actions">
          <${Button} small icon="wallet" onClick=${act("grant")}>${say("accounts.grant")}<//>
          ${account.id !== mine &&
          html`<${Button} small onClick=${act(account.is_staff ? "demote" : "promote")}>${say(account.is_staff ? "accounts.demote" : "accounts.promote")}<//>
            <${Button} small kind=${account.disabled_ms ? "plain" : "danger"} onClick=${act(account.disabled_ms ? "enable" : "disable")}>${say(account.disabled_ms ? "accounts.enable" : "accounts.disable")}<//>`}
        </td>
      </tr>`;
    })}
  <//>`;
}

function Grant({ account, onClose, onDone }) {
  const [credits, setCredits] = useState("100");
  const [note, setNote] = useState("");
  const { busy, problem, run } = useDoing();
  const submit = async (event) => {
    event.preventDefault();
    const body = { org_id: account.org_id, credits: credits.trim().replace(",", "."), note: note.trim() };
    let answer = null;
    if (await run(async () => (answer = await call("POST /api/treasury/adjustments", { body })))) {
      toast(say("accounts.granted", { name: nameOf(account), n: number(answer.available) }), { kind: "good" });
      onDone();
      onClose();
    }
  };
  return html`<${Dialog} title=${say("accounts.grant_title", { name: nameOf(account) })} onClose=${onClose}>
    <form class="form" onSubmit=${submit}>
      <${TextField} label=${say("accounts.grant_amount")} inputmode="decimal" required autofocus value=${credits} onValue=${setCredits} />
      <${TextField} label=${say("accounts.grant_note")} required maxlength="500" value=${note} onValue=${setNote} />
      ${problem && html`<${Note} kind="bad">${problem}<//>`}
      <footer class="dialog-actions"><${Button} onClick=${onClose}>${say("queue.cancel")}<//><${Button} kind="primary" type="submit" busy=${busy} disabled=${!note.trim()}>${say("accounts.grant_go")}<//></footer>
    </form>
  <//>`;
}
