// Runs the network away from the page, so that the page stays responsive.
import * as ort from "onnxruntime-web/wasm";

ort.env.wasm.numThreads = 1; // more need headers that a page from a disk does not have
let session;

async function answer({ wasm, model, rgb, height, width }) {
  if (model) {
    ort.env.wasm.wasmBinary = wasm;
    session = await ort.InferenceSession.create(new Uint8Array(model));
    return {};
  }
  const images = new ort.Tensor("uint8", rgb, [1, height, width, 3]);
  const { labels } = await session.run({ images });
  return { labels: labels.data };
}

onmessage = ({ data }) => answer(data).then(postMessage, (error) => postMessage({ error: error.message }));
