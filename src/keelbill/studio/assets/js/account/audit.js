// Lines of the audit log as a table. Knows neither who may read it nor where it comes from.
import { html } from "../lib.js";
import { dateTime } from "../i18n/index.js";
import { Table } from "./parts.js";
import { say } from "./texts.js";

/** The table; ids are shortened, and in full where somebody points. */
export function AuditTable({ lines }) {
  const columns = ["when", "what", "target", "who", "from"].map((name) => [say(`audit.${name}`)]);
  return html`<${Table} label=${say("team.audit")} columns=${columns}>
    ${lines.map(
      (line) => html`<tr key=${line.id}>
        <td>${dateTime(line.at_ms)}</td><th scope="row"><code>${line.action}</code></th>
        <td title=${line.target}>${short(line.target)}</td><td title=${line.actor_id}>${line.actor_kind} ${short(line.actor_id)}</td><td>${line.ip}</td>
      </tr>`,
    )}
  <//>`;
}

function short(id) {
  return /^[0-9a-f]{32}$/.test(id) ? `…${id.slice(-8)}` : id;
}
