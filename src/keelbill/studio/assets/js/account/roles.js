// The choice of a role, with what each may do. Knows no members.
import { html } from "../lib.js";
import { Field } from "../ui/controls.js";
import { say } from "./texts.js";

/** From the one who may do most. */
export const ROLES = ["owner", "admin", "billing", "member", "viewer"];

/** The choice, as a field. */
export function RoleSelect({ value, onValue }) {
  return html`<${Field} label=${say("team.role")}>${(given) => html`<select ...${given} class="select" value=${value} onChange=${(event) => onValue(event.target.value)}>
    ${ROLES.map((role) => html`<option key=${role} value=${role}>${say(`role.${role}`)}: ${say(`role.${role}_text`)}</option>`)}
  </select>`}<//>`;
}
