// Buying credits by card, automatic purchases and what was bought. Knows no prices of pictures.
import { ApiError, call } from "../api.js";
import { html, useEffect, useState } from "../lib.js";
import { dateTime, number } from "../i18n/index.js";
import { navigate, place } from "../router.js";
import { loadCredits, organisation } from "../state/account.js";
import { toast } from "../state/toasts.js";
import { Button, Field, Note, TextField } from "../ui/controls.js";
import { Part, Table, useDoing, useLoaded } from "./parts.js";
import { say } from "./texts.js";

const BUYERS = ["owner", "admin", "billing"];
const PACKS = [1000, 2000, 5000, 10000, 50000];

/** Whether cards are taken, as far as the rule for automatic purchases can be read: {rule, receipts}, or null. */
async function load() {
  if (!BUYERS.includes(organisation.value?.role)) return null;
  try {
    const [rule, { receipts }] = await Promise.all([call("GET /api/credits/recharge"), call("GET /api/credits/receipts", { query: { limit: 20 } })]);
    return { rule, receipts };
  } catch (error) {
    if (error instanceof ApiError && (error.status === 501 || error.status === 403)) return null;
    throw error;
  }
}

/** What somebody who comes back from paying is told. */
export function useReturnFromPayment(reload) {
  useEffect(() => {
    const payment = place.peek().query.get("payment");
    if (!payment) return;
    navigate("/billing", { replace: true });
    if (payment === "cancelled") {
      toast(say("buy.cancelled"));
      return;
    }
    call("POST /api/credits/receipts/{payment_id}/confirm", { params: { payment_id: payment } }).then(
      ({ status }) => {
        toast(say(status === "paid" ? "buy.paid" : "buy.waiting"), { kind: status === "paid" ? "good" : "info", lifeMs: 12_000 });
        loadCredits();
        reload();
      },
      (error) => toast(error.message, { kind: "bad" }),
    );
  }, []);
}

/** The parts of the page; nothing where no cards are taken. `sells` says whether they are; a new `turn` asks again. */
export function Buying({ sells, turn }) {
  const { data, reload } = useLoaded(load, [turn]);
  if (!data) return null;
  return html`${sells && html`<div class="columns"><${Buy} /><${Recharge} rule=${data.rule} onSaved=${reload} /></div>`}${data.receipts.length > 0 && html`<${Receipts} receipts=${data.receipts} />`}`;
}

function Buy() {
  const [credits, setCredits] = useState(PACKS[0]);
  const { busy, problem, run } = useDoing();
  const submit = (event) => {
    event.preventDefault();
    run(async () => {
      const { url } = await call("POST /api/credits/checkout", { body: { credits } });
      location.assign(url);
    });
  };
  return html`<${Part} title=${say("buy.title")} text=${say("buy.text")}>
    <form class="form" onSubmit=${submit}>
      <${Field} label=${say("buy.amount")}>${(given) => html`<select ...${given} class="select" value=${credits} onChange=${(event) => setCredits(Number(event.target.value))}>
        ${PACKS.map((pack) => html`<option key=${pack} value=${pack}>${number(pack)}</option>`)}
      </select>`}<//>
      ${problem && html`<${Note} kind="bad">${problem}<//>`}
      <div><${Button} kind="primary" icon="credit-card" type="submit" busy=${busy}>${say("buy.go")}<//></div>
    </form>
  <//>`;
}

function Recharge({ rule, onSaved }) {
  const [form, setForm] = useState(rule);
  const { busy, problem, run } = useDoing();
  const set = (name) => (value) => setForm({ ...form, [name]: value });
  const submit = async (event) => {
    event.preventDefault();
    const { enabled, threshold, amount, monthly_cap } = form;
    if (await run(() => call("PUT /api/credits/recharge", { body: { enabled, threshold, amount, monthly_cap } }))) {
      toast(say("saved"), { kind: "good" });
      onSaved();
    }
  };
  return html`<${Part} title=${say("recharge.title")} text=${say("recharge.text")}>
    ${rule.has_card
      ? html`<form class="form" onSubmit=${submit}>
          <label class="check"><input type="checkbox" checked=${form.enabled} onChange=${(event) => set("enabled")(event.target.checked)} />${say("recharge.on")}</label>
          <${TextField} label=${say("recharge.threshold")} inputmode="decimal" required value=${form.threshold} onValue=${set("threshold")} />
          <div class="two">
            <${TextField} label=${say("recharge.amount")} inputmode="numeric" required value=${form.amount} onValue=${set("amount")} />
            <${TextField} label=${say("recharge.cap")} inputmode="numeric" required value=${form.monthly_cap} onValue=${set("monthly_cap")} />
          </div>
          ${rule.failures > 0 && html`<${Note} kind="warn">${say("recharge.failures", { n: rule.failures })}<//>`}
          ${problem && html`<${Note} kind="bad">${problem}<//>`}
          <div><${Button} kind="primary" type="submit" busy=${busy}>${say("save")}<//></div>
        </form>`
      : html`<p class="soft">${say("recharge.no_card")}</p>`}
  <//>`;
}

function Receipts({ receipts }) {
  return html`<${Part} title=${say("buy.receipts")}>
    <${Table} label=${say("buy.receipts")} columns=${[[say("billing.when")], [say("buy.amount"), true], [say("buy.money"), true], [say("keys.state")]]}>
      ${receipts.map((one) => html`<tr key=${one.id}><td>${dateTime(one.created_ms)}${one.is_automatic && html` <span class="soft">${say("buy.automatic")}</span>`}</td><td class="figure">${number(one.credits)}</td><td class="figure">${one.money} ${one.currency.toUpperCase()}</td><td><span class=${`state ${one.status === "paid" ? "state-active" : ""}`}>${say(`receipt.${one.status}`)}</span></td></tr>`)}
    <//>
  <//>`;
}
