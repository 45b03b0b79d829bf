// The page of the own account: name, address, password, devices. Knows no organisations.
import { call, loadSession, session } from "../api.js";
import { html, useState } from "../lib.js";
import { dateTime } from "../i18n/index.js";
import { signOut } from "../shell/leave.js";
import { options } from "../state/account.js";
import { toast } from "../state/toasts.js";
import { Button, Note, PasswordField, TextField } from "../ui/controls.js";
import { AccountPage, Confirm, Part, Pending, Table, useDoing, useLoaded } from "./parts.js";
import { say } from "./texts.js";

export function page() {
  const user = session.value.user;
  const providers = Object.entries(options.value?.providers || {});
  return html`<${AccountPage} title=${say("profile.title")} lead=${say("profile.lead")}>
    <div class="columns">
      <${You} user=${user} />
      ${user.has_password && html`<${Password} />`}
    </div>
    ${providers.length > 0 && html`<${Part} title=${say("profile.connect")}><div class="row">${providers.map(([word, name]) => html`<${Connect} key=${word} word=${word} name=${name} />`)}</div><//>`}
    <${Devices} />
  <//>`;
}

function You({ user }) {
  const [name, setName] = useState(user.name);
  const { busy, problem, run } = useDoing();
  const submit = async (event) => {
    event.preventDefault();
    const done = await run(async () => {
      const me = await call("PATCH /api/me", { body: { name } });
      session.value = { ...session.peek(), user: me };
    });
    if (done) toast(say("saved"), { kind: "good" });
  };
  const again = async () => {
    try {
      await call("POST /api/verify/again");
      toast(say("profile.verify_sent"), { kind: "good" });
    } catch (error) {
      toast(error.message, { kind: "bad" });
    }
  };
  return html`<${Part} title=${say("profile.you")}>
    <form class="form" onSubmit=${submit}>
      <${TextField} label=${say("profile.name")} hint=${say("profile.name_hint")} maxlength="200" autocomplete="name" value=${name} onValue=${setName} />
      <dl class="plain-facts">
        <div><dt>${say("profile.email")}</dt><dd>${user.email || "–"}</dd></div>
      </dl>
      <div class="row">
        ${user.email && html`<span class=${`state ${user.is_verified ? "state-active" : "state-replaced"}`}>${say(user.is_verified ? "profile.verified" : "profile.unverified")}</span>`}
        ${user.is_staff && html`<span class="state">${say("profile.staff")}</span>`}
      </div>
      ${problem && html`<${Note} kind="bad">${problem}<//>`}
      <div class="row">
        <${Button} kind="primary" type="submit" busy=${busy} disabled=${name === user.name}>${say("save")}<//>
        ${user.email && !user.is_verified && html`<${Button} onClick=${again}>${say("profile.verify")}<//>`}
      </div>
    </form>
  <//>`;
}

function Password() {
  const [now, setNow] = useState("");
  const [next, setNext] = useState("");
  const { busy, problem, run } = useDoing();
  const submit = async (event) => {
    event.preventDefault();
    if (await run(() => call("POST /api/password/change", { body: { password: now, new_password: next } }))) {
      setNow("");
      setNext("");
      toast(say("profile.password_changed"), { kind: "good" });
    }
  };
  return html`<${Part} title=${say("profile.password")} text=${say("profile.password_text")}>
    <form class="form" onSubmit=${submit}>
      <input class="out-of-sight" type="email" autocomplete="username" tabindex="-1" aria-hidden="true" readonly value=${session.value.user.email} />
      <${PasswordField} label=${say("profile.password_now")} autocomplete="current-password" required value=${now} onValue=${setNow} />
      <${PasswordField} label=${say("profile.password_new")} autocomplete="new-password" required minlength="8" value=${next} onValue=${setNext} />
      ${problem && html`<${Note} kind="bad">${problem}<//>`}
      <div><${Button} kind="primary" type="submit" busy=${busy} disabled=${!now || !next}>${say("profile.password_change")}<//></div>
    </form>
  <//>`;
}

function Connect({ word, name }) {
  const { busy, problem, run } = useDoing();
  const go = () =>
    run(async () => {
      const { url } = await call("POST /api/sign-in/{provider}/connect", { params: { provider: word } });
      location.assign(url);
    });
  return html`<${Button} icon="external-link" busy=${busy} onClick=${go}>${say("profile.connect_with", { name })}<//>${problem && html`<p class="problem">${problem}</p>`}`;
}

function Devices() {
  const { data, error, reload } = useLoaded(() => call("GET /api/sessions"));
  const [asking, setAsking] = useState(false);
  const end = async (id) => {
    try {
      await call("DELETE /api/sessions/{session_id}", { params: { session_id: id } });
      reload();
    } catch (problem) {
      toast(problem.message, { kind: "bad" });
    }
  };
  const everywhere = async () => {
    await call("POST /api/sign-out/everywhere");
    await loadSession();
    await signOut();
  };
  const columns = ["device", "address", "seen"].map((name) => [say(`profile.${name}`)]);
  return html`<${Part} title=${say("profile.sessions")} text=${say("profile.sessions_text")} actions=${html`<${Button} small icon="log-out" onClick=${() => setAsking(true)}>${say("profile.end_all")}<//>`}>
    ${error || !data
      ? html`<${Pending} error=${error} reload=${reload} />`
      : html`<${Table} label=${say("profile.sessions")} columns=${[...columns, [say("keys.actions")]]}>
          ${data.map(
            (one) => html`<tr key=${one.id}>
              <th scope="row">${deviceOf(one.user_agent)}</th><td><code>${one.ip}</code></td><td>${dateTime(one.last_seen_ms)}</td>
              <td class="row-actions">${one.is_current ? html`<span class="state state-active">${say("profile.this")}</span>` : html`<${Button} small onClick=${() => end(one.id)}>${say("profile.end")}<//>`}</td>
            </tr>`,
          )}
        <//>`}
    ${asking && html`<${Confirm} title=${say("profile.end_all")} text=${say("profile.end_all_text")} action=${say("profile.end_all")} onDo=${everywhere} onClose=${() => setAsking(false)} />`}
  <//>`;
}

/** Name a browser and its system by what it says of itself; only for reading. */
function deviceOf(agent) {
  const browser = [["Edg/", "Edge"], ["Firefox/", "Firefox"], ["Chrome/", "Chrome"], ["Safari/", "Safari"]].find(([mark]) => agent.includes(mark));
  const system = [["iPhone", "iPhone"], ["iPad", "iPad"], ["Android", "Android"], ["Windows", "Windows"], ["Mac OS", "macOS"], ["Linux", "Linux"]].find(([mark]) => agent.includes(mark));
  return [browser?.[1], system?.[1]].filter(Boolean).join(" · ") || agent.slice(0, 60) || say("profile.unknown_device");
}
