// Codes that are worth credits, and everybody's purchases. Knows no accounts but their ids.
import { call } from "../api.js";
import { Confirm, Part, Table, useDoing } from "../account/parts.js";
import { html, useState } from "../lib.js";
import { dateTime, day, number } from "../i18n/index.js";
import { Button, CopyButton, Note, TextField } from "../ui/controls.js";
import { Dialog } from "../ui/dialog.js";
import { Loaded, useProven } from "./loading.js";
import { say } from "./texts.js";

/** The part of the page. */
export function Credits() {
  const codes = useProven(() => call("GET /api/admin/vouchers"));
  const payments = useProven(() => call("GET /api/treasury/payments"));
  const [open, setOpen] = useState(null);
  const close = () => setOpen(null);
  return html`
    <${Part} title=${say("codes.title")} text=${say("codes.text")} actions=${html`<${Button} small icon="plus" onClick=${() => setOpen({ what: "new" })}>${say("codes.new")}<//>`}>
      <${Loaded} state=${codes}>${(found) => (found.length ? html`<${Codes} codes=${found} />` : html`<p class="soft">${say("codes.none")}</p>`)}<//>
    <//>
    <${Part} title=${say("payments.title")}>
      <${Loaded} state=${payments}>${({ receipts }) => (receipts.length ? html`<${Payments} receipts=${receipts} onRefund=${(payment) => setOpen({ what: "refund", payment })} />` : html`<p class="soft">${say("payments.none")}</p>`)}<//>
    <//>
    ${open?.what === "new" && html`<${NewCode} onClose=${close} onDone=${codes.reload} />`}
    ${open?.what === "refund" &&
    html`<${Confirm} title=${say("payments.refund_title", { money: `${open.payment.money} ${open.payment.currency.toUpperCase()}` })} text=${say("payments.refund_text")} action=${say("payments.refund")} onClose=${close}
      onDo=${async () => {
        await call("POST /api/treasury/payments/{payment_id}/refund", { params: { payment_id: open.payment.id } });
        payments.reload();
      }} />`}
  `;
}

function Codes({ codes }) {
  const columns = [[say("codes.made")], [say("codes.credits"), true], [say("codes.used"), true], [say("codes.expires")], [say("codes.note")]];
  return html`<${Table} label=${say("codes.title")} columns=${columns}>
    ${codes.map((code, index) => html`<tr key=${index}><td>${dateTime(code.created_ms)}</td><td class="figure">${number(code.credits)}</td><td class="figure">${say("codes.used_text", { used: number(code.used), uses: number(code.uses) })}</td><td>${code.expires_ms ? day(code.expires_ms) : "–"}</td><td>${code.note}</td></tr>`)}
  <//>`;
}

function Payments({ receipts, onRefund }) {
  const columns = [[say("codes.made")], [say("queue.account")], [say("codes.credits"), true], [say("payments.money"), true], [say("models.state")], [say("actions")]];
  return html`<${Table} label=${say("payments.title")} columns=${columns}>
    ${receipts.map((one) => html`<tr key=${one.id}><td>${dateTime(one.created_ms)}</td><td><code title=${one.org_id}>…${one.org_id.slice(-8)}</code></td><td class="figure">${number(one.credits)}</td><td class="figure">${one.money} ${one.currency.toUpperCase()}</td><td><span class=${`state ${one.status === "paid" ? "state-active" : ""}`}>${one.status}</span></td><td class="row-actions">${one.status === "paid" && html`<${Button} small kind="danger" onClick=${() => onRefund(one)}>${say("payments.refund")}<//>`}</td></tr>`)}
  <//>`;
}

function NewCode({ onClose, onDone }) {
  const [form, setForm] = useState({ credits: "1000", uses: "1", days: "90", note: "", is_gift: true });
  const [code, setCode] = useState("");
  const { busy, problem, run } = useDoing();
  const set = (name) => (value) => setForm({ ...form, [name]: value });
  const submit = (event) => {
    event.preventDefault();
    const body = { ...form, credits: form.credits.trim().replace(",", "."), uses: Number(form.uses), days: form.days ? Number(form.days) : null };
    run(async () => {
      setCode((await call("POST /api/admin/vouchers", { body })).code);
      onDone();
    });
  };
  if (code) {
    return html`<${Dialog} title=${say("codes.ready")} onClose=${onClose}>
      <${Note} kind="warn">${say("codes.once")}<//>
      <div class="secret"><code>${code}</code><${CopyButton} text=${code} /></div>
    <//>`;
  }
  return html`<${Dialog} title=${say("codes.new")} onClose=${onClose}>
    <form class="form" onSubmit=${submit}>
      <div class="two">
        <${TextField} label=${say("codes.credits")} inputmode="decimal" required autofocus value=${form.credits} onValue=${set("credits")} />
        <${TextField} label=${say("codes.uses")} type="number" min="1" required value=${form.uses} onValue=${set("uses")} />
      </div>
      <${TextField} label=${say("codes.days")} type="number" min="1" value=${form.days} onValue=${set("days")} />
      <${TextField} label=${say("codes.note")} optional maxlength="200" value=${form.note} onValue=${set("note")} />
      <label class="check"><input type="checkbox" checked=${form.is_gift} onChange=${(event) => set("is_gift")(event.target.checked)} />${say("codes.gift")}</label>
      ${problem && html`<${Note} kind="bad">${problem}<//>`}
      <footer class="dialog-actions"><${Button} onClick=${onClose}>${say("queue.cancel")}<//><${Button} kind="primary" type="submit" busy=${busy}>${say("codes.make")}<//></footer>
    </form>
  <//>`;
}
