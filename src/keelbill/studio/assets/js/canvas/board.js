// The surface on which a picture lies: shows it, zooms, draws strokes, drags the frame. Knows Konva, but no form.
import "../../vendor/konva.js";
import { drawMask, drawSoftly, drawStroke, maskSize } from "./mask.js";

const { Konva } = globalThis;

const TINT = "#ff2d78";
const STRIPE = "rgb(255 255 255 / 70%)";
const TINT_OPACITY = 0.62;
const LINE = "#12b5a0";
const ROOM = 28;
const HANDLE = 14;
const MIN_SCALE = 0.02;
const MAX_SCALE = 16;
const SIDES = [
  ["left"], ["right"], ["up"], ["down"],
  ["left", "up"], ["right", "up"], ["left", "down"], ["right", "down"],
];

/**
 * Shows one picture. Coordinates are pixels of the picture.
 * `told` has onStroke(stroke), onMargins(margins), onMarginsBegin() and onZoom(scale).
 */
export class Board {
  constructor(container, told) {
    this.told = told;
    this.tool = "brush";
    this.brush = 64;
    this.feather = 0;
    this.size = { width: 1, height: 1 };
    this.margins = { left: 0, right: 0, up: 0, down: 0 };
    this.drawn = null; // the stroke that is being drawn
    this.isPenDown = false; // drawn with keys
    this.isFitted = true;
    this.stage = new Konva.Stage({ container, width: container.clientWidth || 1, height: container.clientHeight || 1 });
    this.ground = new Konva.Layer({ listening: false });
    this.above = new Konva.Layer();
    this.stage.add(this.ground, this.above);
    this.margin = new Konva.Rect({ fill: "#8a8880", opacity: 0.28 });
    this.picture = new Konva.Image({ shadowColor: "black", shadowBlur: 18, shadowOpacity: 0.25 });
    this.tint = new Konva.Image({ opacity: TINT_OPACITY });
    this.ground.add(this.margin, this.picture, this.tint);
    this.frame = new Konva.Rect({ stroke: LINE, dash: [8, 6], strokeScaleEnabled: false, strokeWidth: 2, listening: false });
    this.outline = new Konva.Line({ stroke: "#fff", strokeWidth: 2, strokeScaleEnabled: false, dash: [6, 4], listening: false });
    this.cursor = new Konva.Circle({ stroke: "#fff", strokeWidth: 2, strokeScaleEnabled: false, listening: false, visible: false, shadowColor: "black", shadowBlur: 3, shadowOpacity: 0.9 });
    this.above.add(this.frame, this.outline, this.cursor);
    this.handles = SIDES.map((sides) => this.#handle(sides));
    this.above.add(...this.handles);
    this.#listen(container);
    this.observer = new ResizeObserver(() => this.#resized(container));
    this.observer.observe(container);
  }

  /** Take everything away. */
  destroy() {
    this.observer.disconnect();
    window.removeEventListener("pointerup", this.up);
    window.removeEventListener("pointercancel", this.up);
    this.stage.destroy();
  }

  /** Show another picture. */
  setPicture(image, size) {
    this.size = size;
    this.picture.image(image);
    this.picture.size(size);
    this.isFitted = true;
    this.fit();
  }

  /** Show what the state says. */
  show({ strokes, margins, tool, brush, feather }) {
    const isOther = strokes !== this.strokes || feather !== this.feather || !this.settled || this.settledFor !== this.size;
    Object.assign(this, { strokes, margins, tool, brush, feather });
    if (isOther) {
      this.settled = drawMask(strokes, this.size);
      this.settledFor = this.size;
      this.#paintTint();
    }
    this.#placeFrame();
    this.cursor.radius(brush / 2);
    this.cursor.visible(this.cursor.visible() && this.#paints());
    this.stage.container().style.cursor = tool === "hand" ? "grab" : this.#paints() ? "crosshair" : "default";
    this.stage.draggable(tool === "hand");
    if (this.isFitted) this.fit();
  }

  #paints() {
    return this.tool === "brush" || this.tool === "eraser" || this.tool === "lasso";
  }

  /** Bring all of it into view. */
  fit() {
    const { left, right, up, down } = this.margins;
    const room = this.tool === "frame" ? 2 * ROOM : ROOM;
    const width = this.size.width + left + right;
    const height = this.size.height + up + down;
    const scale = Math.min(MAX_SCALE, (this.stage.width() - 2 * room) / width, (this.stage.height() - 2 * room) / height, 2);
    this.stage.scale({ x: Math.max(scale, MIN_SCALE), y: Math.max(scale, MIN_SCALE) });
    const used = this.stage.scaleX();
    this.stage.position({
      x: (this.stage.width() - width * used) / 2 + left * used,
      y: (this.stage.height() - height * used) / 2 + up * used,
    });
    this.isFitted = true;
    this.#zoomed();
  }

  /** Make everything larger or smaller around a place of the stage, its middle if none is given. */
  zoom(factor, at = { x: this.stage.width() / 2, y: this.stage.height() / 2 }) {
    const before = this.stage.scaleX();
    const after = Math.max(MIN_SCALE, Math.min(MAX_SCALE, before * factor));
    const { x, y } = this.stage.position();
    this.stage.scale({ x: after, y: after });
    this.stage.position({ x: at.x - ((at.x - x) / before) * after, y: at.y - ((at.y - y) / before) * after });
    this.isFitted = false;
    this.#zoomed();
  }

  #zoomed() {
    this.#placeFrame();
    this.told.onZoom(this.stage.scaleX());
  }

  #resized(container) {
    this.stage.size({ width: container.clientWidth || 1, height: container.clientHeight || 1 });
    if (this.isFitted) this.fit();
  }

