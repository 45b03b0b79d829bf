// Asks for a link that sets a new password; opened with that link, sets it.
import { call, session } from "../api.js";
import { html, useState } from "../lib.js";
import { t } from "../i18n/index.js";
import { navigate, takeToken } from "../router.js";
import { Button, PasswordField, TextField } from "../ui/controls.js";
import { EntryForm, EntryFrame } from "./frame.js";

/** The page at /reset. */
export function page() {
  const [token] = useState(takeToken);
  return token ? html`<${Choose} token=${token} />` : html`<${Ask} />`;
}

function Ask() {
  const [email, setEmail] = useState("");
  const [sent, setSent] = useState(false);
  const foot = html`<a href="/sign-in">${t("reset.back")}</a>`;
  if (sent) return html`<${EntryFrame} title=${t("sign_up.sent")} text=${t("reset.sent_text", { email })} foot=${foot} />`;
  const send = async () => {
    await call("POST /api/password/reset", { body: { email } });
    setSent(true);
  };
  return html`<${EntryFrame} title=${t("reset.title")} text=${t("reset.text")} foot=${foot}>
    <${EntryForm} onSend=${send}>
      ${({ busy }) => html`
        <${TextField} label=${t("form.email")} type="email" autocomplete="username" required autofocus value=${email} onValue=${setEmail} />
        <${Button} kind="primary" type="submit" busy=${busy}>${t("reset.go")}<//>
      `}
    <//>
  <//>`;
}

function Choose({ token }) {
  const [password, setPassword] = useState("");
  const send = async () => {
    await call("POST /api/password/new", { body: { token, password } });
    session.value = null;
    navigate("/sign-in?after=reset", { replace: true });
  };
  return html`<${EntryFrame} title=${t("reset.choose")} text=${t("reset.choose_text")}>
    <${EntryForm} onSend=${send}>
      ${({ busy }) => html`
        <${PasswordField} label=${t("reset.new_password")} hint=${t("form.password_hint")} autocomplete="new-password" required minlength="8" autofocus value=${password} onValue=${setPassword} />
        <${Button} kind="primary" type="submit" busy=${busy}>${t("reset.save")}<//>
      `}
    <//>
  <//>`;
}
