// Models that are here and those that can be fetched, with the progress of fetching. Knows no tensors.
import { call } from "../api.js";
import { Confirm, Part, Table } from "../account/parts.js";
import { html, useEffect, useState } from "../lib.js";
import { bytes } from "../i18n/pairs.js";
import { Button, Field, Note } from "../ui/controls.js";
import { Dialog } from "../ui/dialog.js";
import { Loaded, act, useProven } from "./loading.js";
import { say } from "./texts.js";

const EVERY_MS = 1500;

/** The part of the page. */
export function Models() {
  const state = useProven(() => call("GET /api/admin/models"));
  const [open, setOpen] = useState(null);
  const { reload } = state;
  const isPulling = state.data?.pulls.some((pull) => pull.state === "running");
  useEffect(() => {
    if (!isPulling) return undefined;
    const timer = setInterval(reload, EVERY_MS);
    return () => clearInterval(timer);
  }, [isPulling]);
  const close = () => setOpen(null);
  return html`<${Loaded} state=${state}>
    ${({ models, pulls }) => {
      const available = models.filter((model) => model.state === "available");
      return html`
        ${pulls.map((pull) => html`<${Progress} key=${pull.name} pull=${pull} reload=${reload} />`)}
        <${Part} title=${say("models.here")}><${Here} models=${models.filter((model) => model.state !== "available")} onRemove=${(model) => setOpen({ what: "remove", model })} /><//>
        ${available.length > 0 && html`<${Part} title=${say("models.available")} text=${say("models.available_text")}><${Available} models=${available} isPulling=${isPulling} onFetch=${(model) => setOpen({ what: "fetch", model })} /><//>`}
        ${open?.what === "fetch" && html`<${Fetch} model=${open.model} onClose=${close} reload=${reload} />`}
        ${open?.what === "remove" &&
        html`<${Confirm} title=${say("models.remove_title", { name: open.model.title })} text=${say("models.remove_text")} action=${say("models.remove")} onClose=${close}
          onDo=${async () => {
            await call("DELETE /api/admin/models/{name}", { params: { name: open.model.name } });
            reload();
          }} />`}
      `;
    }}
  <//>`;
}

function Here({ models, onRemove }) {
  const stateOf = (model) => (model.state === "missing" ? "missing" : model.is_loaded ? "loaded" : "idle");
  return html`<${Table} label=${say("models.here")} columns=${[[say("models.name")], [say("models.origin")], [say("models.size"), true], [say("models.licence")], [say("models.state")], [say("actions")]]}>
    ${models.map((model) => html`<tr key=${model.name}>
      <th scope="row"><span class="cell-name">${model.title}</span>${model.title !== model.name && html`<code class="soft">${model.name}</code>`}</th>
      <td>${model.origin}</td><td class="figure">${bytes(model.size_bytes)}</td><td>${model.licence || "–"}</td>
      <td><span class=${`state ${{ missing: "state-replaced", loaded: "state-active" }[stateOf(model)] || ""}`}>${say(`models.${stateOf(model)}`)}</span>${model.is_default && html` <span class="state">${say("models.default")}</span>`}</td>
      <td class="row-actions">${model.origin !== "built-in" && !model.is_default && html`<${Button} small kind="danger" onClick=${() => onRemove(model)}>${say("models.remove")}<//>`}</td>
    </tr>`)}
  <//>`;
}

function Available({ models, isPulling, onFetch }) {
  return html`<${Table} label=${say("models.available")} columns=${[[say("models.name")], [say("models.size"), true], [say("models.licence")], [say("actions")]]}>
    ${models.map((model) => html`<tr key=${model.name}>
      <th scope="row"><span class="cell-name">${model.title}</span><code class="soft">${model.name}</code></th>
      <td class="figure">${bytes(model.size_bytes)}</td><td>${model.licence}</td>
      <td class="row-actions"><${Button} small icon="download" disabled=${isPulling} onClick=${() => onFetch(model)}>${say("models.fetch")}<//></td>
    </tr>`)}
  <//>`;
}

function Fetch({ model, onClose, reload }) {
  const [t5, setT5] = useState("fp16");
  const go = async () => {
    onClose();
    await act(() => call("POST /api/admin/models/{name}/pull", { params: { name: model.name }, body: { t5 } }), reload);
  };
  return html`<${Dialog} title=${say("models.fetch_title", { name: model.title })} onClose=${onClose} actions=${html`<${Button} onClick=${onClose}>${say("queue.cancel")}<//><${Button} kind="primary" icon="download" onClick=${go}>${say("models.fetch")}<//>`}>
    <p>${say("models.fetch_text", { size: bytes(model.size_bytes), licence: model.licence })}</p>
    <${Field} label=${say("models.t5")}>${(given) => html`<select ...${given} class="select" value=${t5} onChange=${(event) => setT5(event.target.value)}>
      ${["fp16", "fp8", "none"].map((choice) => html`<option key=${choice} value=${choice}>${say(`models.t5.${choice}`)}</option>`)}
    </select>`}<//>
  <//>`;
}

function Progress({ pull, reload }) {
  const stop = () => act(() => call("DELETE /api/admin/models/{name}/pull", { params: { name: pull.name } }), reload);
  if (pull.state !== "running") {
    return html`<${Note} kind=${{ done: "good", failed: "bad" }[pull.state] || "info"}>${say(`models.${pull.state}`, { name: pull.name, problem: pull.problem })}<//>`;
  }
  const label = say("models.progress", { name: pull.name, arrived: bytes(pull.arrived_bytes), expected: bytes(pull.expected_bytes) });
  return html`<div class="pull" role="status">
    <div class="pull-head"><strong>${label}</strong><${Button} small onClick=${stop}>${say("models.stop")}<//></div>
    <progress max=${pull.expected_bytes || 1} value=${pull.arrived_bytes} aria-label=${label} />
    <p class="hint">${pull.files ? say("models.file", { n: pull.file_number, all: pull.files, file: pull.file }) : say("models.beginning")}</p>
  </div>`;
}
