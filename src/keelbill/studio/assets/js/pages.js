// Every page of the studio: its address, its name and where its code is. A new page is one more line here.
// Pages that people see first come with the studio; the others are fetched when they are opened.
import { PlaygroundPage } from "./playground/page.js";

/**
 * `path` may hold parts such as ":id". `title` names a text. `nav` puts a page into the navigation ("main") or into the
 * account menu ("account"). `open` pages need no sign-in. `roles` limits a page to roles of the organisation, `staff` to
 * administrators of the server. `load` returns the module; its `page` is what is shown.
 */
export const PAGES = [
  { path: "/", title: "page.playground", icon: "wand-sparkles", nav: "main", keys: "g c", page: PlaygroundPage },
  { path: "/canvas", title: "page.canvas", icon: "brush", nav: "main", keys: "g e", load: () => import("./canvas/page.js") },
  { path: "/comfy/", title: "page.graphs", icon: "workflow", nav: "main", keys: "g w" }, // the graph editor, no page of ours
  { path: "/gallery", title: "page.gallery", icon: "image", nav: "main", keys: "g g", load: () => import("./gallery/page.js") },
  { path: "/gallery/:id", title: "page.gallery", load: () => import("./gallery/page.js") },
  { path: "/account", title: "page.account", icon: "user", nav: "account", load: () => import("./account/profile.js") },
  { path: "/team", title: "page.team", icon: "users", nav: "account", load: () => import("./account/team.js") },
  { path: "/keys", title: "page.keys", icon: "key", nav: "account", load: () => import("./account/keys.js") },
  { path: "/billing", title: "page.billing", icon: "wallet", nav: "account", load: () => import("./account/billing.js") },
  { path: "/usage", title: "page.usage", icon: "activity", nav: "account", load: () => import("./account/usage.js") },
  { path: "/webhooks", title: "page.webhooks", icon: "webhook", nav: "account", load: () => import("./account/webhooks.js") },
  { path: "/nodes", title: "page.nodes", icon: "layers", nav: "account", load: () => import("./nodes/page.js") },
  { path: "/help", title: "page.help", icon: "circle-question-mark", nav: "account", keys: "g h", load: () => import("./help/page.js") },
  { path: "/help/:part", title: "page.help", load: () => import("./help/page.js") },
  { path: "/admin", title: "page.admin", icon: "settings", nav: "account", keys: "g a", staff: true, load: () => import("./admin/page.js") },
  { path: "/admin/:part", title: "page.admin", staff: true, load: () => import("./admin/page.js") },
  { path: "/sign-in", title: "page.sign_in", open: true, load: () => import("./entry/sign-in.js") },
  { path: "/sign-up", title: "page.sign_up", open: true, load: () => import("./entry/sign-up.js") },
  { path: "/set-up", title: "page.set_up", open: true, load: () => import("./entry/set-up.js") },
  { path: "/verify", title: "page.verify", open: true, load: () => import("./entry/verify.js") },
  { path: "/reset", title: "page.reset", open: true, load: () => import("./entry/reset.js") },
  { path: "/invitation", title: "page.invitation", open: true, load: () => import("./entry/invitation.js") },
];
