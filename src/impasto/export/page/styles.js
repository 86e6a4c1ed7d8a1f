// The styles to choose from: the gallery's, and paintings that were dropped here.

/**
 * The grid of thumbnails, a group of radio buttons, and the choice of what to blend with.
 *
 * A style is { key, title, credit, image } with either `mix` or `parameters`, whichever its network takes.
 */
export class Styles {
  #all = [];

  constructor({ grid, second, credit }, onChange) {
    Object.assign(this, { grid, second, credit, onChange });
    grid.addEventListener("change", () => this.#chosen());
    second.addEventListener("change", () => onChange());
  }

  /** The gallery's styles, as `gallery.json` tells them. */
  addGallery(rows) {
    rows.forEach((row, index) => {
      const mix = rows.map((_, other) => (other === index ? 1 : 0));
      const credit = [row.title, row.artist, row.year].filter(Boolean).join(", ");
      this.#add({ key: row.name, title: row.title, credit, image: row.thumbnail, mix });
    });
    this.select(this.#all[Math.max(0, rows.findIndex(({ name }) => name === "great-wave"))].key);
  }

  /** A painting that was dropped: it is chosen at once. */
  addPainting(name, parameters, thumbnail) {
    const count = this.#all.filter((style) => style.parameters).length;
    const title = name.replace(/\.[^.]*$/, "").slice(0, 40) || `Painting ${count + 1}`;
    const key = `own-${count}`;
    this.#add({ key, title, credit: `${title}, a painting of yours`, image: URL.createObjectURL(thumbnail), parameters });
    this.select(key);
  }

  #add(style) {
    this.#all.push(style);
    const tile = document.createElement("label");
    tile.className = "tile";
    const radio = Object.assign(document.createElement("input"), { type: "radio", name: "style", value: style.key });
    radio.setAttribute("aria-label", style.credit);
    const image = Object.assign(document.createElement("img"), { src: style.image, alt: "", width: 256, height: 256 });
    image.decoding = "async";
    const title = Object.assign(document.createElement("span"), { textContent: style.title });
    title.setAttribute("aria-hidden", "true");
    tile.append(radio, image, title);
    if (style.parameters) this.grid.prepend(tile);
    else this.grid.append(tile);
  }

  select(key) {
    const radio = this.grid.querySelector(`input[value="${CSS.escape(key)}"]`);
    radio.checked = true;
    this.#show(radio.closest("label"));
    this.#chosen();
  }

  /** Scroll the grid, and nothing else, so that a tile is in its middle. */
  #show(tile) {
    const { grid } = this;
    grid.scrollTo({
      left: tile.offsetLeft - (grid.clientWidth - tile.offsetWidth) / 2,
      top: tile.offsetTop - (grid.clientHeight - tile.offsetHeight) / 2,
    });
  }

  get first() {
    const key = this.grid.querySelector("input:checked")?.value;
    return this.#all.find((style) => style.key === key);
  }

  #chosen() {
    const { first } = this;
    this.credit.textContent = first.credit;
    this.#offer(first);
    this.onChange();
  }

  /** What can be blended with a style: what the same network knows. */
  #offer(first) {
    const before = this.second.value;
    const others = this.#all.filter((style) => style !== first && Boolean(style.mix) === Boolean(first.mix));
    const none = others.length ? "nothing" : "add one more painting";
    this.second.replaceChildren(new Option(none, ""), ...others.map(({ key, title }) => new Option(title, key)));
    this.second.value = others.some(({ key }) => key === before) ? before : "";
  }

  get other() {
    return this.#all.find((style) => style.key === this.second.value);
  }

  /** What the network is given, and a key that tells it from others; `share` in [0, 1] is of the second style. */
  blend(share) {
    const { first, other } = this;
    if (other === undefined || share === 0) return { key: first.key, style: given(first) };
    const [a, b] = first.mix ? [first.mix, other.mix] : [first.parameters, other.parameters];
    const values = Float32Array.from(a, (value, i) => (1 - share) * value + share * b[i]);
    return { key: `${first.key} ${other.key} ${share}`, style: first.mix ? { mix: values } : { parameters: values } };
  }
}

function given({ mix, parameters }) {
  return mix ? { mix } : { parameters };
}
