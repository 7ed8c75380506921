// Files that the page makes: a smaller copy of a picture that is too large, and downloads.

/**
 * A JPEG of at most `pixels` pixels and `bytes` bytes, made of a file that the browser can show.
 * Rejects where it cannot.
 */
export async function smallerCopy(file, pixels, bytes) {
  const picture = await createImageBitmap(file, { imageOrientation: "from-image" });
  for (let most = pixels; ; most /= 2) {
    const scale = Math.min(1, Math.sqrt(most / (picture.width * picture.height)));
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.floor(picture.width * scale));
    canvas.height = Math.max(1, Math.floor(picture.height * scale));
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(picture, 0, 0, canvas.width, canvas.height);
    const copy = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
    if (copy.size <= bytes || canvas.width * canvas.height === 1) return copy;
  }
}

/** Hand a blob to the browser's downloads. */
export function save(blob, name) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** A file's name without its ending. */
export function stem(name) {
  return name.replace(/\.[^.]*$/, "") || "picture";
}
