// Masks: PNG files of class numbers. A browser's own decoder would give colours, which some browsers blur against
// fingerprinting and two classes may share; so the numbers are read here.

/** Width, height and labels (a Uint8Array, row by row) of a palette or grey PNG of 8 bits. */
export async function readMask(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const data = [];
  let width = 0, height = 0;
  for (let at = 8; at + 12 <= bytes.length; ) {
    const length = view.getUint32(at);
    const type = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if (type === "IHDR") {
      width = view.getUint32(at + 8);
      height = view.getUint32(at + 12);
      const [depth, kind, , , interlaced] = bytes.subarray(at + 16, at + 21);
      if (depth !== 8 || (kind !== 3 && kind !== 0) || interlaced) {
        throw new Error(`expected a mask of 8 bits a pixel, got a PNG of kind ${kind}, ${depth} bits`);
      }
    } else if (type === "IDAT") {
      data.push(bytes.subarray(at + 8, at + 8 + length));
    }
    at += 12 + length;
  }
  const rows = new Blob(data).stream().pipeThrough(new DecompressionStream("deflate"));
  const raw = new Uint8Array(await new Response(rows).arrayBuffer());
  return { width, height, labels: unfilter(raw, width, height) };
}

/** Rows that each begin with the number of a filter to plain rows; bytes are added modulo 256. */
function unfilter(raw, width, height) {
  const out = new Uint8Array(width * height);
  for (let row = 0; row < height; row++) {
    const filter = raw[row * (width + 1)];
    const from = row * (width + 1) + 1;
    const to = row * width;
    if (filter === 0) {
      out.set(raw.subarray(from, from + width), to);
      continue;
    }
    for (let x = 0; x < width; x++) {
      const left = x ? out[to + x - 1] : 0;
      const up = row ? out[to + x - width] : 0;
      const corner = x && row ? out[to + x - width - 1] : 0;
      const guess = [0, left, up, (left + up) >> 1, filter === 4 ? paeth(left, up, corner) : 0][filter];
      out[to + x] = raw[from + x] + guess;
    }
  }
  return out;
}

function paeth(left, up, corner) {
  const guess = left + up - corner;
  const [a, b, c] = [Math.abs(guess - left), Math.abs(guess - up), Math.abs(guess - corner)];
  return a <= b && a <= c ? left : b <= c ? up : corner;
}

/** Pixels by label. */
export function countPixels({ labels }) {
  const counts = new Uint32Array(256);
  for (const label of labels) counts[label]++;
  return counts;
}

/**
 * A mask in colours, as ImageData.
 * `colors` is RGB by label; `hidden` labels are clear, the `background` too; with a label `alone` the others are faint.
 * Where labels meet there is a white line, `thick` pixels wide, unless both are hidden.
 */
export function paintMask({ width, height, labels }, { colors, background, hidden, alone, thick }) {
  const image = new ImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  const table = new Uint32Array(256);
  const bytes = new Uint8Array(table.buffer);
  colors.forEach((color, label) => {
    const clear = hidden.has(label) || (background.has(label) && alone !== label);
    const alpha = clear ? 0 : alone === null || alone === label ? 255 : 50;
    bytes.set([...color, alpha], 4 * label);
  });
  for (let i = 0; i < pixels.length; i++) pixels[i] = table[labels[i]];
  const seen = Uint8Array.from({ length: 256 }, (_, label) => (hidden.has(label) ? 0 : 1));
  for (let y = 0; y < height; y++) {
    const below = Math.min(thick, height - 1 - y) * width;
    for (let x = 0, i = y * width; x < width; x++, i++) {
      const here = labels[i], right = labels[i + Math.min(thick, width - 1 - x)], down = labels[i + below];
      const meets = (here !== right && seen[here] | seen[right]) || (here !== down && seen[here] | seen[down]);
      if (meets) pixels[i] = 0xffffffff;
    }
  }
  return image;
}
