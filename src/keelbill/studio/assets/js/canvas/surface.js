// The board within the page: loads the picture, passes on the state, and lets keys draw. Knows no form.
import { effect, html, useEffect, useRef, useState } from "../lib.js";
import { t } from "../i18n/index.js";
import { picturesAddress } from "../sources/bring.js";
import { Board } from "./board.js";
import { bitmap } from "./request.js";
import { source } from "./source.js";
import * as state from "./state.js";

const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** The picture with its mask. `onBoard` is told the board when it is there; `onZoom` how large it shows. */
export function Surface({ onBoard, onZoom }) {
  const container = useRef(null);
  const board = useRef(null);
  const place = useRef(null);
  const [problem, setProblem] = useState(false);
  const [said, setSaid] = useState("");

  useEffect(() => {
    const made = new Board(container.current, {
      onStroke: state.addStroke,
      onMarginsBegin: state.beginMargins,
      onMargins: (margins) => state.setMargins(margins, { live: true }),
      onZoom,
    });
    board.current = made;
    onBoard(made);
    let wanted = null;
    const stopPicture = effect(() => {
      const picture = source.value;
      if (!picture || wanted === picture) return;
      wanted = picture;
      place.current = null;
      setProblem(false);
      const image = new Image();
      image.onload = () => {
        if (wanted !== picture) return;
        bitmap.value = image;
        made.setPicture(image, { width: picture.width, height: picture.height });
        show();
      };
      image.onerror = () => wanted === picture && setProblem(true);
      image.src = picturesAddress(picture);
    });
    const show = () =>
      made.show({
        strokes: state.strokes.peek(),
        margins: state.margins.peek(),
        tool: state.tool.peek(),
        brush: state.brush.peek(),
        feather: state.feather.peek(),
      });
    const stopShowing = effect(() => {
      void [state.strokes.value, state.margins.value, state.tool.value, state.brush.value, state.feather.value, bitmap.value];
      if (bitmap.peek()) show();
    });
    return () => {
      stopPicture();
      stopShowing();
      bitmap.value = null;
      onBoard(null);
      made.destroy();
    };
  }, []);

  const lift = (isKept) => {
    board.current.isPenDown = false;
    board.current.end(isKept);
  };
  const keys = (event) => {
    const made = board.current;
    const picture = source.peek();
    if (!made || !picture || event.ctrlKey || event.metaKey || event.altKey) return;
    const paints = ["brush", "eraser", "lasso"].includes(state.tool.peek());
    place.current ??= { x: picture.width / 2, y: picture.height / 2 };
    if (event.key in STEPS && paints) {
      const [across, down] = STEPS[event.key];
      const far = Math.max(4, state.brush.peek() / 4) * (event.shiftKey ? 4 : 1);
      place.current = {
        x: Math.max(0, Math.min(picture.width, place.current.x + across * far)),
        y: Math.max(0, Math.min(picture.height, place.current.y + down * far)),
      };
      made.point(place.current);
      if (made.isPenDown) made.extend(place.current.x, place.current.y);
    } else if ((event.key === " " || event.key === "Enter") && paints) {
      const { x, y } = place.current;
      if (made.isPenDown) lift(true);
      else {
        made.point(place.current);
        made.begin(x, y);
        made.isPenDown = true;
      }
      setSaid(t(made.isPenDown ? "canvas.pen_down" : "canvas.pen_up", { x: Math.round(x), y: Math.round(y) }));
    } else if (event.key === "Escape" && made.isPenDown) {
      lift(false);
      setSaid(t("canvas.pen_away"));
    } else return;
    event.preventDefault();
    event.stopPropagation();
  };

  return html`<div class="canvas-surface">
    <div ref=${container} class="canvas-stage" tabindex="0" role="application" aria-roledescription=${t("canvas.surface_role")} aria-label=${t("canvas.surface")} aria-describedby="canvas-keys" onKeyDown=${keys} onBlur=${() => {
      if (board.current?.isPenDown) lift(true);
      board.current?.point(null);
    }}></div>
    <p class="out-of-sight" id="canvas-keys">${t("canvas.keys")}</p>
    <p class="out-of-sight" role="status">${said}</p>
    ${problem && html`<p class="canvas-problem" role="alert">${t("canvas.gone")}</p>`}
  </div>`;
}
