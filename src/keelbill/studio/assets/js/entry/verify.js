// The page of the link that proves a mail address.
import { ApiError, call, loadSession, session } from "../api.js";
import { html, useEffect, useState } from "../lib.js";
import { t } from "../i18n/index.js";
import { navigate, takeToken } from "../router.js";
import { loadCredits } from "../state/account.js";
import { EntryFrame, sentence } from "./frame.js";

/** The page at /verify. */
export function page() {
  const [token] = useState(takeToken);
  const [problem, setProblem] = useState(token ? "" : t("verify.no_token"));
  useEffect(() => {
    if (!token) return;
    call("POST /api/verify", { body: { token } }).then(
      async () => {
        if (session.peek()) {
          await loadSession();
          await loadCredits();
          navigate("/", { replace: true });
        } else {
          navigate("/sign-in?after=verified", { replace: true });
        }
      },
      (error) => {
        if (!(error instanceof ApiError)) throw error;
        setProblem(sentence(error));
      },
    );
  }, []);
  const foot = html`<a href="/sign-in">${t("sign_in.go")}</a>`;
  return problem
    ? html`<${EntryFrame} title=${t("verify.failed")} text=${problem} foot=${foot} />`
    : html`<${EntryFrame} title=${t("verify.title")}><div class="waiting" role="status"><span class="spinner" /></div><//>`;
}
