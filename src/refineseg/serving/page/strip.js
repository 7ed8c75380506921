// The strip: a small picture for each that was dropped, one of them chosen; arrow keys move, Delete removes.

const SPOKEN = {
  waiting: "waiting", working: "being segmented", full: "waiting for the server", done: "done", failed: "failed",
};

export class Strip {
  /** `chosen(picture)` is called with the picture to show, `removed(picture)` with the one to forget. */
  constructor(list, chosen, removed) {
    this.list = list;
    this.chosen = chosen;
    this.removed = removed;
    this.items = new Map(); // picture to element
    list.addEventListener("click", (event) => this.#picked(event.target, this.chosen));
    list.addEventListener("keydown", (event) => this.#pressed(event));
  }

  add(picture) {
    const item = Object.assign(document.createElement("div"), { className: "item", id: `picture-${picture.id}` });
    item.setAttribute("role", "option");
    const image = Object.assign(document.createElement("img"), { src: picture.url, alt: "", draggable: false });
    const name = Object.assign(document.createElement("b"), { textContent: ending(picture.name) });
    image.onerror = () => image.replaceWith(name); // not a picture, or of a kind that the browser cannot show
    item.append(image, document.createElement("i"));
    this.items.set(picture, item);
    this.list.append(item);
    this.update(picture);
  }

  remove(picture) {
    this.items.get(picture).remove();
    this.items.delete(picture);
  }

  update(picture) {
    const item = this.items.get(picture);
    if (!item) return;
    item.dataset.state = picture.state;
    item.title = picture.name;
    item.setAttribute("aria-label", `${picture.name}, ${SPOKEN[picture.state]}`);
  }

  /** Mark the picture on show; only it is reached by Tab. */
  select(picture) {
    for (const [other, item] of this.items) {
      item.setAttribute("aria-selected", other === picture);
      item.tabIndex = other === picture ? 0 : -1;
    }
    this.items.get(picture)?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  focus(picture) {
    this.items.get(picture)?.focus();
  }

  #picked(target, tell) {
    const item = target.closest(".item");
    for (const [picture, own] of this.items) if (own === item) tell(picture);
  }

  #pressed(event) {
    const pictures = [...this.items.keys()];
    const at = pictures.findIndex((picture) => this.items.get(picture) === document.activeElement);
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: pictures.length - 1 }[event.key];
    if (event.key === "Delete" || event.key === "Backspace") {
      event.preventDefault();
      this.#picked(event.target, this.removed);
    } else if (to !== undefined) {
      event.preventDefault();
      const picture = pictures[Math.min(pictures.length - 1, Math.max(0, to))];
      this.chosen(picture);
      this.focus(picture);
    }
  }
}

function ending(name) {
  const last = name.includes(".") ? name.split(".").pop() : "file";
  return last.slice(0, 5).toUpperCase();
}
