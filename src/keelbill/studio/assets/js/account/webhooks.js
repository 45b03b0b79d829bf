// The page of webhooks: addresses, their secrets, what was sent there. Knows nothing of what is in the messages.
import { call } from "../api.js";
import { html, useState } from "../lib.js";
import { dateTime, number } from "../i18n/index.js";
import { toast } from "../state/toasts.js";
import { Button, CopyButton, Empty, Note, TextField } from "../ui/controls.js";
import { Dialog } from "../ui/dialog.js";
import { AccountPage, Confirm, Pending, Table, useDoing, useLoaded } from "./parts.js";
import { say } from "./texts.js";

const EVENTS = ["job.succeeded", "job.failed", "credits.low", "key.revoked"];

export function page() {
  const { data, error, reload } = useLoaded(() => call("GET /api/webhooks"));
  const [open, setOpen] = useState(null);
  const close = () => setOpen(null);
  const create = html`<${Button} kind="primary" icon="plus" onClick=${() => setOpen({ what: "new" })}>${say("hooks.new")}<//>`;
  const secret = (made) => {
    reload();
    setOpen({ what: "secret", secret: made.secret });
  };
  const change = async (work, said = "") => {
    try {
      const answer = await work();
      if (said) toast(said, { kind: "good" });
      reload();
      return answer;
    } catch (problem) {
      return void toast(problem.message, { kind: "bad" });
    }
  };
  return html`<${AccountPage} title=${say("hooks.title")} lead=${say("hooks.lead")} actions=${data?.length > 0 && create}>
    ${error?.status === 501 || error?.status === 404
      ? html`<${Empty} icon="webhook" title=${say("hooks.off")}>${say("hooks.off_text")}<//>`
      : error || !data
        ? html`<${Pending} error=${error} reload=${reload} />`
        : data.length
          ? html`<${List} hooks=${data} onOpen=${setOpen} change=${change} onSecret=${secret} />`
          : html`<${Empty} icon="webhook" title=${say("hooks.none")} actions=${create}>${say("hooks.none_text")}<//>`}
    ${open?.what === "new" && html`<${NewHook} onClose=${close} onMade=${secret} />`}
    ${open?.what === "secret" && html`<${Secret} secret=${open.secret} onClose=${close} />`}
    ${open?.what === "deliveries" && html`<${Deliveries} hook=${open.hook} onClose=${close} />`}
    ${open?.what === "remove" &&
    html`<${Confirm} title=${say("hooks.delete_title")} text=${say("hooks.delete_text", { url: open.hook.url })} action=${say("remove")} onClose=${close}
      onDo=${async () => {
        await call("DELETE /api/webhooks/{webhook_id}", { params: { webhook_id: open.hook.id } });
        reload();
      }} />`}
  <//>`;
}

function List({ hooks, onOpen, change, onSecret }) {
  const columns = [[say("hooks.url")], [say("hooks.events")], [say("hooks.state")], [say("keys.actions")]];
  const of = (hook) => ({ params: { webhook_id: hook.id } });
  return html`<${Table} label=${say("hooks.title")} columns=${columns}>
    ${hooks.map(
      (hook) => html`<tr key=${hook.id} class=${hook.enabled ? "" : "row-over"}>
        <th scope="row"><span class="cell-name">${hook.url}</span></th>
        <td>${hook.events.join(", ")}</td>
        <td><span class=${`state ${hook.enabled ? "state-active" : ""}`}>${say(hook.enabled ? "hooks.on" : "hooks.disabled")}</span>${hook.failures > 0 && html` <span class="soft">${say("hooks.failures", { n: number(hook.failures) })}</span>`}</td>
        <td class="row-actions">
          <${Button} small onClick=${() => onOpen({ what: "deliveries", hook })}>${say("hooks.deliveries")}<//>
          <${Button} small onClick=${() => change(() => call("POST /api/webhooks/{webhook_id}/ping", of(hook)), say("hooks.pinged"))}>${say("hooks.ping")}<//>
          <${Button} small onClick=${() => change(() => call("PATCH /api/webhooks/{webhook_id}", { ...of(hook), body: { enabled: !hook.enabled } }))}>${say(hook.enabled ? "hooks.switch_off" : "hooks.switch_on")}<//>
          <${Button} small onClick=${async () => {
            const made = await change(() => call("POST /api/webhooks/{webhook_id}/secret", of(hook)));
            if (made) onSecret(made);
          }}>${say("hooks.roll")}<//>
          <${Button} small kind="danger" onClick=${() => onOpen({ what: "remove", hook })}>${say("remove")}<//>
        </td>
      </tr>`,
    )}
  <//>`;
}

