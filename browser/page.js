// The page: a picture in, its classes in colour and a legend out.
import { Network } from "./network.js";

const LONGEST = 640; // pixels of the longer side that the network sees: larger pictures take seconds and much memory
const part = (id) => document.getElementById(id);
const networks = {}; // by model; a promise each
let latest = 0; // the picture that was chosen last: answers to earlier ones are not shown
let chosen; // the file on show
let shown; // its labels, width, height and the model's classes

for (const { name, classes } of MODELS) {
  const some = classes.filter(({ background }) => !background).slice(0, 3);
  part("model").add(new Option(`${name}: ${some.map((one) => one.name).join(", ")} …`, name));
}
describe();

function model() {
  return MODELS.find(({ name }) => name === part("model").value);
}

function describe() {
  const { name, classes, megabytes, licence } = model();
  const names = classes.map((one) => one.name).join(", ");
  part("about").textContent = `${name} knows these classes: ${names}. Download: ${megabytes} MB. Licence: ${licence}.`;
}

function say(text, busy = false) {
  part("status").textContent = text;
  part("status").toggleAttribute("data-busy", busy);
}

/** The file's pixels as the network sees them, drawn on the page's canvas. */
async function draw(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    throw new Error(`${file.name} is not a picture that this browser can read. JPEG, PNG and WebP always work.`);
  }
  const scale = Math.min(1, LONGEST / Math.max(bitmap.width, bitmap.height));
  const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * scale)));
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white"; // behind transparent pictures
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  bitmap.close();
  return context.getImageData(0, 0, width, height);
}

function withoutAlpha(rgba) {
  const rgb = new Uint8Array((rgba.length / 4) * 3);
  for (let from = 0, to = 0; from < rgba.length; from += 4, to += 3) rgb.set(rgba.subarray(from, from + 3), to);
  return rgb;
}

async function segment(file) {
  const turn = ++latest;
  const { name, classes } = model();
  part("error").textContent = "";
  try {
    say(`Reading ${file.name} …`, true);
    const image = await draw(file);
    say(`Loading the model ${name} …`, true);
    networks[name] ??= Network.load(name);
    const network = await networks[name].catch((error) => {
      delete networks[name]; // the next picture tries again
      throw error;
    });
    if (turn !== latest) return;
    say(`Segmenting ${file.name} …`, true);
    const start = performance.now();
    const labels = await network.labels(withoutAlpha(image.data), image.height, image.width);
    if (turn !== latest) return;
    chosen = file;
    show(file.name, image, labels, classes);
    const seconds = ((performance.now() - start) / 1000).toFixed(1);
    say(`${file.name}: segmented in ${seconds} s at ${image.width} x ${image.height} pixels.`);
  } catch (error) {
    if (turn !== latest) return;
    say(chosen ? `Still showing ${chosen.name}.` : "Choose a picture, or drop one anywhere on the page.");
    part("error").textContent = error.message;
  }
}

function show(name, image, labels, classes) {
  const counts = new Array(classes.length).fill(0);
  const colours = new ImageData(image.width, image.height);
  labels.forEach((label, place) => {
    counts[label] += 1;
    if (!classes[label].background) colours.data.set([...classes[label].color, 255], 4 * place);
  });
  for (const [id, pixels] of [["picture", image], ["classes", colours]]) {
    [part(id).width, part(id).height] = [image.width, image.height];
    part(id).getContext("2d").putImageData(pixels, 0, 0);
  }
  const found = counts.map((count, label) => ({ label, share: count / labels.length, ...classes[label] }));
  const listed = found.filter(({ share }) => share > 0).sort((a, b) => b.share - a.share);
  part("legend").replaceChildren(...listed.map(row));
  const words = listed.map((one) => `${one.name} ${percent(one.share)}`).join(", ");
  part("stage").setAttribute("aria-label", `${name}: ${words}`);
  part("stage").style.setProperty("--ratio", image.width / image.height);
  part("result").hidden = false;
  shown = { labels, width: image.width, height: image.height };
}

function percent(share) {
  return share < 0.001 ? "< 0.1 %" : `${(100 * share).toFixed(1)} %`;
}

function row({ label, name, color, background, share }) {
  const item = document.createElement("li");
  item.dataset.label = label;
  const swatch = document.createElement("i");
  if (!background) swatch.style.background = `rgb(${color})`;
  const amount = document.createElement("b");
  amount.textContent = percent(share);
  item.append(swatch, name, amount);
  return item;
}

/** Marks the legend's row of the class under the pointer. */
function point({ offsetX, offsetY }) {
  const { clientWidth, clientHeight } = part("classes");
  const [x, y] = [(offsetX / clientWidth) * shown.width, (offsetY / clientHeight) * shown.height].map(Math.floor);
  const label = String(shown.labels[y * shown.width + x]);
  for (const item of part("legend").children) item.classList.toggle("here", item.dataset.label === label);
}

part("file").addEventListener("change", () => {
  const [file] = part("file").files;
  if (file) segment(file);
  part("file").value = ""; // so that the same file can be chosen again
});
part("model").addEventListener("change", () => {
  describe();
  if (chosen) segment(chosen);
});
part("opacity").addEventListener("input", fade);
part("stage").addEventListener("pointermove", point);
part("stage").addEventListener("pointerdown", point);
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dropping");
});
document.addEventListener("dragleave", () => document.body.classList.remove("dropping"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  const [file] = event.dataTransfer.files;
  if (file) segment(file);
});

function fade() {
  part("classes").style.opacity = part("opacity").value / 100;
}
fade();
