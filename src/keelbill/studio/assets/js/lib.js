// The libraries, under one roof: elements, state, hooks. Knows nothing of the studio.
import { Fragment, createContext, createElement, createRef, render } from "../vendor/preact.js";
import htm from "../vendor/htm.js";

export const html = htm.bind(createElement);
export { Fragment, createContext, createRef, render };
export {
  useCallback,
  useEffect,
  useErrorBoundary,
  useId,
  useLayoutEffect,
  useMemo,
  useRef,
  useState,
} from "../vendor/preact-hooks.js";
export { batch, computed, effect, signal, useComputed, useSignal, useSignalEffect } from "../vendor/signals.js";

/** Address of the folder with all files of this version. */
export const BASE = new URL("..", import.meta.url).pathname.replace(/\/$/, "");

/** Join class names; what is false is left out. */
export function classes(...names) {
  return names.filter(Boolean).join(" ");
}
