// The page: which pictures there are, which one is shown, and which parts are updated on a change.

import { save, smallerCopy, stem } from "./copies.js";
import { Legend, percent } from "./legend.js";
import { countPixels, readMask } from "./masks.js";
import { Problem, Service } from "./service.js";
import { Stage } from "./stage.js";
import { Strip } from "./strip.js";

const AT_ONCE = 4; // pictures under way; those of one size are seen together by the server
const $ = (id) => document.getElementById(id);

const service = new Service();
const stage = new Stage((label) => legend.mark(label), speak);
const legend = new Legend($("classes"), $("absent"), hide, (label) => stage.standOut(label));
const strip = new Strip($("strip"), show, remove);
const pictures = [];
let model = null;
let shown = null;
let made = 0;

// The model -------------------------------------------------------------------------------------------------------

async function connect() {
  $("banner").hidden = true;
  try {
    model = await service.model();
  } catch (problem) {
    if (problem.status === 401) lock(service.key ? "This key is wrong." : "");
    else warn(problem.message);
    return;
  }
  $("lock").hidden = true;
  stage.setModel(model.labels);
  legend.setModel(model.labels);
  describe();
  for (const picture of pictures) if (picture.state === "failed" && picture.status === 401) picture.state = "waiting";
  next();
}

function describe() {
  const [score] = model.scores;
  $("model").textContent = `${model.model}${score ? `, mean IoU ${score.mean_iou.toFixed(3)}` : ""}`;
  $("model").title = score ? `${score.data} ${score.split}: ${score.protocol}` : "";
  $("licence").textContent = model.licence === "unknown" ? "" : `Model: ${model.licence}`;
  const { formats, bytes, pixels } = model.limits;
  const most = `up to ${round(bytes / 2 ** 20)} MiB and ${round(pixels / 1e6)} million pixels`;
  $("bounds").textContent = `${formats.join(", ")}; ${most}`;
  $("known").replaceChildren(
    ...model.labels.slice(0, 40).map(({ name, color }) => {
      const item = Object.assign(document.createElement("li"), { textContent: name });
      item.style.setProperty("--color", `rgb(${color})`);
      return item;
    }),
  );
}

function lock(problem) {
  $("lock").hidden = false;
  $("key-problem").textContent = problem;
  $("key").focus();
}

function warn(text) {
  $("banner").hidden = false;
  $("banner").querySelector("p").textContent = text;
}

// Pictures --------------------------------------------------------------------------------------------------------

function add(files) {
  const fresh = [...files].map((file) => ({
    id: ++made, file, name: file.name || "pasted picture", url: URL.createObjectURL(file), state: "waiting",
    note: "", status: 0, mask: null, counts: null, seconds: 0, left: 0, leaving: new AbortController(),
  }));
  if (!fresh.length) return;
  pictures.push(...fresh);
  fresh.forEach((picture) => strip.add(picture));
  show(fresh[0]);
  next();
}

function next() {
  const busy = pictures.filter(({ state }) => state === "working" || state === "full").length;
  const waiting = pictures.filter(({ state }) => state === "waiting");
  if (model) for (const picture of waiting.slice(0, AT_ONCE - busy)) run(picture);
  tellProgress();
}

async function run(picture) {
  change(picture, { state: "working", began: performance.now() });
  try {
    await readable(picture.file);
    const full = (left) => change(picture, { state: "full", left });
    const answer = await service.segment(picture.file, picture.leaving.signal, full);
    const mask = await readMask(answer.bytes);
    change(picture, { state: "done", mask, counts: countPixels(mask), bytes: answer.bytes, seconds: answer.seconds });
    speak(`${picture.name}: ${summary(picture)}`);
  } catch (problem) {
    if (picture.leaving.signal.aborted) return;
    change(picture, { state: "failed", note: problem.message, status: problem.status ?? 0 });
    if (problem.status === 401) lock("");
    else speak(`${picture.name}: ${problem.message}`);
  }
  next();
}

/** A folder, or a file that is gone, looks like any other until it is read. */
async function readable(file) {
  try {
    await file.slice(0, 1).arrayBuffer();
  } catch {
    throw new Error("This cannot be read: choose picture files, not a folder.");
  }
  if (file.size > model.limits.bytes) {
    const [most, size] = [model.limits.bytes, file.size].map((bytes) => round(bytes / 2 ** 20));
    throw new Problem(413, `The server accepts at most ${most} MiB, this picture has ${size}.`);
  }
}

function change(picture, values) {
  Object.assign(picture, values);
  strip.update(picture);
  if (picture === shown) show(picture);
}

function remove(picture) {
  const at = pictures.indexOf(picture);
  const focused = $("strip").contains(document.activeElement);
  pictures.splice(at, 1);
  picture.leaving.abort();
  strip.remove(picture);
  URL.revokeObjectURL(picture.url);
  if (picture === shown) show(pictures[Math.min(at, pictures.length - 1)] ?? null);
  if (focused || !shown) shown ? strip.focus(shown) : $("choose").focus();
  next();
}

