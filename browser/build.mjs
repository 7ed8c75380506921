// Builds the page: node build.mjs FOLDER, where FOLDER/models has NAME.onnx and NAME.json for every model.
// What lies in FOLDER afterwards needs nothing else, not even a server.
import { copyFileSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { buildSync } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const folder = process.argv[2];
const models = join(folder, "models");

function bundle(entry, define) {
  const options = { bundle: true, minify: true, format: "iife", write: false, define, logOverride: { "empty-import-meta": "silent" } };
  return buildSync({ entryPoints: [join(here, entry)], ...options }).outputFiles[0].text;
}

function pack(name, path) {
  const data = gzipSync(readFileSync(path), { level: 9 }).toString("base64");
  writeFileSync(join(folder, `${name}.pack.js`), `receive(${JSON.stringify(name)}, "${data}");\n`);
  return (data.length / 1e6).toFixed(1);
}

const wasm = fileURLToPath(import.meta.resolve("onnxruntime-web/ort-wasm-simd-threaded.wasm"));
pack("onnxruntime", wasm);
const names = readdirSync(models).filter((file) => file.endsWith(".onnx")).map((file) => file.slice(0, -5)).sort();
const described = names.map((name) => {
  const about = JSON.parse(readFileSync(join(models, `${name}.json`), "utf8"));
  return { name, megabytes: pack(name, join(models, `${name}.onnx`)), ...about };
});
rmSync(models, { recursive: true });
const page = bundle("page.js", { MODELS: JSON.stringify(described), WORKER: JSON.stringify(bundle("worker.js", {})) });
writeFileSync(join(folder, "page.js"), page);
for (const file of ["index.html", "page.css"]) copyFileSync(join(here, file), join(folder, file));
