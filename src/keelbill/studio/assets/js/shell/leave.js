// Signs a person out and forgets what this tab kept. Knows no page.
import { call, session } from "../api.js";
import { navigate } from "../router.js";

const leaving = new Set();

/** Let a part forget what it keeps of a person when the person signs out. */
export function onLeave(forget) {
  leaving.add(forget);
}

/** End the session and go to the sign-in page. */
export async function signOut() {
  await call("POST /api/sign-out").catch(() => {});
  for (const forget of leaving) forget();
  sessionStorage.clear();
  session.value = null;
  navigate("/sign-in");
}
