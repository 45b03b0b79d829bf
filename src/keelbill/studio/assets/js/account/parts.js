// What the account pages share: loading with its states, the head of a page, saving files. Knows no page.
import { html, useCallback, useEffect, useState } from "../lib.js";
import { Button, Empty, Note } from "../ui/controls.js";
import { Dialog } from "../ui/dialog.js";
import { ProofDialog, proven } from "./proof.js";
import { say } from "./texts.js";

/** Load something when the page opens: {data, error, reload}. A later answer never overwrites a newer one. */
export function useLoaded(load, needs = []) {
  const [state, setState] = useState({ data: null, error: null });
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    let isCurrent = true;
    load().then(
      (data) => isCurrent && setState({ data, error: null }),
      (error) => isCurrent && setState((before) => ({ ...before, error })),
    );
    return () => {
      isCurrent = false;
    };
  }, [...needs, turn]);
  return { ...state, reload: useCallback(() => setTurn((before) => before + 1), []) };
}

/** Do something that the server may refuse: {busy, problem, run}. `run` returns whether it was done. */
export function useDoing() {
  const [state, setState] = useState({ busy: false, problem: "" });
  const run = async (work) => {
    setState({ busy: true, problem: "" });
    try {
      await proven(work);
      setState({ busy: false, problem: "" });
      return true;
    } catch (error) {
      setState({ busy: false, problem: error.message });
      return false;
    }
  };
  return { ...state, run };
}

/** A question before something that cannot be undone. `onDo` does it. */
export function Confirm({ title, text, action, onDo, onClose }) {
  const { busy, problem, run } = useDoing();
  const submit = async () => (await run(onDo)) && onClose();
  return html`<${Dialog} title=${title} onClose=${onClose}
    actions=${html`<${Button} onClick=${onClose}>${say("cancel")}<//><${Button} kind="danger" busy=${busy} onClick=${submit}>${action}<//>`}>
    <p>${text}</p>
    ${problem && html`<${Note} kind="bad">${problem}<//>`}
  <//>`;
}

/** A page: its title, what it is for, its main button, and its content. */
export function AccountPage({ title, lead, actions, children }) {
  return html`<div class="account-page">
    <header class="account-head">
      <div><h1>${title}</h1><p class="soft">${lead}</p></div>
      ${actions && html`<div class="account-actions">${actions}</div>`}
    </header>
    ${children}
    <${ProofDialog} />
  </div>`;
}

/** A titled part of a page. */
export function Part({ title, text, actions, children }) {
  return html`<section class="part">
    <div class="part-head"><div><h2>${title}</h2>${text && html`<p class="soft">${text}</p>`}</div>${actions && html`<div class="part-actions">${actions}</div>`}</div>
    ${children}
  </section>`;
}

/** What is there instead of content while it loads or when it failed. */
export function Pending({ error, reload }) {
  if (!error) return html`<div class="waiting" role="status"><span class="spinner" /><span class="out-of-sight">${say("loading")}</span></div>`;
  return html`<${Empty} icon="circle-alert" title=${say("failed")} actions=${html`<${Button} icon="refresh-cw" onClick=${reload}>${say("again")}<//>`}>${error.message}<//>`;
}

/** A table that may be scrolled sideways by keyboard on small screens. `columns` are [label, isNumber] pairs. */
export function Table({ label, columns, children }) {
  return html`<div class="table-box" role="region" aria-label=${label} tabindex="0">
    <table class="table">
      <thead><tr>${columns.map(([text, isNumber]) => html`<th scope="col" key=${text} class=${isNumber ? "figure" : ""}>${text}</th>`)}</tr></thead>
      <tbody>${children}</tbody>
    </table>
  </div>`;
}

/** Write a table as comma-separated values; spreadsheets must not take text for a formula. */
export function csvOf(rows) {
  const cell = (value) => {
    const text = String(value);
    const harmless = /^[=+\-@\t\r]/.test(text) && !/^-?\d+(\.\d+)?$/.test(text) ? `'${text}` : text;
    return /[",\r\n]/.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless;
  };
  return rows.map((row) => `${row.map(cell).join(",")}\r\n`).join("");
}

/** Save text or a blob as a file. */
export function save(name, content, type = "text/csv") {
  const url = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
