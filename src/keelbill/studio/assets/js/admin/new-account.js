// The form for an account that an administrator adds. Knows nothing of the list.
import { call } from "../api.js";
import { useDoing } from "../account/parts.js";
import { html, useState } from "../lib.js";
import { t } from "../i18n/index.js";
import { toast } from "../state/toasts.js";
import { Button, Note, PasswordField, TextField } from "../ui/controls.js";
import { Dialog } from "../ui/dialog.js";
import { say } from "./texts.js";

/** The form, in a dialog. */
export function NewAccount({ onClose, onDone }) {
  const [form, setForm] = useState({ email: "", name: "", password: "", is_staff: false });
  const { busy, problem, run } = useDoing();
  const set = (name) => (value) => setForm({ ...form, [name]: value });
  const submit = async (event) => {
    event.preventDefault();
    if (await run(() => call("POST /api/admin/accounts", { body: form }))) {
      toast(say("accounts.added", { email: form.email }), { kind: "good" });
      onDone();
      onClose();
    }
  };
  return html`<${Dialog} title=${say("accounts.new")} onClose=${onClose}>
    <form class="form" onSubmit=${submit}>
      <p class="soft">${say("accounts.new_text")}</p>
      <${TextField} label=${say("accounts.email")} type="email" required autofocus autocomplete="off" value=${form.email} onValue=${set("email")} />
      <${TextField} label=${say("accounts.name")} optional maxlength="200" autocomplete="off" value=${form.name} onValue=${set("name")} />
      <${PasswordField} label=${say("accounts.password")} hint=${t("form.password_hint")} autocomplete="new-password" required minlength="8" value=${form.password} onValue=${set("password")} />
      <label class="check"><input type="checkbox" checked=${form.is_staff} onChange=${(event) => set("is_staff")(event.target.checked)} />${say("accounts.is_staff")}</label>
      ${problem && html`<${Note} kind="bad">${problem}<//>`}
      <footer class="dialog-actions"><${Button} onClick=${onClose}>${say("queue.cancel")}<//><${Button} kind="primary" type="submit" busy=${busy}>${say("accounts.add")}<//></footer>
    </form>
  <//>`;
}
