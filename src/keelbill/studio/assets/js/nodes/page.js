// The page of node packs: what a workflow lacks, who has it, and what an administrator would run. Changes nothing.
import { ApiError, call } from "../api.js";
import { AccountPage, Part, Pending, Table, useLoaded } from "../account/parts.js";
import { html, useEffect, useState } from "../lib.js";
import { number } from "../i18n/index.js";
import { place } from "../router.js";
import { useDropped } from "../sources/dropped.js";
import { Button, CopyButton, Note } from "../ui/controls.js";
import { missingIn, missingOf } from "./read.js";
import { say } from "./texts.js";

const STATES = { enabled: "state_enabled", changed: "state_changed", off: "state_off", "not installed": "state_absent" };

/** The page at /nodes; the editor names classes in its address. */
export function page() {
  const packs = useLoaded(() => call("GET /api/nodes/packs"));
  const [found, setFound] = useState(null);
  const look = async (name, ask, hasNodes = true) => {
    setFound({ name, busy: true });
    try {
      const missing = await ask();
      setFound(missing ? { name, missing, hasNodes } : { name, problem: say("unreadable", { name }) });
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      setFound({ name, problem: error.message });
    }
  };
  const read = (file) => look(file.name, () => missingIn(file));
  const named = place.value.query.getAll("class").slice(0, 200);
  useEffect(() => {
    if (named.length) look(say("from_editor"), () => missingOf(named), false);
  }, [named.join("\n")]);
  const hint = useDropped(read, say("drop"));
  return html`<${AccountPage} title=${say("title")} lead=${say("lead")} actions=${html`<a class="button button-plain" href="/comfy/"><span>${say("editor")}</span></a>`}>
    <${Part} title=${say("check")} text=${say("check_text")} actions=${html`<${Button} kind="primary" icon="file-up" onClick=${() => choose(read)}>${say("choose")}<//>`}>
      <${Found} found=${found} />
    <//>
    <${Part} title=${say("packs")} text=${say("careful")}>
      ${packs.data ? html`<${Packs} packs=${packs.data} />` : html`<${Pending} ...${packs} />`}
    <//>
    ${hint}
  <//>`;
}

function choose(take) {
  const input = document.createElement("input");
  input.type = "file";
  input.accept = ".json,image/png,image/webp";
  input.addEventListener("change", () => input.files[0] && take(input.files[0]));
  input.click();
}

function Found({ found }) {
  if (!found) return null;
  const { name, missing, problem } = found;
  if (found.busy) return html`<${Note}>${say("looking")}<//>`;
  if (problem) return html`<${Note} kind="bad">${problem}<//>`;
  if (!missing.length) return html`<${Note} kind="good">${say("nothing", { name })}<//>`;
  const packs = Map.groupBy ? Map.groupBy(missing, (one) => one.pack) : grouped(missing);
  const unknown = packs.get("") || [];
  return html`
    <${Note} kind="warn">${missing.length === 1 ? say("lacks_one", { name }) : say("lacks_many", { name, n: number(missing.length) })}<//>
    ${[...packs].filter(([pack]) => pack).map(([pack, classes]) => html`<article class="card" key=${pack} data-pack=${pack}>
      <p>${say("has", { pack })}</p>
      <${Classes} classes=${classes} hasNodes=${found.hasNodes} />
      <p class="soft">${say("command")}</p>
      <div class="example"><pre tabindex="0"><code>${classes[0].command}</code></pre><${CopyButton} text=${classes[0].command} /></div>
    </article>`)}
    ${unknown.length > 0 && html`<article class="card" data-pack="">
      <p>${say("unknown")}</p>
      <${Classes} classes=${unknown} hasNodes=${found.hasNodes} />
      <p class="soft">${say("unknown_text")}</p>
    </article>`}
  `;
}

function grouped(missing) {
  const packs = new Map();
  for (const one of missing) packs.set(one.pack, [...(packs.get(one.pack) || []), one]);
  return packs;
}

function Classes({ classes, hasNodes }) {
  return html`<ul class="plain-facts">
    ${classes.map(({ class_type: name, nodes }) => html`<li key=${name}><code>${name}</code>${hasNodes && html` <span class="soft">${say(nodes.length === 1 ? "where_one" : "where_many", { ids: nodes.join(", ") })}</span>`}</li>`)}
  </ul>`;
}

function Packs({ packs }) {
  if (!packs.length) return html`<p class="soft">${say("no_packs")}</p>`;
  return html`<${Table} label=${say("packs")} columns=${[[say("pack")], [say("version")], [say("state")], [say("nodes")]]}>
    ${packs.map((pack) => html`<tr key=${pack.name}>
      <th scope="row"><span class="cell-name">${pack.name}</span><span class="soft">${pack.about}</span></th>
      <td>${pack.version}</td>
      <td><span class=${`state ${pack.state === "enabled" ? "state-active" : pack.state === "changed" ? "state-replaced" : ""}`}>${say(STATES[pack.state] || "state_absent")}</span></td>
      <td>${pack.classes.join(", ")}</td>
    </tr>`)}
  <//>`;
}
