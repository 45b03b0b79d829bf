// Tools of the canvas and what they can be set to. Knows the state, not the surface; zooming is asked for by `onZoom`.
import { html } from "../lib.js";
import { number, t } from "../i18n/index.js";
import { keyNames } from "../state/commands.js";
import { IconButton } from "../ui/controls.js";
import { Icon } from "../ui/icon.js";
import * as state from "./state.js";

/** Tools with their icons and keys. */
export const TOOLS = [
  ["brush", "brush", "b"],
  ["eraser", "eraser", "e"],
  ["lasso", "lasso", "l"],
  ["frame", "scaling", "f"],
  ["hand", "hand", "h"],
];

const SHAPES = [[1, 1], [16, 9], [9, 16], [3, 2], [2, 3]];

function named(name, keys) {
  return `${t(name)} (${keyNames(keys)[0].join("+")})`;
}

/** The bar above the picture. `scale` is how large the picture is shown. */
export function Toolbar({ scale, onZoom, onReplace }) {
  const painted = state.hasMask.value;
  return html`<div class="canvas-bar" role="group" aria-label=${t("canvas.tools")}>
    <fieldset class="canvas-tools">
      <legend class="out-of-sight">${t("canvas.tool")}</legend>
      ${TOOLS.map(
        ([name, icon, keys]) => html`<label key=${name} title=${named(`canvas.tool_${name}`, keys)}>
          <input type="radio" name="canvas-tool" aria-keyshortcuts=${keys} checked=${state.tool.value === name} onChange=${() => (state.tool.value = name)} />
          <span><${Icon} name=${icon} /><span class="out-of-sight">${t(`canvas.tool_${name}`)}</span></span>
        </label>`,
      )}
    </fieldset>
    <span class="canvas-line" />
    <${IconButton} label=${named("canvas.undo", "mod+z")} icon="undo-2" disabled=${!state.canUndo.value} onClick=${state.undo} />
    <${IconButton} label=${named("canvas.redo", "mod+y")} icon="redo-2" disabled=${!state.canRedo.value} onClick=${state.redo} />
    <${IconButton} label=${named("canvas.invert", "i")} icon="contrast" onClick=${state.invert} />
    <${IconButton} label=${named("canvas.clear", "delete")} icon="trash-2" disabled=${!painted && !state.hasMargin.value} onClick=${state.clear} />
    <span class="canvas-gap" />
    <${IconButton} label=${named("canvas.smaller", "-")} icon="minus" onClick=${() => onZoom(0.8)} />
    <button type="button" class="canvas-scale" title=${named("canvas.fit", "0")} aria-label=${t("canvas.fit_now", { n: number(scale * 100, 0) })} onClick=${() => onZoom(0)}>${number(scale * 100, 0)} %</button>
    <${IconButton} label=${named("canvas.larger", "+")} icon="plus" onClick=${() => onZoom(1.25)} />
    <${IconButton} label=${t("canvas.replace")} icon="image-plus" onClick=${onReplace} />
  </div>`;
}

/** What the tool at hand can be set to. */
export function ToolSettings() {
  if (state.tool.value === "frame") return html`<${Frame} />`;
  if (state.tool.value === "hand") return html`<div class="canvas-settings"><p class="hint">${t("canvas.hand_hint")}</p></div>`;
  const isBrush = state.tool.value !== "lasso";
  return html`<div class="canvas-settings">
    ${isBrush &&
    html`<label class="canvas-slider">
      <span>${t("canvas.brush")}</span>
      <input class="range" type="range" min=${state.MIN_BRUSH} max=${state.MAX_BRUSH} step="1" value=${state.brush.value} aria-keyshortcuts="[ ]" onInput=${(event) => (state.brush.value = Number(event.target.value))} />
      <output>${state.brush.value} px</output>
    </label>`}
    <label class="canvas-slider">
      <span>${t("canvas.feather")}</span>
      <input class="range" type="range" min="0" max=${state.MAX_FEATHER} step="1" value=${state.feather.value} onInput=${(event) => (state.feather.value = Number(event.target.value))} />
      <output>${state.feather.value} px</output>
    </label>
    ${!isBrush && html`<p class="hint">${t("canvas.lasso_hint")}</p>`}
  </div>`;
}

function Frame() {
  const margins = state.margins.value;
  return html`<div class="canvas-settings">
    ${["left", "right", "up", "down"].map(
      (side) => html`<label key=${side} class="canvas-margin">
        <span>${t(`canvas.${side}`)}</span>
        <input class="input input-number" type="number" min="0" max=${state.MAX_MARGIN} step="8" value=${margins[side]} onChange=${(event) => state.setMargins({ [side]: Number(event.target.value) || 0 })} />
      </label>`,
    )}
    <span class="canvas-shapes" role="group" aria-label=${t("canvas.widen_to")}>
      ${SHAPES.map(([across, high]) => html`<button key=${`${across}:${high}`} type="button" class="chip chip-small" onClick=${() => state.setShape(across, high)}>${across}:${high}</button>`)}
    </span>
  </div>`;
}
