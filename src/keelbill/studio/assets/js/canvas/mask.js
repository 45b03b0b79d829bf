// Draws strokes as a mask: white where the picture changes, softly at the edge. Knows canvases, not who shows them.

/** A mask need not be finer than this; servers bring it to the picture's size. */
export const MAX_MASK_SIDE = 1536;

/** Width, height and scale of the mask of a picture. */
export function maskSize({ width, height }) {
  const scale = Math.min(1, MAX_MASK_SIDE / Math.max(width, height));
  return { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)), scale };
}

/** Draw one stroke in white onto a transparent canvas whose context is scaled to pixels of the picture. */
export function drawStroke(context, stroke, { width, height }) {
  const { kind, points = [], size = 1 } = stroke;
  context.save();
  context.fillStyle = context.strokeStyle = "#fff";
  if (kind === "clear") context.clearRect(0, 0, width, height);
  if (kind === "invert") {
    context.globalCompositeOperation = "xor";
    context.fillRect(0, 0, width, height);
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

/** Draw all strokes of a picture and return the canvas: white on nothing, edges still hard. */
export function drawMask(strokes, picture) {
  const { width, height, scale } = maskSize(picture);
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  for (const stroke of strokes) drawStroke(context, stroke, picture);
  return canvas;
}

/** Draw a canvas with soft edges; `radius` is in its own pixels. */
export function drawSoftly(context, canvas, radius) {
  if (radius < 0.5) context.drawImage(canvas, 0, 0);
  else if ("filter" in context) {
    context.filter = `blur(${radius / 2}px)`;
    context.drawImage(canvas, 0, 0);
    context.filter = "none";
  } else {
    // Made small and large again: as soft, in browsers that have no filters on canvases.
    const small = new OffscreenCanvas(Math.max(1, Math.round(canvas.width / radius)), Math.max(1, Math.round(canvas.height / radius)));
    small.getContext("2d").drawImage(canvas, 0, 0, small.width, small.height);
    context.imageSmoothingQuality = "high";
    context.drawImage(small, 0, 0, canvas.width, canvas.height);
  }
}

/** Whether any pixel of a mask changes anything. */
export function isEmpty(canvas) {
  const small = new OffscreenCanvas(Math.min(canvas.width, 256), Math.min(canvas.height, 256));
  const context = small.getContext("2d", { willReadFrequently: true });
  context.drawImage(canvas, 0, 0, small.width, small.height);
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
  const kept = new OffscreenCanvas(mask.width, mask.height);
  const inner = kept.getContext("2d");
  const inset = (pixels) => (pixels ? SEAM : -SEAM);
  inner.scale(scale, scale);
  inner.fillRect(left + inset(left), up + inset(up), width - inset(left) - inset(right), height - inset(up) - inset(down));
  drawSoftly(drawing, kept, SEAM * scale);
  const painted = drawMask(strokes, bitmap);
  const placed = new OffscreenCanvas(mask.width, mask.height);
  placed.getContext("2d").drawImage(painted, left * scale, up * scale, width * scale, height * scale);
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
