// The page of the link that a new server prints: its first owner chooses an address and a password.
import { call } from "../api.js";
import { html, useState } from "../lib.js";
import { t } from "../i18n/index.js";
import { navigate, takeToken } from "../router.js";
import { Button, PasswordField, TextField } from "../ui/controls.js";
import { EntryForm, EntryFrame } from "./frame.js";

/** The page at /set-up. */
export function page() {
  const [token] = useState(takeToken);
  const [name, setName] = useState("");
  const [email, setEmail] = useState("");
  const [password, setPassword] = useState("");
  const foot = html`${t("sign_up.known")} <a href="/sign-in">${t("sign_in.go")}</a>`;
  if (!token) return html`<${EntryFrame} title=${t("set_up.no_token")} text=${t("set_up.no_token_text")} foot=${foot} />`;
  const send = async () => {
    await call("POST /api/set-up", { body: { token, email, password, name } });
    navigate("/admin/welcome", { replace: true });
  };
  return html`<${EntryFrame} title=${t("set_up.title")} text=${t("set_up.text")} foot=${foot}>
    <${EntryForm} onSend=${send}>
      ${({ busy }) => html`
        <${TextField} label=${t("form.name")} optional autocomplete="name" autofocus value=${name} onValue=${setName} />
        <${TextField} label=${t("form.email")} hint=${t("set_up.email_hint")} type="email" autocomplete="username" required value=${email} onValue=${setEmail} />
        <${PasswordField} label=${t("form.password")} hint=${t("form.password_hint")} autocomplete="new-password" required minlength="8" value=${password} onValue=${setPassword} />
        <${Button} kind="primary" type="submit" busy=${busy}>${t("set_up.go")}<//>
      `}
    <//>
  <//>`;
}
