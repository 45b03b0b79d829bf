// The texts of the page of node packs, in every language; fetched with it. Knows no page.
import { pairs } from "../i18n/pairs.js";

const TEXTS = {
  title: ["Node packs", "Knotenpakete"],
  lead: ["Which packs of nodes this server knows, and what a workflow lacks.", "Welche Knotenpakete dieser Server kennt und was einem Workflow fehlt."],
  editor: ["To the graph editor", "Zum Graphen-Editor"],
  check: ["Check a workflow", "Einen Workflow prüfen"],
  check_text: ["Drop a workflow here, as JSON or as a PNG or WebP picture that carries one. It is not run and not kept.", "Legen Sie einen Workflow hier ab, als JSON oder als PNG- oder WebP-Bild, das einen trägt. Er wird weder ausgeführt noch behalten."],
  choose: ["Choose a file", "Datei auswählen"],
  drop: ["Drop a workflow to see what it lacks", "Workflow ablegen, um zu sehen, was ihm fehlt"],
  looking: ["Looking at the workflow…", "Der Workflow wird angesehen …"],
  unreadable: ["{name} holds no workflow that can be read.", "{name} enthält keinen lesbaren Workflow."],
  from_editor: ["the workflow in the editor", "der Workflow im Editor"],
  nothing: ["Nothing is missing in {name}: every node is here.", "In {name} fehlt nichts: Alle Knoten sind da."],
  lacks_one: ["One class of nodes is missing in {name}.", "In {name} fehlt eine Klasse von Knoten."],
  lacks_many: ["{n} classes of nodes are missing in {name}.", "In {name} fehlen {n} Klassen von Knoten."],
  has: ["The pack {pack} has:", "Das Paket {pack} hat:"],
  unknown: ["No known pack has:", "Kein bekanntes Paket hat:"],
  unknown_text: ["Replace these nodes by others, or ask an administrator for a pack that has them.", "Ersetzen Sie diese Knoten durch andere, oder fragen Sie die Verwaltung nach einem Paket, das sie hat."],
  where_one: ["node {ids}", "Knoten {ids}"],
  where_many: ["nodes {ids}", "Knoten {ids}"],
  command: ["An administrator runs this on the machine of the server, then starts the server again:", "Die Verwaltung führt dies auf dem Rechner des Servers aus und startet den Server neu:"],
  careful: ["A pack is a program and can do whatever a program can. Nothing can be installed over the web.", "Ein Paket ist ein Programm und kann alles, was ein Programm kann. Über das Web lässt sich nichts installieren."],
  packs: ["Known packs", "Bekannte Pakete"],
  no_packs: ["No pack is known.", "Kein Paket ist bekannt."],
  pack: ["Pack", "Paket"],
  version: ["Version", "Version"],
  state: ["State", "Zustand"],
  nodes: ["Nodes", "Knoten"],
  state_enabled: ["Enabled", "Aktiviert"],
  state_changed: ["Changed since it was enabled", "Seit der Aktivierung verändert"],
  state_off: ["Installed, off", "Installiert, aus"],
  state_absent: ["Not installed", "Nicht installiert"],
};

/** Return a text of this page in the language that is shown; {places} are filled in. */
export const say = pairs(TEXTS);
