// The styles: thumbnails of the gallery, paintings of the visitor's, and the weights of a mix.

const gallery = props.gallery;
const name = `style-${Math.random().toString(36).slice(2)}`;
const known = new Map(gallery.map((row) => [row.id, row]));
let own = [];
let chosen = [];
let seen = -1;

const mixing = () => $(".mix input").checked;
const isOwn = (id) => own.some((row) => row.id === id);

function tile(row) {
  const label = document.createElement("label");
  label.className = "tile";
  const input = document.createElement("input");
  input.type = mixing() ? "checkbox" : "radio";
  input.name = name;
  input.value = row.id;
  const image = document.createElement("img");
  image.src = row.file ? file(row.file) : "";
  image.alt = "";
  image.width = image.height = 96;
  const title = document.createElement("span");
  title.className = "title";
  title.textContent = row.title;
  label.append(input, image, title);
  if (row.artist) {
    const artist = document.createElement("span");
    artist.className = "artist";
    artist.textContent = row.artist;
    label.append(artist);
    label.title = [row.title, row.artist, row.year].filter(Boolean).join(", ");
  }
  input.addEventListener("change", () => pick(row.id, input.checked));
  return label;
}

function build() {
  $(".grid").replaceChildren(...gallery.map(tile));
  $(".own").replaceChildren(...own.map(tile));
  $(".own").hidden = own.length === 0;
  mark();
}

function mark() {
  for (const input of element.querySelectorAll(".tile input")) {
    input.checked = chosen.some((row) => row.id === input.value);
  }
  const one = chosen.length === 1 ? known.get(chosen[0].id) : null;
  $(".credit").textContent = one ? [one.title, one.artist, one.year].filter(Boolean).join(", ")
    : chosen.length === 1 ? `${title(chosen[0].id)}, a painting of yours` : "";
  const weights = $(".weights");
  weights.hidden = chosen.length < 2;
  if (chosen.length < 2) return weights.replaceChildren();
  if ([...weights.children].map((row) => row.dataset.id).join() === chosen.map((row) => row.id).join()) {
    for (const row of chosen) {
      const input = weights.querySelector(`[data-id="${CSS.escape(row.id)}"] input`);
      if (document.activeElement !== input) input.value = Math.round(row.weight * 100);
      tell(input);
    }
    return undefined;
  }
  return weights.replaceChildren(...chosen.map((row) => {
    const label = document.createElement("label");
    label.dataset.id = row.id;
    const text = document.createElement("span");
    text.textContent = title(row.id);
    const input = document.createElement("input");
    Object.assign(input, { type: "range", min: 5, max: 100, step: 5, value: Math.round(row.weight * 100) });
    input.setAttribute("aria-label", `Weight of ${title(row.id)}`);
    const output = document.createElement("output");
    label.append(text, input, output);
    input.addEventListener("input", () => tell(input));
    input.addEventListener("change", () => {
      chosen = chosen.map((one) => (one.id === row.id ? { ...one, weight: input.value / 100 } : one));
      tell(input);
      changed();
    });
    tell(input);
    return label;
  }));
}

function tell(input) {
  input.nextElementSibling.textContent = `${input.value} %`;
}

const title = (id) => known.get(id)?.title ?? own.find((row) => row.id === id)?.title ?? id;

function pick(id, yes) {
  if (!mixing()) chosen = [{ id, weight: 1 }];
  else if (!yes) chosen = chosen.filter((row) => row.id !== id);
  else chosen = [...chosen.filter((row) => isOwn(row.id) === isOwn(id)), { id, weight: 1 }]; // names or pictures, not both
  mark();
  changed();
}

function changed() {
  props.value = { chosen, own, n: seen };
  trigger("choose", {});
}

function take() {
  const value = props.value;
  if (!value || typeof value !== "object" || value.n <= seen) return;
  seen = value.n;
  own = value.own ?? [];
  chosen = value.chosen ?? [];
  if (chosen.length > 1) $(".mix input").checked = true;
  build();
  if (value.ask) changed();
}

$(".mix input").addEventListener("change", () => {
  if (!mixing() && chosen.length > 1) {
    chosen = chosen.slice(0, 1);
    changed();
  }
  build();
});
$(".add").addEventListener("click", () => $(".file").click());

async function add(files) {
  for (const picture of files) {
    const path = await sent(picture);
    if (path) trigger("picture", { path, name: picture.name || "painting.png", mix: mixing() });
  }
}

$(".file").addEventListener("change", (event) => {
  add([...event.target.files]);
  event.target.value = "";
});
droppedOn($(".palette"), add);

watch("value", take);
build();
take();
