// What was changed on this server, and by whom. Knows no more than the audit log.
import { call } from "../api.js";
import { AuditTable } from "../account/audit.js";
import { html } from "../lib.js";
import { Loaded, useProven } from "./loading.js";

/** The part of the page. */
export function Log() {
  const state = useProven(() => call("GET /api/admin/audit", { query: { limit: 200 } }));
  return html`<${Loaded} state=${state}>${(lines) => html`<${AuditTable} lines=${lines} />`}<//>`;
}
