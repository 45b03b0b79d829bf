// Which page belongs to an address, and who may open it. Knows roles; the server decides what they may do.
import { session } from "../api.js";
import { PAGES } from "../pages.js";
import { match } from "../router.js";
import { organisation } from "../state/account.js";

/** Return the page for a path and the parts of its address. */
export function pageAt(path) {
  for (const page of PAGES) {
    const parts = match(page.path, path);
    if (parts) return { page, parts };
  }
  return { page: null, parts: {} };
}

/** Whether the person may open a page. */
export function mayOpen(page) {
  if (page.open) return true;
  if (page.staff && !session.value?.user.is_staff) return false;
  return !page.roles || page.roles.includes(organisation.value?.role);
}