async function sendSmaller(picture) {
  try {
    const copy = await smallerCopy(picture.file, model.limits.pixels, model.limits.bytes);
    change(picture, { file: copy, state: "waiting" });
    next();
  } catch {
    change(picture, { note: "Your browser cannot read this picture: convert it with another program.", status: 0 });
  }
}

// What is on show -------------------------------------------------------------------------------------------------

function show(picture) {
  shown = picture;
  $("welcome").hidden = picture !== null;
  $("work").hidden = picture === null;
  $("another").hidden = picture === null;
  if (!picture) return;
  stage.show(picture);
  legend.show(picture.counts);
  $("switches").hidden = !picture.mask;
  strip.select(picture);
  const { state, mask } = picture;
  $("name").textContent = picture.name;
  $("facts").textContent = mask ? `${mask.width} × ${mask.height}, ${picture.seconds.toFixed(2)} s` : "";
  $("message").hidden = state !== "failed";
  $("message").querySelector(".head").textContent = "This picture was not segmented";
  $("message").querySelector(".text").textContent = picture.note;
  $("smaller").hidden = picture.status !== 413;
  $("again").hidden = [400, 413, 415, 422].includes(picture.status); // would be refused again
  $("working").hidden = state === "failed" || state === "done";
  $("working").querySelector("span").textContent = {
    waiting: "Waiting", working: "Segmenting", full: `The server is busy: trying again in ${picture.left} s`,
  }[state];
  for (const id of ["save-mask", "save-overlay", "opacity", "compare"]) $(id).disabled = !mask;
}

function hide(hidden) {
  stage.hidden = hidden;
  stage.draw();
}

function tellProgress() {
  const done = pictures.filter(({ state }) => state === "done" || state === "failed").length;
  const bar = $("progress");
  bar.hidden = pictures.length < 2 || done === pictures.length;
  bar.setAttribute("aria-valuemax", pictures.length);
  bar.setAttribute("aria-valuenow", done);
  bar.style.setProperty("--done", done / pictures.length);
  bar.querySelector("span").textContent = `${done} of ${pictures.length} done`;
  document.title = bar.hidden ? "refineseg" : `${done}/${pictures.length} refineseg`;
}

function summary({ counts, mask }) {
  const area = mask.width * mask.height;
  const largest = [...model.labels].sort((a, b) => counts[b.train_id] - counts[a.train_id]).slice(0, 3);
  return largest.map(({ train_id, name }) => `${name} ${percent(counts[train_id] / area)}`).join(", ");
}

function speak(text) {
  $("spoken").textContent = text;
}

function round(value) {
  return Number(value.toPrecision(3));
}

// What people do --------------------------------------------------------------------------------------------------

for (const id of ["choose", "another"]) $(id).addEventListener("click", () => $("files").click());
$("files").addEventListener("change", (event) => {
  add(event.target.files);
  event.target.value = ""; // the same file may come again
});
$("reconnect").addEventListener("click", connect);
$("lock").addEventListener("submit", (event) => {
  event.preventDefault();
  service.unlock($("key").value.trim());
  connect();
});
$("remove").addEventListener("click", () => remove(shown));
$("again").addEventListener("click", () => {
  change(shown, { state: "waiting" });
  next();
});
$("smaller").addEventListener("click", () => sendSmaller(shown));
$("opacity").addEventListener("input", (event) => {
  stage.setOpacity(event.target.value / 100);
  event.target.nextElementSibling.textContent = `${event.target.value} %`;
});
$("compare").addEventListener("click", ({ currentTarget }) => {
  const on = stage.cut === null;
  currentTarget.setAttribute("aria-pressed", on);
  stage.compare(on ? 0.5 : null);
  if (on) $("cut").focus();
});
$("all").addEventListener("click", () => legend.setAll(true));
$("none").addEventListener("click", () => legend.setAll(false));
$("save-mask").addEventListener("click", () => {
  save(new Blob([shown.bytes], { type: "image/png" }), `${stem(shown.name)}_mask.png`);
});
$("save-overlay").addEventListener("click", async () => {
  const name = `${stem(shown.name)}_overlay.jpg`;
  save(await stage.overlay(), name);
});
addEventListener("paste", (event) => add(event.clipboardData.files));

let entered = 0; // elements of the page that what is dragged is over: it enters one before it leaves another
addEventListener("dragenter", (event) => {
  if (!event.dataTransfer.types.includes("Files")) return;
  entered++;
  $("drop").hidden = false;
});
addEventListener("dragleave", () => {
  entered = Math.max(0, entered - 1);
  $("drop").hidden = entered === 0;
});
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  entered = 0;
  $("drop").hidden = true;
  add(event.dataTransfer.files);
});

connect();
