// Starts the studio: language, session, the page for the address. Knows every part only by name.
import { loadSession, session } from "./api.js";
import { html, render } from "./lib.js";
import { Shell } from "./shell/shell.js";
import { loadOptions } from "./state/account.js";
import { startupProblem } from "./state/startup.js";

async function start() {
  render(html`<${Shell} />`, document.getElementById("app"));
  try {
    await Promise.all([loadSession(), loadOptions()]);
    startupProblem.value = null;
  } catch (error) {
    session.value = session.peek() ?? null;
    startupProblem.value = error;
  }
}

start();
