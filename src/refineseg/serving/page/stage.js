// The picture on show: photograph below, classes above, a divider between before and after, the class at a place.

import { paintMask } from "./masks.js";

const REVEAL = 650; // milliseconds in which fresh classes are drawn over their picture
const $ = (id) => document.getElementById(id);

export class Stage {
  /** `under(label)` is called with the class under the pointer, or null; `speak(text)` announces text to screen readers. */
  constructor(under, speak) {
    this.under = under;
    this.speak = speak;
    this.colors = [];
    this.names = [];
    this.background = new Set();
    this.hidden = new Set();
    this.alone = null;
    this.opacity = 0.6;
    this.cut = null; // share of the width that shows the bare picture, or null
    this.place = { x: 0.5, y: 0.5 };
    this.picture = null;
    this.#listenToPointer();
    this.#listenToKeys();
    this.#listenToDivider();
  }

  setModel(labels) {
    this.colors = labels.map((label) => label.color);
    this.names = labels.map((label) => label.name);
    this.background = new Set(labels.filter((label) => label.background).map((label) => label.train_id));
  }

  /** Show a picture, with its classes if they are known by now. */
  show(picture) {
    const fresh = picture !== this.picture;
    const revealed = picture.mask && (fresh ? !picture.seen : $("paint").hidden);
    this.picture = picture;
    if (fresh) this.#showPhoto(picture);
    $("paint").hidden = !picture.mask;
    $("frame").classList.toggle("bare", !picture.mask);
    this.#leave();
    if (picture.mask) {
      $("frame").style.setProperty("--ratio", picture.mask.width / picture.mask.height);
      this.draw();
      if (revealed) this.#reveal();
      picture.seen = true;
    }
    this.compare(this.cut);
  }

  /** Draw the classes anew. */
  draw() {
    if (!this.picture?.mask) return;
    const { mask } = this.picture;
    const canvas = $("paint");
    const thick = Math.max(1, Math.round(mask.width / 900)); // a line that shows at the size of a screen
    if (canvas.width !== mask.width) canvas.width = mask.width;
    if (canvas.height !== mask.height) canvas.height = mask.height;
    canvas.getContext("2d").putImageData(paintMask(mask, { ...this, thick }), 0, 0);
    canvas.style.opacity = this.alone === null ? this.opacity : Math.max(this.opacity, 0.7);
  }

  setOpacity(opacity) {
    this.opacity = opacity;
    $("paint").style.opacity = opacity;
  }

  /** Let one class stand out, or none with null. */
  standOut(label) {
    if (label === this.alone) return;
    this.alone = label;
    this.draw();
  }

  /** Put the divider at a share of the width, or take it away with null. */
  compare(cut) {
    this.cut = cut;
    if (cut !== null) for (const reveal of $("paint").getAnimations()) reveal.cancel();
    const on = cut !== null && Boolean(this.picture?.mask);
    const percent = Math.round(100 * (cut ?? 0));
    $("cut").hidden = !on;
    $("frame").classList.toggle("compared", on);
    $("frame").style.setProperty("--cut", on ? `${100 * cut}%` : "0%");
    $("cut").setAttribute("aria-valuenow", percent);
    $("cut").setAttribute("aria-valuetext", `${percent} % picture, ${100 - percent} % classes`);
  }

  /** What is on show, as a JPEG at the picture's own size. */
  overlay() {
    const { mask } = this.picture;
    const canvas = document.createElement("canvas");
    canvas.width = mask.width;
    canvas.height = mask.height;
    const context = canvas.getContext("2d");
    context.fillStyle = "#808080"; // where the browser cannot show the picture
    context.fillRect(0, 0, mask.width, mask.height);
    if ($("photo").naturalWidth) context.drawImage($("photo"), 0, 0, mask.width, mask.height);
    context.globalAlpha = this.opacity;
    context.drawImage($("paint"), 0, 0);
    return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
  }

