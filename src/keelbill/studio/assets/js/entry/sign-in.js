// The sign-in page: address and password, or another provider. Knows no rules of accounts.
import { call, session } from "../api.js";
import { html, useEffect, useState } from "../lib.js";
import { t } from "../i18n/index.js";
import { navigate, place, returnPath } from "../router.js";
import { options } from "../state/account.js";
import { Button, Note, PasswordField, TextField } from "../ui/controls.js";
import { EntryForm, EntryFrame } from "./frame.js";

/** The page at /sign-in. */
export function page() {
  const [email, setEmail] = useState("");
  const [password, setPassword] = useState("");
  useEffect(() => {
    if (session.value) navigate(returnPath(), { replace: true });
  }, [session.value]);
  const send = async () => {
    await call("POST /api/sign-in", { body: { email, password } });
    navigate(returnPath(), { replace: true });
  };
  const providers = Object.entries(options.value?.providers || {});
  const said = { reset: "sign_in.after_reset", verified: "sign_in.after_verify" }[place.value.query.get("after")];
  const foot = options.value?.open_registration
    ? html`${t("sign_in.new_here")} <a href="/sign-up">${t("sign_in.sign_up")}</a>`
    : t("sign_in.closed");
  return html`<${EntryFrame} title=${t("sign_in.title")} foot=${foot}>
    ${said && html`<${Note} kind="good">${t(said)}<//>`}
    <${EntryForm} onSend=${send}>
      ${({ busy }) => html`
        <${TextField} label=${t("form.email")} type="email" name="email" autocomplete="username" required autofocus value=${email} onValue=${setEmail} />
        <${PasswordField} label=${t("form.password")} name="password" autocomplete="current-password" required value=${password} onValue=${setPassword} />
        <${Button} kind="primary" type="submit" busy=${busy}>${t("sign_in.go")}<//>
        <a class="entry-link" href="/reset">${t("sign_in.forgotten")}</a>
      `}
    <//>
    ${providers.length > 0 &&
    html`<div class="entry-or"><span>${t("sign_in.or")}</span></div>
      ${providers.map(
        ([word, name]) =>
          html`<a key=${word} class="button button-plain" target="_self" href=${`/api/sign-in/${encodeURIComponent(word)}?return_to=${encodeURIComponent(returnPath())}`}>
            ${t("sign_in.with", { name })}
          </a>`,
      )}`}
  <//>`;
}
