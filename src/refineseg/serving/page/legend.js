// The legend: a row for every class in the picture, largest first, to show or hide it.

const LEAST = 0.0005; // smaller shares are shown as "< 0.1 %"

export class Legend {
  /** `changed(hidden)` gets the set of hidden labels; `stand(label)` which one is to stand out, or null. */
  constructor(list, absent, changed, stand) {
    this.list = list;
    this.absent = absent;
    this.changed = changed;
    this.stand = stand;
    this.labels = [];
    this.hidden = new Set();
    this.#listen();
  }

  setModel(labels) {
    this.labels = labels;
  }

  /** Rows for a picture's pixel counts by label; null while they are not known. */
  show(counts) {
    const total = counts ? counts.reduce((sum, count) => sum + count, 0) : 0;
    const present = counts ? this.labels.filter(({ train_id }) => counts[train_id]) : [];
    present.sort((a, b) => counts[b.train_id] - counts[a.train_id]);
    const focused = document.activeElement?.closest?.("#classes li")?.dataset.label;
    this.list.replaceChildren(...present.map((label) => this.#row(label, counts[label.train_id], total)));
    this.list.querySelector(`li[data-label="${focused}"] input`)?.focus();
    const missing = this.labels.filter((label) => counts && !counts[label.train_id]).map((label) => label.name);
    this.absent.textContent = !counts
      ? "The classes of a picture appear here once it is segmented."
      : missing.length ? `Not in this picture: ${shortened(missing)}` : "";
  }

  /** Mark the row of the class under the pointer. */
  mark(label) {
    for (const row of this.list.children) row.classList.toggle("under", Number(row.dataset.label) === label);
  }

  /** Show or hide all classes of the model. */
  setAll(shown) {
    this.hidden = new Set(shown ? [] : this.labels.map((label) => label.train_id));
    this.#tick();
  }

  #row({ train_id, name, color }, count, total) {
    const row = document.createElement("li");
    row.dataset.label = train_id;
    row.style.setProperty("--color", `rgb(${color})`);
    row.style.setProperty("--share", count / total);
    const label = document.createElement("label");
    label.title = `${count.toLocaleString("en")} pixels`;
    const box = Object.assign(document.createElement("input"), { type: "checkbox" });
    box.checked = !this.hidden.has(train_id);
    label.append(box, part("name", name), part("share", percent(count / total)), part("track", ""));
    const only = Object.assign(document.createElement("button"), { type: "button", className: "plain only" });
    only.textContent = "only";
    only.setAttribute("aria-label", `Show only ${name}`);
    row.append(label, only);
    return row;
  }

  #listen() {
    this.list.addEventListener("change", (event) => {
      const label = Number(event.target.closest("li").dataset.label);
      if (event.target.checked) this.hidden.delete(label);
      else this.hidden.add(label);
      this.changed(this.hidden);
    });
    this.list.addEventListener("click", (event) => {
      if (!event.target.matches(".only")) return;
      const label = Number(event.target.closest("li").dataset.label);
      this.hidden = new Set(this.labels.map((item) => item.train_id).filter((id) => id !== label));
      this.#tick();
    });
    this.list.addEventListener("keydown", (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const boxes = [...this.list.querySelectorAll("input")];
      boxes[boxes.indexOf(event.target.closest("li").querySelector("input")) + step]?.focus();
    });
    const label = (event) => Number(event.target.closest("li")?.dataset.label ?? -1);
    this.list.addEventListener("pointerover", (event) => {
      // A finger has no hovering: it would leave the class standing out.
      if (event.pointerType !== "mouse") return;
      this.stand(this.hidden.has(label(event)) || label(event) < 0 ? null : label(event));
    });
    this.list.addEventListener("pointerleave", () => this.stand(null));
  }

  #tick() {
    for (const row of this.list.children) {
      row.querySelector("input").checked = !this.hidden.has(Number(row.dataset.label));
    }
    this.changed(this.hidden);
  }
}

/** A share in [0, 1] as text. */
export function percent(share) {
  return share < LEAST ? "< 0.1 %" : `${(100 * share).toFixed(1)} %`;
}

function part(className, text) {
  return Object.assign(document.createElement("span"), { className, textContent: text });
}

function shortened(names) {
  return names.length > 15 ? `${names.slice(0, 12).join(", ")} and ${names.length - 12} more` : names.join(", ");
}
