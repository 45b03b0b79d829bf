// The page of credits: what is there, where it went, codes, prices. Knows nothing of pictures.
import { call } from "../api.js";
import { html, useState } from "../lib.js";
import { dateTime, day, number } from "../i18n/index.js";
import { loadCredits, options } from "../state/account.js";
import { toast } from "../state/toasts.js";
import { Button, Empty, Note, TextField } from "../ui/controls.js";
import { Buying, useReturnFromPayment } from "./buying.js";
import { AccountPage, Part, Pending, Table, csvOf, save, useLoaded } from "./parts.js";
import { say } from "./texts.js";

export function page() {
  const { data, error, reload } = useLoaded(() =>
    Promise.all([call("GET /api/credits"), call("GET /api/credits/transfers", { query: { limit: 25 } }), call("GET /api/credits/prices")]),
  );
  const [turn, setTurn] = useState(0);
  const again = () => {
    reload();
    setTurn((before) => before + 1);
  };
  useReturnFromPayment(again);
  if (error || !data) return html`<${AccountPage} title=${say("billing.title")} lead=${say("billing.lead")}><${Pending} error=${error} reload=${reload} /><//>`;
  const [balance, first, prices] = data;
  const redeemed = () => {
    again();
    loadCredits();
  };
  return html`<${AccountPage} title=${say("billing.title")} lead=${say("billing.lead")}>
    ${!balance.is_unlimited && Number(balance.available) <= 0 && html`<${Note} kind="warn">${say("billing.out")}<//>`}
    <dl class="figures">
      ${["available", "reserved", "total"].map((name) => html`<div key=${name}><dt>${say(`billing.${name}`)}</dt><dd data-figure=${name}>${balance.is_unlimited && name === "available" ? say("billing.unlimited") : number(balance[name])}</dd></div>`)}
    </dl>
    <div class="columns">
      <${Voucher} onRedeemed=${redeemed} />
      <${Part} title=${say("billing.lots")}>
        ${balance.lots.length
          ? html`<ul class="lots">${balance.lots.map((lot, index) => html`<li key=${index}><strong>${number(lot.remaining)}</strong><span>${say(`lot.${lot.category}`)}</span><span class="soft">${lot.expires_ms ? say("billing.until", { day: day(lot.expires_ms) }) : say("billing.no_end")}</span></li>`)}</ul>`
          : html`<p class="soft">${say("billing.no_lots")}</p>`}
      <//>
    </div>
    <${Buying} sells=${Boolean(options.value?.sells_credits)} turn=${turn} />
    <${Movements} key=${`${turn}${first.transfers[0]?.id}`} first=${first} />
    <${Part} title=${say("billing.prices")}>
      <${Table} label=${say("billing.prices")} columns=${[[say("billing.service")], [say("billing.credits"), true]]}>
        ${Object.entries(prices.credits).map(([item, price]) => html`<tr key=${item}><th scope="row"><code>${item}</code></th><td class="figure">${number(price)}</td></tr>`)}
      <//>
    <//>
  <//>`;
}

function Voucher({ onRedeemed }) {
  const [code, setCode] = useState("");
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");
  const submit = async (event) => {
    event.preventDefault();
    setBusy(true);
    setProblem("");
    try {
      const { added } = await call("POST /api/credits/vouchers", { body: { code: code.trim() } });
      setCode("");
      toast(say("billing.added", { n: number(added) }), { kind: "good" });
      onRedeemed();
    } catch (error) {
      setProblem(error.message);
    } finally {
      setBusy(false);
    }
  };
  return html`<${Part} title=${say("billing.voucher")}>
    <form class="form" onSubmit=${submit}>
      <${TextField} label=${say("billing.code")} hint=${say("billing.code_hint")} problem=${problem} required maxlength="64" autocomplete="off" spellcheck="false" value=${code} onValue=${setCode} />
      <div><${Button} kind="primary" icon="ticket" type="submit" busy=${busy} disabled=${!code.trim()}>${say("billing.redeem")}<//></div>
    </form>
  <//>`;
}

function Movements({ first }) {
  const [rows, setRows] = useState(first.transfers);
  const [next, setNext] = useState(first.next_before);
  const [busy, setBusy] = useState(false);
  const guarded = async (work) => {
    setBusy(true);
    try {
      await work();
    } catch (error) {
      toast(error.message, { kind: "bad" });
    } finally {
      setBusy(false);
    }
  };
  const more = () =>
    guarded(async () => {
      const found = await call("GET /api/credits/transfers", { query: { before: next, limit: 25 } });
      setRows([...rows, ...found.transfers]);
      setNext(found.next_before);
    });
  const exported = () =>
    guarded(async () => {
      const all = [...rows];
      for (let before = next; before; ) {
        const found = await call("GET /api/credits/transfers", { query: { before, limit: 100 } });
        all.push(...found.transfers);
        before = found.next_before;
      }
      const names = ["id", "created_ms", "kind", "amount", "item", "note", "job_id", "key_id", "price_version"];
      save("credits.csv", csvOf([names, ...all.map((row) => names.map((name) => row[name]))]));
    });
  const columns = [[say("billing.when")], [say("billing.kind")], [say("billing.what")], [say("billing.amount"), true]];
  return html`<${Part} title=${say("billing.movements")} actions=${rows.length > 0 && html`<${Button} small icon="download" busy=${busy} onClick=${exported}>${say("csv")}<//>`}>
    ${rows.length
      ? html`<${Table} label=${say("billing.movements")} columns=${columns}>
          ${rows.map((row) => html`<tr key=${row.id}><td>${dateTime(row.created_ms)}</td><td>${row.kind}</td><td>${row.item || row.note}</td><td class=${Number(row.amount) > 0 ? "figure plus" : "figure"}>${Number(row.amount) > 0 ? "+" : ""}${number(row.amount)}</td></tr>`)}
        <//>`
      : html`<${Empty} icon="wallet" title=${say("billing.none")}>${say("billing.none_text")}<//>`}
    ${next && html`<div><${Button} busy=${busy} onClick=${more}>${say("more")}<//></div>`}
  <//>`;
}
