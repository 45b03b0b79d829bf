// The page of an invitation: accepted as oneself, or with a new account.
import { call, session } from "../api.js";
import { html, useState } from "../lib.js";
import { t } from "../i18n/index.js";
import { navigate, takeToken } from "../router.js";
import { Button, PasswordField, TextField } from "../ui/controls.js";
import { EntryForm, EntryFrame } from "./frame.js";

/** The page at /invitation. */
export function page() {
  const [token] = useState(takeToken);
  const [name, setName] = useState("");
  const [password, setPassword] = useState("");
  const user = session.value?.user;
  if (!token) return html`<${EntryFrame} title=${t("invitation.title")} text=${t("invitation.no_token")} foot=${html`<a href="/">${t("error.home")}</a>`} />`;
  const accept = async () => {
    await call("POST /api/orgs/accept", { body: { token } });
    navigate("/", { replace: true });
  };
  const join = async () => {
    await call("POST /api/join", { body: { token, password, name } });
    navigate("/", { replace: true });
  };
  if (user) {
    return html`<${EntryFrame} title=${t("invitation.title")} text=${t("invitation.as", { email: user.email })}>
      <${EntryForm} onSend=${accept}>${({ busy }) => html`<${Button} kind="primary" type="submit" busy=${busy}>${t("invitation.accept")}<//>`}<//>
    <//>`;
  }
  return html`<${EntryFrame} title=${t("invitation.title")} text=${t("invitation.text")}>
    <${EntryForm} onSend=${join}>
      ${({ busy }) => html`
        <${TextField} label=${t("form.name")} optional autocomplete="name" autofocus value=${name} onValue=${setName} />
        <${PasswordField} label=${t("form.password")} hint=${t("form.password_hint")} autocomplete="new-password" required minlength="8" value=${password} onValue=${setPassword} />
        <${Button} kind="primary" type="submit" busy=${busy}>${t("invitation.join")}<//>
      `}
    <//>
  <//>`;
}
