// Pictures that go with a message: picked, pasted or dropped.

const TYPES = new Set(["image/png", "image/jpeg", "image/gif", "image/webp"]);
const MOST = 5;
const MOST_BYTES = 28_000_000; // as base64 this stays below the server's 40 MB

/** Pictures of a file list, and a sentence for each file that cannot come along. */
export async function readImages(files, present) {
  const images = [];
  const refusals = [];
  let bytes = present.reduce((sum, image) => sum + image.size, 0);
  for (const file of files) {
    if (!TYPES.has(file.type)) {
      refusals.push(`${file.name || "This file"} is no PNG, JPEG, GIF or WebP image.`);
    } else if (present.length + images.length >= MOST) {
      refusals.push(`At most ${MOST} images go with one message.`);
      break;
    } else if (bytes + file.size > MOST_BYTES) {
      refusals.push(`${file.name || "This image"} is too large.`);
    } else {
      bytes += file.size;
      images.push({
        mimeType: file.type,
        data: await asBase64(file),
        size: file.size,
        alt: file.name || "Pasted image",
      });
    }
  }
  return { images, refusals };
}

function asBase64(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}
