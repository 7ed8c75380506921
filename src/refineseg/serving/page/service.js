// Talks to the server. Addresses are relative, so that a proxy may put the server under a path.

const STORED = "refineseg-key"; // in sessionStorage: gone with the tab
const TRIES = 30; // of one picture at a server that is full
const LONGEST = 60; // seconds between two tries

/** An answer that is not a success. `status` is HTTP's, 0 where nothing answered. */
export class Problem extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

export class Service {
  constructor() {
    this.key = remembered();
  }

  /** Use a key from now on, and after a reload of this tab. */
  unlock(key) {
    this.key = key;
    try {
      sessionStorage.setItem(STORED, key);
    } catch {
      // A browser that stores nothing asks again after a reload.
    }
  }

  /** Labels, colours, scores, limits. */
  async model() {
    return (await this.#ask("v1/model", {})).json();
  }

  /**
   * The mask of a picture: a PNG's bytes, and the seconds that the server took.
   * A full server is tried again after its Retry-After; `full(seconds)` is called every second until then.
   */
  async segment(body, signal, full) {
    const request = { method: "POST", body, signal, headers: { "Content-Type": "application/octet-stream" } };
    for (let tries = 1; ; tries++) {
      try {
        const answer = await this.#ask("v1/segment?output=mask", request);
        return { bytes: new Uint8Array(await answer.arrayBuffer()), seconds: spent(answer) };
      } catch (problem) {
        if (problem.status !== 503 || tries === TRIES) throw problem;
        for (let left = problem.wait; left > 0; left--) {
          full(left);
          await pause(1000, signal);
        }
      }
    }
  }

  async #ask(path, request) {
    const headers = { ...request.headers, ...(this.key && { Authorization: `Bearer ${this.key}` }) };
    let answer;
    try {
      answer = await fetch(path, { ...request, headers });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Problem(0, "The server cannot be reached: check that it is running.");
    }
    if (answer.ok) return answer;
    const problem = new Problem(answer.status, await sentence(answer));
    problem.wait = retryAfter(answer.headers.get("Retry-After"));
    throw problem;
  }
}

/** What a problem document says, as a sentence; a proxy's page in between has none. */
async function sentence(answer) {
  try {
    const { detail } = await answer.json();
    return `${detail[0].toUpperCase()}${detail.slice(1)}.`;
  } catch {
    return `The server answered ${answer.status} ${answer.statusText}`.trim() + ".";
  }
}

/** Whole seconds to wait: a number, or a date as proxies may send it; a little without either. */
export function retryAfter(value, now = Date.now()) {
  const seconds = value === null || value === "" ? NaN : Number(value);
  const wait = Number.isNaN(seconds) ? (Date.parse(value ?? "") - now) / 1000 : seconds;
  return Math.min(LONGEST, Math.max(1, Math.ceil(Number.isNaN(wait) ? 2 : wait)));
}

/** Seconds in Server-Timing, waiting in the queue left out. */
function spent(answer) {
  const stages = (answer.headers.get("Server-Timing") ?? "").matchAll(/(\w+);dur=([\d.]+)/g);
  return [...stages].filter(([, name]) => name !== "queue").reduce((sum, [, , dur]) => sum + dur / 1000, 0);
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}

function remembered() {
  try {
    return sessionStorage.getItem(STORED) ?? "";
  } catch {
    return "";
  }
}
