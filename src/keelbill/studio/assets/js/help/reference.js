// Every operation of the server, from its OpenAPI document: searched, opened one by one. Knows the document only.
import { call } from "../api.js";
import { html, useMemo, useState } from "../lib.js";
import { number } from "../i18n/index.js";
import { Pending, useLoaded } from "../account/parts.js";
import { CopyButton } from "../ui/controls.js";
import { Icon } from "../ui/icon.js";
import { say } from "./texts.js";

const DOCUMENT = "/openapi.json";
const METHODS = ["get", "post", "put", "patch", "delete"];

/** Return the operations of a document: {id, method, path, tag, summary, text, operation}. */
export function operationsOf(document) {
  return Object.entries(document.paths).flatMap(([path, item]) =>
    METHODS.filter((method) => item[method]).map((method) => {
      const operation = item[method];
      const text = operation.description || "";
      return { id: `${method} ${path}`, method: method.toUpperCase(), path, tag: operation.tags?.[0] || "", summary: text.split("\n")[0] || operation.summary || "", text, operation };
    }),
  );
}

/** The part of the page. */
export function Reference() {
  const { data, error, reload } = useLoaded(() => call(`GET ${DOCUMENT}`));
  const [text, setText] = useState("");
  const all = useMemo(() => (data ? operationsOf(data) : []), [data]);
  if (!data) return html`<${Pending} error=${error} reload=${reload} />`;
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const found = all.filter((one) => words.every((word) => `${one.id} ${one.tag} ${one.summary}`.toLowerCase().includes(word)));
  const groups = Map.groupBy ? Map.groupBy(found, (one) => one.tag) : grouped(found);
  return html`
    <div class="row row-apart">
      <label class="gallery-search"><${Icon} name="search" /><span class="out-of-sight">${say("reference.search")}</span><input class="input" type="search" autocomplete="off" placeholder=${say("reference.search")} value=${text} onInput=${(event) => setText(event.target.value)} /></label>
      <span class="soft" role="status">${say("reference.count", { n: number(found.length) })}</span>
      <a class="button button-plain" href="/openapi.json" target="_self" download><${Icon} name="download" />${say("reference.download")}</a>
    </div>
    ${found.length === 0 && html`<p class="soft">${say("reference.none")}</p>`}
    ${[...groups].map(([tag, operations]) => html`<section class="part" key=${tag}><div class="part-head"><h2>${tag}</h2></div>${operations.map((one) => html`<${Operation} key=${one.id} one=${one} document=${data} />`)}</section>`)}
  `;
}

function grouped(found) {
  const groups = new Map();
  for (const one of found) groups.set(one.tag, [...(groups.get(one.tag) || []), one]);
  return groups;
}

function resolved(document, schema) {
  if (!schema?.$ref) return schema || {};
  return schema.$ref.slice(2).split("/").reduce((at, part) => at?.[part], document) || {};
}

/** Say what a value must be, in a few words. */
function typeOf(document, schema) {
  const { type, enum: values, anyOf, items, format, $ref } = schema || {};
  if (anyOf) return anyOf.map((one) => typeOf(document, one)).join(" | ");
  const found = $ref ? resolved(document, schema) : schema;
  if (values || found?.enum) return (values || found.enum).map((one) => JSON.stringify(one)).join(" | ");
  if ((type || found?.type) === "array") return `[${typeOf(document, (items || found.items) ?? {})}]`;
  return [type || found?.type || "any", format].filter(Boolean).join(", ");
}

function Operation({ one, document }) {
  const [open, setOpen] = useState(false);
  return html`<details class="operation" onToggle=${(event) => setOpen(event.currentTarget.open)}>
    <summary><span class=${`method method-${one.method.toLowerCase()}`}>${one.method}</span><code>${one.path}</code><span class="soft operation-summary">${one.summary}</span></summary>
    ${open && html`<${Inside} operation=${one.operation} text=${one.text} document=${document} />`}
  </details>`;
}

function Inside({ operation, text, document }) {
  const bodies = Object.entries(operation.requestBody?.content || {}).map(([kind, { schema }]) => [kind, resolved(document, schema)]);
  const sample = operation["x-codeSamples"]?.[0]?.source;
  const parameters = (operation.parameters || []).map((one) => resolved(document, one));
  return html`<div class="operation-inside">
    ${text.split(/\n{2,}/).map((paragraph, index) => html`<p key=${index}>${paragraph}</p>`)}
    ${parameters.length > 0 && html`<h3>${say("reference.parameters")}</h3><${Fields} rows=${parameters.map((one) => [one.name, one.schema, one.required, one.description])} document=${document} />`}
    ${bodies.map(([kind, schema]) => html`<div key=${kind}><h3>${say("reference.body")} <span class="soft">${kind}</span></h3><${Fields} rows=${Object.entries(schema.properties || {}).map(([name, field]) => [name, field, schema.required?.includes(name), field.description || resolved(document, field).description])} document=${document} /></div>`)}
    <h3>${say("reference.answers")}</h3>
    <p class="codes">${Object.entries(operation.responses || {}).map(([status, answer]) => html`<span key=${status} class="state" title=${answer.description}>${status}</span>`)}</p>
    ${sample && html`<h3>${say("reference.example")}</h3><div class="example"><pre tabindex="0"><code>${sample}</code></pre><${CopyButton} text=${sample} /></div>`}
  </div>`;
}

function Fields({ rows, document }) {
  return html`<dl class="fields">
    ${rows.map(([name, schema, required, description]) => html`<div key=${name}><dt><code>${name}</code> <span class="soft">${typeOf(document, schema)}${required ? `, ${say("reference.required")}` : ""}</span></dt>${description && html`<dd>${description}</dd>`}</div>`)}
  </dl>`;
}
