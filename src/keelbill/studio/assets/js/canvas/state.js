// What is done on the canvas: strokes, margins, tools, and the way back. Knows no element and draws nothing.
import { computed, effect, signal } from "../lib.js";
import { source } from "./source.js";

const KEY = "keelbill.strokes";
const MAX_KEPT_CHARS = 400_000;
const NOTHING = { strokes: [], margins: { left: 0, right: 0, up: 0, down: 0 } };

export const MAX_MARGIN = 2000;
export const MIN_BRUSH = 4;
export const MAX_BRUSH = 512;
export const MAX_FEATHER = 100;

/** "brush", "eraser", "lasso", "frame" or "hand". */
export const tool = signal("brush");

/** Diameter of brush and eraser in pixels of the picture. */
export const brush = signal(64);

/** Pixels of the picture over which the mask's edge is soft. */
export const feather = signal(8);

/** What becomes of the painted part: "paint" anew, or take it "away". */
export const purpose = signal("paint");

/** How much changes, 0 to 1, by what is done: the whole picture, a part, a margin. */
export const amounts = signal({ whole: 0.6, part: 1, margin: 0.5 });

const work = signal({ of: source.peek()?.id, past: [], now: restored(), future: [] });

/** The strokes: {kind, points, size} with points as x, y, x, y; `kind` is "brush", "eraser", "lasso", "invert" or "clear". */
export const strokes = computed(() => work.value.now.strokes);

/** Pixels that are added on each side: {left, right, up, down}. */
export const margins = computed(() => work.value.now.margins);

export const canUndo = computed(() => work.value.past.length > 0);
export const canRedo = computed(() => work.value.future.length > 0);

/** Whether anything may be painted; the pixels decide in the end. */
export const hasMask = computed(() => {
  const since = strokes.value.slice(strokes.value.findLastIndex((one) => one.kind === "clear") + 1);
  return since.some((one) => one.kind !== "eraser");
});

export const hasMargin = computed(() => Object.values(margins.value).some((pixels) => pixels > 0));

/** What will be asked for: "whole", "inpaint", "erase", "outpaint", or "both" for a part and a margin. */
export const deed = computed(() => {
  if (hasMargin.value) return hasMask.value ? "both" : "outpaint";
  if (!hasMask.value) return "whole";
  return purpose.value === "away" ? "erase" : "inpaint";
});

/** Width and height of the finished picture. */
export const finishedSize = computed(() => {
  const { left, right, up, down } = margins.value;
  return { width: (source.value?.width || 0) + left + right, height: (source.value?.height || 0) + up + down };
});

function restored() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(KEY) || "null");
    return kept && kept.of === source.peek()?.id ? kept.now : NOTHING;
  } catch {
    return NOTHING;
  }
}

effect(() => {
  const of = source.value?.id;
  if (work.peek().of === of) return;
  work.value = { of, past: [], now: NOTHING, future: [] };
  purpose.value = "paint";
  if (source.value) brush.value = fitting(source.value);
});

effect(() => {
  const text = JSON.stringify({ of: work.value.of, now: work.value.now });
  try {
    if (text.length < MAX_KEPT_CHARS) sessionStorage.setItem(KEY, text);
  } catch {
    // Without storage a reload forgets the strokes.
  }
});

function fitting({ width, height }) {
  return Math.max(MIN_BRUSH, Math.min(MAX_BRUSH, Math.round(Math.min(width, height) / 12)));
}

function change(values) {
  const { of, past, now } = work.peek();
  work.value = { of, past: [...past, now].slice(-200), now: { ...now, ...values }, future: [] };
}

/** Add a stroke. */
export function addStroke(stroke) {
  change({ strokes: [...strokes.peek(), stroke] });
}

/** Paint what is not painted, and the other way round. */
export function invert() {
  addStroke({ kind: "invert" });
}

/** Paint nothing any more, and add no margin. */
export function clear() {
  change({ strokes: [...strokes.peek(), { kind: "clear" }], margins: NOTHING.margins });
}

/** Add other margins; `live` changes them while a handle is dragged, without a step to come back to. */
export function setMargins(wanted, { live = false } = {}) {
  const whole = (pixels) => Math.max(0, Math.min(MAX_MARGIN, Math.round(pixels / 8) * 8));
  const found = Object.fromEntries(Object.entries({ ...margins.peek(), ...wanted }).map(([side, pixels]) => [side, whole(pixels)]));
  if (live) work.value = { ...work.peek(), now: { ...work.peek().now, margins: found } };
  else change({ margins: found });
}

/** Remember where margins were before a handle was dragged. */
export function beginMargins() {
  change({});
}

/** Widen the picture to a shape, by the same on both sides. */
export function setShape(across, high) {
  const { width, height } = source.peek();
  const eighths = (pixels) => Math.max(0, Math.round(pixels / 8));
  const wider = eighths((height * across) / high - width);
  const higher = eighths((width * high) / across - height);
  const first = (total) => 8 * Math.ceil(total / 2);
  setMargins({ left: first(wider), right: 8 * wider - first(wider), up: first(higher), down: 8 * higher - first(higher) });
}

/** Take the last step back. */
export function undo() {
  const { of, past, now, future } = work.peek();
  if (past.length) work.value = { of, past: past.slice(0, -1), now: past.at(-1), future: [now, ...future] };
}

/** Take the step that was taken back. */
export function redo() {
  const { of, past, now, future } = work.peek();
  if (future.length) work.value = { of, past: [...past, now], now: future[0], future: future.slice(1) };
}

/** Make the brush wider or finer by a step that suits its size. */
export function resizeBrush(direction) {
  const step = Math.max(2, Math.round(brush.peek() * 0.15));
  brush.value = Math.max(MIN_BRUSH, Math.min(MAX_BRUSH, brush.peek() + direction * step));
}
