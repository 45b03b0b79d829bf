// Why the studio could not start, if it could not. Knows no page.
import { signal } from "../lib.js";

/** The error, or null. */
export const startupProblem = signal(null);