  // ---------------------------------------------------------------- drawing

  /** Begin a stroke at a place. */
  begin(x, y) {
    this.drawn = { kind: this.tool, points: [round(x), round(y)], size: this.brush };
    this.#paintTint();
  }

  /** Draw on to a place. */
  extend(x, y) {
    if (!this.drawn) return;
    const { points } = this.drawn;
    const least = 1.5 / this.stage.scaleX();
    if (Math.hypot(points.at(-2) - x, points.at(-1) - y) < least) return;
    points.push(round(x), round(y));
    this.#paintTint();
  }

  /** End the stroke and tell of it; `isKept` false forgets it. */
  end(isKept = true) {
    const stroke = this.drawn;
    this.drawn = null;
    this.outline.points([]);
    if (stroke && isKept && (stroke.kind !== "lasso" || stroke.points.length >= 6)) this.told.onStroke(stroke);
    else this.#paintTint();
  }

  /** Show where the brush is; nothing hides it. */
  point(place) {
    this.cursor.visible(Boolean(place) && this.#paints());
    if (place) this.cursor.position(place);
    this.cursor.radius(this.tool === "lasso" ? 3 / this.stage.scaleX() : this.brush / 2);
  }

  #paintTint() {
    const { width, height, scale } = maskSize(this.size);
    if (this.shown?.width !== width || this.shown?.height !== height) {
      this.shown = document.createElement("canvas");
      Object.assign(this.shown, { width, height });
      this.tint.image(this.shown);
    }
    this.tint.size(this.size);
    const context = this.shown.getContext("2d");
    context.globalCompositeOperation = "copy";
    if (!this.drawn) {
      context.clearRect(0, 0, width, height);
      context.globalCompositeOperation = "source-over";
      drawSoftly(context, this.settled, this.feather * scale);
    } else {
      drawSoftly(context, this.settled, 0);
      context.globalCompositeOperation = "source-over";
      context.save();
      context.scale(scale, scale);
      if (this.drawn.kind !== "lasso") drawStroke(context, this.drawn, this.size);
      context.restore();
    }
    context.globalCompositeOperation = "source-in";
    context.fillStyle = TINT;
    context.fillRect(0, 0, width, height);
    this.#paintStripes(context, width, height);
    this.outline.points(this.drawn?.kind === "lasso" ? this.drawn.points : []);
    this.ground.batchDraw();
  }

