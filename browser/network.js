// A model in a worker of its own.
import { unpack } from "./packs.js";

export class Network {
  /** Loads a model by its name; takes seconds. */
  static async load(name) {
    const [wasm, model] = await Promise.all([unpack("onnxruntime"), unpack(name)]);
    const network = new Network();
    await network.#ask({ wasm, model }, [wasm, model]);
    return network;
  }

  // From text, since a page opened from a disk may not start a worker from a file.
  #worker = new Worker(URL.createObjectURL(new Blob([WORKER], { type: "text/javascript" })));
  #last = Promise.resolve();

  /** The class number of every pixel, Uint8Array of height x width, of rgb: Uint8Array of height x width x 3. */
  async labels(rgb, height, width) {
    const { labels } = await this.#ask({ rgb, height, width }, [rgb.buffer]);
    return labels;
  }

  /** One message and its answer; one at a time. */
  #ask(message, moved) {
    const answer = this.#last.then(() => this.#answer(message, moved));
    this.#last = answer.catch(() => {});
    return answer;
  }

  #answer(message, moved) {
    return new Promise((resolve, reject) => {
      this.#worker.onmessage = ({ data }) => (data.error ? reject(new Error(data.error)) : resolve(data));
      this.#worker.onerror = ({ message }) => reject(new Error(message));
      this.#worker.postMessage(message, moved);
    });
  }
}
