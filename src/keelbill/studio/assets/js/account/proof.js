// Asks for the password again where the server wants a fresh proof, and then does what was asked. Knows no page.
import { ApiError, call, loadSession } from "../api.js";
import { html, signal, useState } from "../lib.js";
import { Button, Note, PasswordField } from "../ui/controls.js";
import { Dialog } from "../ui/dialog.js";
import { say } from "./texts.js";

const wanted = signal(null);

/**
 * Do something; if the server wants the password first, ask for it and do it again.
 * @throws {ApiError} The server refused, or nobody entered the password.
 */
export async function proven(work) {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 403) throw error;
    const now = await loadSession();
    if (!now || now.is_recent || !now.user.has_password) throw error; // a fresh proof would not help
    await asked(error);
    return work();
  }
}

let asking = null;

/** Ask once, however many wait for the answer. */
function asked(error) {
  asking ??= new Promise((resolve, reject) => {
    wanted.value = { resolve, reject: () => reject(error) };
  }).finally(() => {
    asking = null;
  });
  return asking;
}

/** The question for the password; pages that use `proven` show it. */
export function ProofDialog() {
  const [password, setPassword] = useState("");
  const [state, setState] = useState({ busy: false, problem: "" });
  const waiting = wanted.value;
  if (!waiting) return null;
  const end = (what) => {
    setPassword("");
    setState({ busy: false, problem: "" });
    wanted.value = null;
    what();
  };
  const submit = async (event) => {
    event.preventDefault();
    setState({ busy: true, problem: "" });
    try {
      await call("POST /api/password/prove", { body: { password } });
      end(waiting.resolve);
    } catch (error) {
      setState({ busy: false, problem: error.message });
    }
  };
  return html`<${Dialog} title=${say("proof.title")} onClose=${() => end(waiting.reject)}>
    <form class="form" onSubmit=${submit}>
      <p class="soft">${say("proof.text")}</p>
      <${PasswordField} label=${say("profile.password_now")} autocomplete="current-password" autofocus required value=${password} onValue=${setPassword} />
      ${state.problem && html`<${Note} kind="bad">${state.problem}<//>`}
      <footer class="dialog-actions"><${Button} onClick=${() => end(waiting.reject)}>${say("cancel")}<//><${Button} kind="primary" type="submit" busy=${state.busy}>${say("proof.go")}<//></footer>
    </form>
  <//>`;
}
