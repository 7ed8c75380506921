// Large files as scripts, since a page opened from a disk may load scripts but may not fetch files.
// NAME.pack.js calls receive(NAME, DATA): DATA is the file, gzipped, in base64.

const receivers = {};
window.receive = (name, data) => receivers[name](data);

/** The bytes of a packed file, as an ArrayBuffer. */
export async function unpack(name) {
  const data = await new Promise((resolve, reject) => {
    receivers[name] = resolve;
    const script = document.createElement("script");
    script.src = `${name}.pack.js`;
    script.onload = () => script.remove();
    script.onerror = () => {
      script.remove();
      reject(new Error(`${script.src} could not be loaded. Check the connection and try again.`));
    };
    document.head.append(script);
  });
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}
