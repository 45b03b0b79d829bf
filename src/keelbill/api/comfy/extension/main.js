// Our own extension of the graph editor: opens a picture of the gallery, and says what a workflow lacks.
// Knows the editor's public hooks only. The server fills in STUDIO where the studio is at another address.
import { app } from "../../scripts/app.js";

const STUDIO = "";
const NOTICE = "keelbill-missing";

function missingTypes() {
  const there = window.LiteGraph?.registered_node_types || {};
  const own = new Set(["Note", "MarkdownNote", "Reroute", "PrimitiveNode"]);
  const used = (app.graph?._nodes || []).map((node) => String(node.last_serialization?.type || node.type || ""));
  return [...new Set(used)].filter((type) => type && !(type in there) && !own.has(type) && !/^[0-9a-f-]{36}$/.test(type));
}

function tell(types) {
  document.getElementById(NOTICE)?.remove();
  if (!types.length) return;
  const notice = document.createElement("div");
  notice.id = NOTICE;
  notice.setAttribute("role", "status");
  notice.style.cssText =
    "position:fixed;left:50%;bottom:24px;transform:translateX(-50%);z-index:2000;display:flex;gap:16px;align-items:center;" +
    "max-width:min(720px,90vw);padding:12px 16px;border-radius:8px;background:#1f2937;color:#f9fafb;font:14px/1.5 sans-serif;" +
    "box-shadow:0 4px 24px #0008;overflow-wrap:anywhere";
  const text = document.createElement("span");
  const shown = types.slice(0, 5).join(", ") + (types.length > 5 ? ", …" : "");
  text.textContent = `This server does not have ${types.length === 1 ? "this node" : `${types.length} nodes`} of the workflow: ${shown}`;
  const link = document.createElement("a");
  const query = new URLSearchParams(types.slice(0, 100).map((type) => ["class", type]));
  link.href = `${STUDIO}/nodes?${query}`;
  link.target = "_blank";
  link.textContent = "Which pack has it?";
  link.style.cssText = "color:#93c5fd;text-decoration:underline;white-space:nowrap";
  const close = document.createElement("button");
  close.type = "button";
  close.textContent = "×";
  close.setAttribute("aria-label", "Close");
  close.style.cssText = "border:0;background:none;color:inherit;font-size:20px;cursor:pointer";
  close.addEventListener("click", () => notice.remove());
  notice.append(text, link, close);
  document.body.append(notice);
}

async function openPicture() {
  const address = new URL(location.href);
  const id = address.searchParams.get("picture");
  if (!id) return;
  address.searchParams.delete("picture");
  history.replaceState(history.state, "", address);
  const answer = await fetch(`${STUDIO}/api/gallery/${encodeURIComponent(id)}/image`, { credentials: "same-origin" });
  if (!answer.ok) {
    app.extensionManager?.toast?.add({ severity: "warn", summary: "Keelbill", detail: "This picture is not in your gallery.", life: 8000 });
    return;
  }
  const content = await answer.blob();
  const ending = { "image/png": "png", "image/webp": "webp", "image/jpeg": "jpg" }[content.type] || "png";
  await app.handleFile(new File([content], `${id}.${ending}`, { type: content.type }));
}

app.registerExtension({
  name: "keelbill.studio",
  async setup() {
    setTimeout(() => openPicture(), 500); // after the editor has restored what was open
  },
  async afterConfigureGraph() {
    setTimeout(() => tell(missingTypes()), 0);
  },
});
