// Finds texts inside PNG, JPEG and WebP files. Knows bytes, not what the texts mean. Nothing is sent anywhere.

const MAX_TEXT_BYTES = 4 * 1024 * 1024;
const latin = new TextDecoder("latin1");
const utf8 = new TextDecoder("utf-8");

/**
 * Return the texts of a file by their names: PNG keywords, or "description" and "comment" from EXIF.
 * @param {ArrayBuffer} buffer
 * @returns {Promise<{kind: string, texts: Record<string, string>}>} `kind` is "" if it is no picture that we know.
 */
export async function textsOf(buffer) {
  const bytes = new Uint8Array(buffer);
  const view = new DataView(buffer);
  if (bytes.length > 16 && view.getUint32(0) === 0x89504e47) return { kind: "png", texts: await pngTexts(bytes, view) };
  if (bytes.length > 4 && view.getUint16(0) === 0xffd8) return { kind: "jpeg", texts: jpegTexts(bytes, view) };
  if (bytes.length > 16 && latin.decode(bytes.subarray(0, 4)) === "RIFF" && latin.decode(bytes.subarray(8, 12)) === "WEBP") {
    return { kind: "webp", texts: webpTexts(bytes, view) };
  }
  return { kind: "", texts: {} };
}

async function pngTexts(bytes, view) {
  const texts = {};
  for (let at = 8; at + 12 <= bytes.length; ) {
    const size = view.getUint32(at);
    const kind = latin.decode(bytes.subarray(at + 4, at + 8));
    const data = bytes.subarray(at + 8, at + 8 + size);
    if (data.length < size) break;
    if (kind === "tEXt" || kind === "zTXt" || kind === "iTXt") {
      const found = await pngText(kind, data).catch(() => null);
      if (found) texts[found[0]] = found[1];
    } else if (kind === "eXIf") {
      Object.assign(texts, exifTexts(data));
    } else if (kind === "IEND") break;
    at += 12 + size;
  }
  return texts;
}

async function pngText(kind, data) {
  const end = data.indexOf(0);
  if (end < 1 || data.length > MAX_TEXT_BYTES) return null;
  const name = latin.decode(data.subarray(0, end));
  if (kind === "tEXt") return [name, utf8OrLatin(data.subarray(end + 1))];
  if (kind === "zTXt") return [name, utf8OrLatin(await inflated(data.subarray(end + 2)))];
  const packed = data[end + 1] === 1;
  const language = data.indexOf(0, end + 3);
  const translated = data.indexOf(0, language + 1);
  if (language < 0 || translated < 0) return null;
  const rest = data.subarray(translated + 1);
  return [name, utf8.decode(packed ? await inflated(rest) : rest)];
}

function utf8OrLatin(data) {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(data);
  } catch {
    return latin.decode(data);
  }
}

/** Unpack at most MAX_TEXT_BYTES; more is cut off, so that a small file cannot fill the memory. */
async function inflated(data) {
  const reader = new Blob([data]).stream().pipeThrough(new DecompressionStream("deflate")).getReader();
  const parts = [];
  let size = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done || size > MAX_TEXT_BYTES) break;
    parts.push(value);
    size += value.length;
  }
  reader.cancel().catch(() => {});
  return new Uint8Array(await new Blob(parts).slice(0, MAX_TEXT_BYTES).arrayBuffer());
}

function jpegTexts(bytes, view) {
  const texts = {};
  for (let at = 2; at + 4 <= bytes.length && bytes[at] === 0xff; ) {
    const marker = bytes[at + 1];
    if (marker === 0xda || marker === 0xd9) break;
    const size = view.getUint16(at + 2);
    if (size < 2) break;
    const data = bytes.subarray(at + 4, at + 2 + size);
    if (marker === 0xe1 && latin.decode(data.subarray(0, 6)) === "Exif\0\0") Object.assign(texts, exifTexts(data.subarray(6)));
    if (marker === 0xfe) texts.comment ??= utf8OrLatin(data);
    at += 2 + size;
  }
  return texts;
}

function webpTexts(bytes, view) {
  for (let at = 12; at + 8 <= bytes.length; ) {
    const kind = latin.decode(bytes.subarray(at, at + 4));
    const size = view.getUint32(at + 4, true);
    const data = bytes.subarray(at + 8, at + 8 + size);
    if (kind === "EXIF") return exifTexts(latin.decode(data.subarray(0, 6)) === "Exif\0\0" ? data.subarray(6) : data);
    at += 8 + size + (size % 2);
  }
  return {};
}

const DESCRIPTION = 0x010e;
const MAKE = 0x010f;
const MODEL = 0x0110;
const EXIF = 0x8769;
const USER_COMMENT = 0x9286;

function exifTexts(data) {
  const texts = {};
  if (data.length < 8) return texts;
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const little = view.getUint16(0) === 0x4949;
  const read = (offset, depth) => {
    if (offset + 2 > data.length || depth > 2) return;
    const count = view.getUint16(offset, little);
    for (let index = 0; index < count; index++) {
      const at = offset + 2 + index * 12;
      if (at + 12 > data.length) return;
      const tag = view.getUint16(at, little);
      const type = view.getUint16(at + 2, little);
      const size = view.getUint32(at + 4, little) * ({ 1: 1, 2: 1, 3: 2, 4: 4, 7: 1 }[type] || 0);
      const start = size <= 4 ? at + 8 : view.getUint32(at + 8, little);
      if (tag === EXIF) read(view.getUint32(at + 8, little), depth + 1);
      else if (start + size <= data.length) take(tag, data.subarray(start, start + size), little);
    }
  };
  const take = (tag, value, isLittle) => {
    if (tag === DESCRIPTION) texts.description = utf8OrLatin(value).replace(/\0+$/, "");
    if (tag === USER_COMMENT) texts.comment = commentOf(value, isLittle);
    if (tag === MAKE || tag === MODEL) {
      const text = utf8OrLatin(value).replace(/\0+$/, "");
      const found = /^(prompt|workflow):([[{].*)$/s.exec(text); // where ComfyUI puts them in WebP files
      if (found) texts[found[1]] = found[2];
    }
  };
  read(view.getUint32(4, little), 0);
  return texts;
}

function commentOf(value, little) {
  const code = latin.decode(value.subarray(0, 8));
  const rest = value.subarray(8);
  if (!code.startsWith("UNICODE")) return utf8OrLatin(code.startsWith("ASCII") || /^\0+$/.test(code) ? rest : value).replace(/\0+$/, "");
  // Programs disagree on the order of bytes, whatever the block says: zeros in text are in the high byte.
  let even = 0;
  let odd = 0;
  for (let at = 0; at + 1 < Math.min(rest.length, 400); at += 2) {
    even += rest[at] === 0;
    odd += rest[at + 1] === 0;
  }
  const isLittle = even === odd ? little : odd > even;
  return new TextDecoder(isLittle ? "utf-16le" : "utf-16be").decode(rest).replace(/\0+$/, "");
}
