// The playground: what to paint on one side, what was painted on the other. Knows how its parts lie, not their insides.
import { html, useEffect } from "../lib.js";
import { t } from "../i18n/index.js";
import { loadRecent } from "../state/account.js";
import { useCommands } from "../state/commands.js";
import { useDroppedRecipe } from "../recipes/drop.js";
import { clearForm } from "./form.js";
import { SourceDialog } from "../sources/dialog.js";
import { Composer, generate } from "./composer.js";
import { focusPrompt } from "./fields.js";
import { History } from "./history.js";
import { cancelRun, ENDED, resume, runs } from "./runs.js";
import { Runs, spoken } from "./stage.js";

/** The page at /. */
export function PlaygroundPage() {
  useEffect(() => {
    resume();
    loadRecent().catch(() => {});
  }, []);
  useCommands([
    { id: "generate", title: () => t("playground.generate"), icon: "sparkles", keys: "mod+enter", run: generate },
    { id: "prompt", title: () => t("playground.to_prompt"), icon: "pencil", keys: "/", run: focusPrompt },
    {
      id: "cancel",
      title: () => t("playground.cancel_last"),
      icon: "circle-x",
      keys: "escape",
      run: () => {
        const going = runs.peek().find((run) => run.jobs.some((job) => !ENDED.has(job.peek().state)));
        if (going) cancelRun(going);
      },
    },
    { id: "clear", title: () => t("playground.clear"), icon: "rotate-ccw", run: clearForm },
  ]);
  const drop = useDroppedRecipe();
  return html`<div class="playground">
    <h1 class="out-of-sight">${t("page.playground")}</h1>
    <${Composer} />
    <section class="stage" aria-label=${t("playground.results")}>
      <p class="out-of-sight" role="status">${spoken()}</p>
      <${Runs} />
    </section>
    <${History} />
    <${SourceDialog} />
    ${drop}
  </div>`;
}
