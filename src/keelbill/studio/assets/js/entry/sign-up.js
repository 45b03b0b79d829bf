// The sign-up page, where strangers may sign up. The answer is the same for addresses that have an account.
import { call } from "../api.js";
import { html, useState } from "../lib.js";
import { t } from "../i18n/index.js";
import { options } from "../state/account.js";
import { Button, Note, PasswordField, TextField } from "../ui/controls.js";
import { EntryForm, EntryFrame } from "./frame.js";

/** The page at /sign-up. */
export function page() {
  const [name, setName] = useState("");
  const [email, setEmail] = useState("");
  const [password, setPassword] = useState("");
  const [sent, setSent] = useState(false);
  const foot = html`${t("sign_up.known")} <a href="/sign-in">${t("sign_in.go")}</a>`;
  if (options.value && !options.value.open_registration) {
    return html`<${EntryFrame} title=${t("sign_up.title")} text=${t("sign_in.closed")} foot=${foot} />`;
  }
  if (sent) {
    return html`<${EntryFrame} title=${t("sign_up.sent")} text=${t("sign_up.sent_text", { email })} foot=${foot} />`;
  }
  const send = async () => {
    await call("POST /api/sign-up", { body: { email, password, name } });
    setSent(true);
  };
  return html`<${EntryFrame} title=${t("sign_up.title")} text=${t("sign_up.text")} foot=${foot}>
    <${EntryForm} onSend=${send}>
      ${({ busy }) => html`
        <${TextField} label=${t("form.name")} optional autocomplete="name" autofocus value=${name} onValue=${setName} />
        <${TextField} label=${t("form.email")} type="email" autocomplete="username" required value=${email} onValue=${setEmail} />
        <${PasswordField} label=${t("form.password")} hint=${t("form.password_hint")} autocomplete="new-password" required minlength="8" value=${password} onValue=${setPassword} />
        <${Button} kind="primary" type="submit" busy=${busy}>${t("sign_up.go")}<//>
      `}
    <//>
  <//>`;
}