  /** A colour alone is lost on pictures of the same colour. */
  #paintStripes(context, width, height) {
    const apart = Math.max(width, height) / 60;
    context.globalCompositeOperation = "source-atop";
    context.strokeStyle = STRIPE;
    context.lineWidth = apart / 4;
    context.beginPath();
    for (let x = -height; x < width; x += apart) {
      context.moveTo(x, height);
      context.lineTo(x + height, 0);
    }
    context.stroke();
  }

  // ---------------------------------------------------------------- frame

  #placeFrame() {
    const { left, right, up, down } = this.margins;
    const box = { x: -left, y: -up, width: this.size.width + left + right, height: this.size.height + up + down };
    const hasMargin = left + right + up + down > 0;
    this.margin.setAttrs({ ...box, visible: hasMargin });
    this.frame.setAttrs({ ...box, visible: hasMargin || this.tool === "frame" });
    const side = HANDLE / this.stage.scaleX();
    for (const handle of this.handles) {
      const { sides } = handle.attrs;
      handle.visible(this.tool === "frame");
      handle.setAttrs({ width: side, height: side, offsetX: side / 2, offsetY: side / 2, cornerRadius: side / 4 });
      if (handle.isDragging()) continue;
      handle.position({
        x: box.x + box.width * (sides.includes("left") ? 0 : sides.includes("right") ? 1 : 0.5),
        y: box.y + box.height * (sides.includes("up") ? 0 : sides.includes("down") ? 1 : 0.5),
      });
    }
  }

  #handle(sides) {
    const handle = new Konva.Rect({ sides, fill: "#fff", stroke: LINE, strokeWidth: 2, strokeScaleEnabled: false, draggable: true, visible: false, hitStrokeWidth: 24 });
    const cursor = sides.length === 2 ? (sides.join() === "left,up" || sides.join() === "right,down" ? "nwse-resize" : "nesw-resize") : ["left", "right"].includes(sides[0]) ? "ew-resize" : "ns-resize";
    handle.on("mouseenter", () => (this.stage.container().style.cursor = cursor));
    handle.on("mouseleave", () => (this.stage.container().style.cursor = "default"));
    handle.on("dragstart", () => {
      this.isFitted = false;
      this.told.onMarginsBegin();
    });
    handle.on("dragmove", () => {
      const { x, y } = handle.position();
      const wanted = {};
      if (sides.includes("left")) wanted.left = -x;
      if (sides.includes("right")) wanted.right = x - this.size.width;
      if (sides.includes("up")) wanted.up = -y;
      if (sides.includes("down")) wanted.down = y - this.size.height;
      this.told.onMargins(wanted);
    });
    handle.on("dragend", () => this.fit());
    return handle;
  }

  // ---------------------------------------------------------------- fingers, mice, pens

  #listen(container) {
    const here = () => this.stage.getRelativePointerPosition();
    let panned = null;
    let pinched = null;
    this.stage.on("pointerdown", (event) => {
      const { button, isPrimary, pointerType } = event.evt;
      if (button === 1) {
        panned = { x: event.evt.clientX, y: event.evt.clientY, from: this.stage.position() };
        event.evt.preventDefault();
      } else if (button === 0 && isPrimary && this.#paints() && !pinched) {
        if (pointerType !== "touch") container.focus({ preventScroll: true });
        const { x, y } = here();
        this.begin(x, y);
      }
    });
    this.stage.on("pointermove", (event) => {
      if (panned) {
        this.stage.position({ x: panned.from.x + event.evt.clientX - panned.x, y: panned.from.y + event.evt.clientY - panned.y });
        this.isFitted = false;
      } else if (event.evt.isPrimary && !pinched) {
        const place = here();
        if (event.evt.pointerType !== "touch") this.point(place);
        this.extend(place.x, place.y);
      }
    });
    this.up = () => {
      panned = null;
      if (this.drawn && !this.isPenDown) this.end();
    };
    window.addEventListener("pointerup", this.up);
    window.addEventListener("pointercancel", this.up);
    this.stage.on("mouseleave", () => this.point(null));
    this.stage.on("wheel", (event) => {
      event.evt.preventDefault();
      this.zoom(Math.exp(-event.evt.deltaY * (event.evt.ctrlKey ? 0.01 : 0.0015)), this.stage.getPointerPosition());
    });
    this.stage.on("dragstart", (event) => {
      if (event.target === this.stage) this.isFitted = false;
    });
    this.stage.on("touchstart touchmove", (event) => {
      const [one, other] = event.evt.touches;
      if (!other) return;
      event.evt.preventDefault();
      if (this.drawn) this.end(false);
      const edge = container.getBoundingClientRect();
      const middle = { x: (one.clientX + other.clientX) / 2 - edge.left, y: (one.clientY + other.clientY) / 2 - edge.top };
      const apart = Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
      if (pinched) {
        const { x, y } = this.stage.position();
        this.stage.position({ x: x + middle.x - pinched.middle.x, y: y + middle.y - pinched.middle.y });
        this.zoom(apart / pinched.apart, middle);
      }
      pinched = { middle, apart };
    });
    this.stage.on("touchend touchcancel", (event) => {
      if (event.evt.touches.length === 0) pinched = null;
    });
  }
}

function round(value) {
  return Math.round(value * 10) / 10;
}