  #showPhoto(picture) {
    const photo = $("photo");
    $("frame").classList.remove("unshown");
    $("frame").style.setProperty("--ratio", 1.5);
    photo.onload = () => $("frame").style.setProperty("--ratio", photo.naturalWidth / photo.naturalHeight);
    photo.onerror = () => $("frame").classList.add("unshown");
    photo.src = picture.url;
    photo.alt = picture.name;
  }

  #reveal() {
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    const from = { clipPath: "inset(0 100% 0 0)" };
    const to = { clipPath: "inset(0 0 0 0)" };
    if (this.cut === null) $("paint").animate([from, to], { duration: REVEAL, easing: "cubic-bezier(.3,.7,.2,1)" });
  }

  // The class at a place ----------------------------------------------------------------------------------------

  #listenToPointer() {
    const frame = $("frame");
    const follow = (event) => {
      const box = frame.getBoundingClientRect();
      this.#look((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
    };
    frame.addEventListener("pointermove", follow);
    frame.addEventListener("pointerdown", follow);
    // A finger that is lifted leaves too, but wants to read what it touched.
    frame.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && this.#leave());
    addEventListener("pointerdown", (event) => frame.contains(event.target) || this.#leave());
  }

  #listenToKeys() {
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    $("paint").addEventListener("focus", ({ target }) => {
      if (target.matches(":focus-visible")) this.#look(this.place.x, this.place.y);
    });
    $("paint").addEventListener("blur", () => this.#leave());
    $("paint").addEventListener("keydown", (event) => {
      const step = steps[event.key];
      if (!step || !this.picture?.mask) return;
      event.preventDefault();
      const size = event.shiftKey ? 0.1 : 0.02;
      const { x, y } = this.place;
      const name = this.#look(x + step[0] * size, y + step[1] * size);
      if (name) this.speak(name);
    });
  }

  /** Tell the class at shares of width and height; returns its name. */
  #look(x, y) {
    const mask = this.picture?.mask;
    if (!mask) return null;
    const inside = (value) => Math.min(0.9999, Math.max(0, value));
    this.place = { x: inside(x), y: inside(y) };
    const column = Math.floor(this.place.x * mask.width);
    const label = mask.labels[Math.floor(this.place.y * mask.height) * mask.width + column];
    const tip = $("tip");
    tip.hidden = false;
    tip.style.left = `${100 * this.place.x}%`;
    tip.style.top = `${100 * this.place.y}%`;
    tip.classList.toggle("below", this.place.y < 0.16);
    tip.classList.toggle("leftward", this.place.x > 0.8);
    tip.classList.toggle("rightward", this.place.x < 0.2);
    tip.querySelector("i").style.background = `rgb(${this.colors[label] ?? [128, 128, 128]})`;
    tip.querySelector("span").textContent = this.names[label] ?? "no class";
    this.under(label);
    return this.names[label];
  }

  #leave() {
    $("tip").hidden = true;
    this.under(null);
  }

  // The divider ---------------------------------------------------------------------------------------------------

  #listenToDivider() {
    const handle = $("cut");
    const put = (cut) => this.compare(Math.min(1, Math.max(0, cut)));
    handle.addEventListener("pointerdown", (event) => {
      handle.setPointerCapture(event.pointerId);
      handle.focus();
      event.preventDefault();
    });
    handle.addEventListener("pointermove", (event) => {
      if (!handle.hasPointerCapture(event.pointerId)) return;
      const box = $("frame").getBoundingClientRect();
      put((event.clientX - box.left) / box.width);
    });
    const steps = { ArrowLeft: -0.02, ArrowDown: -0.02, ArrowRight: 0.02, ArrowUp: 0.02 };
    const more = { PageDown: -0.1, PageUp: 0.1, Home: -1, End: 1 };
    handle.addEventListener("keydown", (event) => {
      const step = steps[event.key] ?? more[event.key];
      if (step === undefined) return;
      event.preventDefault();
      put(this.cut + step);
    });
  }
}
