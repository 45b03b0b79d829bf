// Draws strokes as a mask: white where the picture changes, softly at the edge. Knows canvases, not who shows them.

/** A mask need not be finer than this; servers bring it to the picture's size. */
export const MAX_MASK_SIDE = 1536;

/** Strokes are drawn so many pixels beyond the mask, so that a soft edge does not begin at the picture's own edge. */
const BEYOND = 96;

/** Width, height and scale of the mask of a picture. */
export function maskSize({ width, height }) {
  const scale = Math.min(1, MAX_MASK_SIDE / Math.max(width, height));
  return { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)), scale };
}

/** Draw one stroke in white onto a transparent canvas whose context is scaled to pixels of the picture. */
export function drawStroke(context, stroke, { width, height }) {
  const { kind, points = [], size = 1 } = stroke;
  const far = BEYOND / maskSize({ width, height }).scale;
  const all = [-far, -far, width + 2 * far, height + 2 * far];
  context.save();
  context.fillStyle = context.strokeStyle = "#fff";
  if (kind === "clear") context.clearRect(...all);
  if (kind === "invert") {
    context.globalCompositeOperation = "xor";
    context.fillRect(...all);
  }
  if (kind === "brush" || kind === "eraser") {
    context.globalCompositeOperation = kind === "eraser" ? "destination-out" : "source-over";
    context.lineCap = context.lineJoin = "round";
    context.lineWidth = size;
    trace(context, points);
    if (points.length === 2) context.lineTo(points[0] + 0.01, points[1]);
    context.stroke();
  }
  if (kind === "lasso" && points.length >= 6) {
    trace(context, points);
    context.closePath();
    context.fill();
  }
  context.restore();
}

function trace(context, points) {
  context.beginPath();
  context.moveTo(points[0], points[1]);
  for (let index = 2; index < points.length; index += 2) context.lineTo(points[index], points[index + 1]);
}

/** Draw all strokes of a picture and return the canvas, larger than the mask on all sides: white, edges still hard. */
export function drawMask(strokes, picture) {
  const { width, height, scale } = maskSize(picture);
  const canvas = new OffscreenCanvas(width + 2 * BEYOND, height + 2 * BEYOND);
  const context = canvas.getContext("2d");
  context.translate(BEYOND, BEYOND);
  context.scale(scale, scale);
  for (const stroke of strokes) drawStroke(context, stroke, picture);
  return canvas;
}

/** Draw what `drawMask` made with soft edges, its middle where it belongs; `radius` is in pixels of the mask. */
export function drawSoftly(context, canvas, radius) {
  const [x, y] = [-BEYOND, -BEYOND];
  if (radius < 0.5) context.drawImage(canvas, x, y);
  else if ("filter" in context) {
    context.filter = `blur(${radius / 2}px)`;
    context.drawImage(canvas, x, y);
    context.filter = "none";
  } else {
    // Made small and large again: as soft, in browsers that have no filters on canvases.
    const small = new OffscreenCanvas(Math.max(1, Math.round(canvas.width / radius)), Math.max(1, Math.round(canvas.height / radius)));
    small.getContext("2d").drawImage(canvas, 0, 0, small.width, small.height);
    context.imageSmoothingQuality = "high";
    context.drawImage(small, x, y, canvas.width, canvas.height);
  }
}

/** Whether any pixel of a mask changes anything. */
export function isEmpty(canvas) {
  const small = new OffscreenCanvas(Math.min(canvas.width, 256), Math.min(canvas.height, 256));
  const context = small.getContext("2d", { willReadFrequently: true });
  const inside = [BEYOND, BEYOND, canvas.width - 2 * BEYOND, canvas.height - 2 * BEYOND];
  context.drawImage(canvas, ...inside, 0, 0, small.width, small.height);
  const { data } = context.getImageData(0, 0, small.width, small.height);
  for (let at = 3; at < data.length; at += 4) if (data[at] > 8) return false;
  return true;
}

/** Return the PNG of a finished mask, white on black. */
export async function maskFile(strokes, picture, feather) {
  const { width, height, scale } = maskSize(picture);
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d");
  context.fillStyle = "#000";
  context.fillRect(0, 0, width, height);
  drawSoftly(context, drawMask(strokes, picture), feather * scale);
  return canvas.convertToBlob({ type: "image/png" });
}

const SEAM = 32;

/**
 * Return picture and mask for a part and a margin at once: the margin repeats the picture mirrored, and the mask
 * is white there and over a seam inside.
 * @returns {Promise<{picture: Blob, mask: Blob}>}
 */
export async function widened(bitmap, strokes, margins, feather) {
  const { width, height } = bitmap;
  const { left, right, up, down } = margins;
  const whole = new OffscreenCanvas(width + left + right, height + up + down);
  const context = whole.getContext("2d");
  for (const [across, down_] of tiles(width, height, margins)) {
    context.save();
    context.translate(left + across * width, up + down_ * height);
    if (across % 2) context.transform(-1, 0, 0, 1, width, 0);
    if (down_ % 2) context.transform(1, 0, 0, -1, 0, height);
    context.drawImage(bitmap, 0, 0);
    context.restore();
  }
  const { scale } = maskSize(whole);
  const mask = new OffscreenCanvas(Math.round(whole.width * scale), Math.round(whole.height * scale));
  const drawing = mask.getContext("2d");
  drawing.fillStyle = "#fff";
  drawing.fillRect(0, 0, mask.width, mask.height);
  const kept = new OffscreenCanvas(mask.width + 2 * BEYOND, mask.height + 2 * BEYOND);
  const inner = kept.getContext("2d");
  const inset = (pixels) => (pixels ? SEAM : -2 * SEAM);
  inner.translate(BEYOND, BEYOND);
  inner.scale(scale, scale);
  inner.fillRect(left + inset(left), up + inset(up), width - inset(left) - inset(right), height - inset(up) - inset(down));
  drawSoftly(drawing, kept, SEAM * scale);
  const placed = new OffscreenCanvas(kept.width, kept.height);
  const painting = placed.getContext("2d");
  const painted = drawMask(strokes, bitmap);
  const fine = scale / maskSize(bitmap).scale;
  painting.drawImage(painted, BEYOND + left * scale - BEYOND * fine, BEYOND + up * scale - BEYOND * fine, painted.width * fine, painted.height * fine);
  drawSoftly(drawing, placed, feather * scale);
  return { picture: await whole.convertToBlob({ type: "image/webp", quality: 0.95 }), mask: await mask.convertToBlob({ type: "image/png" }) };
}

function tiles(width, height, { left, right, up, down }) {
  const range = (before, after, length) => {
    const found = [];
    for (let place = -Math.ceil(before / length); place <= Math.ceil(after / length); place++) found.push(place);
    return found;
  };
  return range(left, right, width).flatMap((across) => range(up, down, height).map((downwards) => [across, downwards]));
}