function NewHook({ onClose, onMade }) {
  const [url, setUrl] = useState("");
  const [events, setEvents] = useState(new Set(["job.succeeded", "job.failed"]));
  const { busy, problem, run } = useDoing();
  const toggle = (event) => {
    const next = new Set(events);
    if (!next.delete(event)) next.add(event);
    setEvents(next);
  };
  const submit = async (event) => {
    event.preventDefault();
    let made = null;
    if (await run(async () => (made = await call("POST /api/webhooks", { body: { url: url.trim(), events: [...events] } })))) onMade(made);
  };
  return html`<${Dialog} title=${say("hooks.new")} onClose=${onClose}>
    <form class="form" onSubmit=${submit}>
      <${TextField} label=${say("hooks.url")} hint=${say("hooks.url_hint")} type="url" required autofocus placeholder="https://example.com/hook" value=${url} onValue=${setUrl} />
      <fieldset class="checks"><legend>${say("hooks.events")}</legend>
        ${EVENTS.map((event) => html`<label class="check" key=${event}><input type="checkbox" checked=${events.has(event)} onChange=${() => toggle(event)} /><code>${event}</code></label>`)}
      </fieldset>
      ${problem && html`<${Note} kind="bad">${problem}<//>`}
      <footer class="dialog-actions"><${Button} onClick=${onClose}>${say("cancel")}<//><${Button} kind="primary" type="submit" busy=${busy} disabled=${!events.size}>${say("hooks.add")}<//></footer>
    </form>
  <//>`;
}

function Secret({ secret, onClose }) {
  return html`<${Dialog} title=${say("hooks.secret")} onClose=${onClose} actions=${html`<${Button} kind="primary" onClick=${onClose}>${say("keys.kept")}<//>`}>
    <${Note} kind="warn">${say("hooks.secret_text")}<//>
    <div class="secret"><code>${secret}</code><${CopyButton} text=${secret} /></div>
  <//>`;
}

function Deliveries({ hook, onClose }) {
  const params = { webhook_id: hook.id };
  const { data, error, reload } = useLoaded(() => call("GET /api/webhooks/{webhook_id}/deliveries", { params }));
  const again = async (one) => {
    try {
      await call("POST /api/webhooks/{webhook_id}/deliveries/{delivery_id}", { params: { ...params, delivery_id: one.id } });
      reload();
    } catch (problem) {
      toast(problem.message, { kind: "bad" });
    }
  };
  const columns = [[say("billing.when")], [say("hooks.event")], [say("hooks.state")], [say("hooks.tries"), true], [say("hooks.answer")], [say("keys.actions")]];
  return html`<${Dialog} wide title=${say("hooks.deliveries_of", { url: hook.url })} onClose=${onClose} actions=${html`<${Button} icon="refresh-cw" onClick=${reload}>${say("again")}<//>`}>
    ${error || !data
      ? html`<${Pending} error=${error} reload=${reload} />`
      : data.length
        ? html`<${Table} label=${say("hooks.deliveries")} columns=${columns}>
            ${data.map((one) => html`<tr key=${one.id}><td>${dateTime(one.created_ms)}</td><th scope="row"><code>${one.event}</code></th><td><span class=${`state ${one.state === "delivered" ? "state-active" : ""}`}>${one.state}</span></td><td class="figure">${one.attempts}</td><td>${one.last_status || one.last_error || "–"}</td><td class="row-actions"><${Button} small onClick=${() => again(one)}>${say("hooks.again")}<//></td></tr>`)}
          <//>`
        : html`<p class="soft">${say("hooks.no_deliveries")}</p>`}
  <//>`;
}
