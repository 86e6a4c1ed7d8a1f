// The picture: opening it, before and after, the brush for masks, progress and saving. Python decides what is shown:
// `props.value` is the whole of it each time, and `n` grows.

const frame = $(".frame");
const before = $(".before");
const after = $(".after");
const split = $(".split");
const canvas = $("canvas.mask");
const select = $(".target select");
const LONG = 1024; // px of a mask's long side
const shown = { n: -1 };
const masks = new Map(); // what is brushed, by what it is for: canvases, white where the style goes
const brush = { on: false, tool: "style", x: 0.5, y: 0.5, down: false, keys: false };
const untold = { keys: new Set(), waits: 0 }; // masks that Python does not know yet
let ticking = 0;

// -- opening ------------------------------------------------------------------------------------------------------

async function open(picture, event = "photo") {
  if (!picture) return;
  say(`Reading ${picture.name || "the picture"} …`, "");
  const path = await sent(picture);
  if (path) trigger(event, { path, name: picture.name || "pasted.png" });
}

document.addEventListener("studio-problem", ({ detail }) => say("", detail));

for (const button of element.querySelectorAll(".choose")) button.addEventListener("click", () => $(".file").click());
$(".file").addEventListener("change", (event) => {
  open(event.target.files[0]);
  event.target.value = "";
});
const section = $(".easel");
droppedOn(section, (files) => open(files[0]));
document.addEventListener("paste", (event) => {
  if (!element.isConnected || !element.offsetParent) return;
  const picture = [...(event.clipboardData?.files ?? [])].find((one) => one.type.startsWith("image/"));
  if (picture) open(picture);
});

// -- what is shown ------------------------------------------------------------------------------------------------

function say(status, problem) {
  $(".status").textContent = status;
  $(".problem").textContent = problem;
}

function show() {
  const view = props.value;
  if (!view || typeof view !== "object" || view.n <= shown.n) return;
  const photo = view.photo?.file;
  if (photo !== shown.photo) {
    forgetMasks((key) => !key.startsWith("part:"));
    brushing(false);
    if (photo) {
      before.src = file(photo);
      after.removeAttribute("src");
      after.dataset.of = "";
      frame.style.setProperty("--ratio", view.photo.width / view.photo.height);
    }
  }
  Object.assign(shown, { n: view.n, photo, view });
  $(".empty").hidden = Boolean(photo);
  $("figure").hidden = !photo;
  frame.classList.toggle("painted", Boolean(view.after));
  if (view.after && after.dataset.of !== view.after) {
    const next = new Image();
    next.src = file(view.after);
    next.decode().then(() => {
      if (shown.view.after !== view.after) return;
      after.src = next.src;
      after.dataset.of = view.after;
      if (!brush.down) draw(false);
    }, () => {});
  } else if (!view.after) {
    after.removeAttribute("src");
    after.dataset.of = "";
  }
  $(".paint").disabled = view.running;
  $(".stop").hidden = !view.running;
  for (const button of element.querySelectorAll("[data-save]")) button.disabled = !view.ready;
  $(".offer").hidden = !view.photo?.painted;
  $(".further").hidden = !view.further;
  $(".further span").textContent = `Also from that painting: ${view.further}.`;
  offer(view.targets ?? []);
  work(view.progress);
  say(view.status, view.problem);
  save(view.saved);
  element.dataset.after = view.after ?? "";
  element.dataset.shown = view.n;
}

function work(progress) {
  clearInterval(ticking);
  $(".work").hidden = !progress;
  section.setAttribute("aria-busy", Boolean(progress));
  if (!progress) return;
  const bar = $("progress");
  const began = performance.now();
  const tick = () => {
    const seconds = (performance.now() - began) / 1000;
    const left = progress.left === null ? null : Math.max(0, progress.left - seconds);
    if (progress.share === null) bar.removeAttribute("value");
    else bar.value = left === null || !progress.left ? progress.share : Math.min(0.99, progress.share + (1 - progress.share) * (seconds / progress.left));
    const long = left === null ? "" : left > 90 ? `, about ${Math.round(left / 60)} min left` : `, about ${Math.ceil(left)} s left`;
    $(".left").textContent = `${progress.label}${long}`;
  };
  tick();
  ticking = setInterval(tick, 250);
}

split.addEventListener("input", () => frame.style.setProperty("--split", `${split.value}%`));
$(".paint").addEventListener("click", () => trigger("paint", {}));
$(".stop").addEventListener("click", () => trigger("stop", {}));
$(".take").addEventListener("click", () => trigger("settings", {}));
$(".drop").addEventListener("click", () => trigger("leave_out", {}));
for (const button of element.querySelectorAll("[data-save]")) {
  button.addEventListener("click", () => trigger("save", { format: button.dataset.save }));
}

// -- the brush ----------------------------------------------------------------------------------------------------

function offer(targets) {
  const told = JSON.stringify(targets);
  if (told === select.dataset.told) return;
  select.dataset.told = told;
  const chosen = select.value;
  select.replaceChildren(...targets.map((one) => new Option(one.label, one.id)));
  if (targets.some((one) => one.id === chosen)) select.value = chosen;
  forgetMasks((key) => key !== "all" && !targets.some((one) => one.id === key));
  if (brush.on) aim();
}

function forgetMasks(which) {
  for (const key of [...masks.keys()]) {
    if (!which(key)) continue;
    masks.delete(key);
    untold.keys.delete(key);
  }
}

const target = () => (shown.view?.targets ?? []).find((one) => one.id === select.value);

function brushing(on) {
  brush.on = on;
  $(".masking").setAttribute("aria-pressed", on);
  $(".brush").hidden = canvas.hidden = !on;
  frame.classList.toggle("brushing", on);
  if (on) aim();
  else if (shown.photo) before.src = file(shown.photo);
}

/** Show what the mask is for: the photo and its painting, or the painting of which a part is meant. */
function aim() {
  const part = target()?.file;
  frame.classList.toggle("of-part", Boolean(part));
  before.src = file(part ?? shown.photo);
  before.decode().then(() => draw(true), () => {});
}

function maskOf(key) {
  let mask = masks.get(key);
  if (!mask) {
    mask = document.createElement("canvas");
    const scale = LONG / Math.max(before.naturalWidth, before.naturalHeight);
    mask.width = Math.max(1, Math.round(before.naturalWidth * scale));
    mask.height = Math.max(1, Math.round(before.naturalHeight * scale));
    const context = mask.getContext("2d", { willReadFrequently: true });
    context.fillStyle = brush.tool === "style" ? "#000" : "#fff"; // the first stroke says what the rest is
    context.fillRect(0, 0, mask.width, mask.height);
    masks.set(key, mask);
  }
  return mask;
}

/** One dab at (x, y), shares of the frame. Lighten and darken keep edges soft where dabs lie over each other. */
function dab(x, y) {
  const mask = maskOf(select.value);
  const context = mask.getContext("2d");
  const radius = ($(".width").value / 200) * Math.max(mask.width, mask.height);
  const hard = 1 - $(".soft").value / 100;
  const [cx, cy] = [x * mask.width, y * mask.height];
  const gradient = context.createRadialGradient(cx, cy, 0, cx, cy, radius);
  const stops = 16;
  for (let i = 0; i <= stops; i++) {
    const t = i / stops;
    const s = t <= hard ? 0 : (t - hard) / Math.max(1e-3, 1 - hard);
    const smooth = s * s * (3 - 2 * s);
    const from = brush.tool === "style" ? 255 * (1 - smooth) : 255 * smooth;
    gradient.addColorStop(t, `rgb(${from},${from},${from})`);
  }
  context.globalCompositeOperation = brush.tool === "style" ? "lighten" : "darken";
  context.fillStyle = gradient;
  context.fillRect(cx - radius, cy - radius, 2 * radius, 2 * radius);
  context.globalCompositeOperation = "source-over";
}

/** The mask over the picture, as a tint where the photo stays, and the brush's outline. */
function draw(tinted, ring) {
  if (!brush.on) return;
  const mask = masks.get(select.value);
  canvas.width = mask?.width ?? Math.round(Math.min(LONG, before.naturalWidth || LONG));
  canvas.height = mask?.height ?? Math.round((canvas.width * (before.naturalHeight || 1)) / (before.naturalWidth || 1));
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  if (mask && (tinted || target()?.file)) {
    const pixels = mask.getContext("2d").getImageData(0, 0, mask.width, mask.height);
    for (let i = 0; i < pixels.data.length; i += 4) {
      pixels.data[i + 3] = (255 - pixels.data[i]) * 0.6;
      pixels.data[i] = 24;
      pixels.data[i + 1] = 22;
      pixels.data[i + 2] = 40;
    }
    context.putImageData(pixels, 0, 0);
  }
  if (!ring) return;
  const radius = ($(".width").value / 200) * Math.max(canvas.width, canvas.height);
  for (const [colour, wide] of [["#000", 4], ["#fff", 2]]) {
    context.strokeStyle = colour;
    context.lineWidth = (wide * canvas.width) / Math.max(1, canvas.clientWidth);
    context.beginPath();
    context.arc(brush.x * canvas.width, brush.y * canvas.height, radius, 0, 2 * Math.PI);
    context.stroke();
  }
}

function to(x, y, paints) {
  const [dx, dy] = [x - brush.x, y - brush.y];
  const step = $(".width").value / 200 / 6;
  const count = paints ? Math.max(1, Math.ceil(Math.hypot(dx, dy) / step)) : 1;
  if (paints) for (let i = 1; i <= count; i++) dab(brush.x + (dx * i) / count, brush.y + (dy * i) / count);
  [brush.x, brush.y] = [x, y];
  draw(brush.down || brush.keys, true);
}

function where(event) {
  const box = canvas.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
}

/** Tell Python of a mask, one at a time: what is brushed until it has answered is told together, once it has. */
function send(key = select.value) {
  if (untold.waits) {
    untold.keys.add(key);
    return;
  }
  untold.waits = setTimeout(answered, 20000); // if the answer is lost
  const mask = masks.get(key);
  trigger("mask", { of: key, png: mask ? mask.toDataURL("image/png") : "" });
}

function answered() {
  clearTimeout(untold.waits);
  untold.waits = 0;
  const [key] = untold.keys;
  if (untold.keys.delete(key)) send(key);
}

canvas.addEventListener("pointerdown", (event) => {
  event.preventDefault();
  canvas.focus();
  canvas.setPointerCapture(event.pointerId);
  brush.down = true;
  [brush.x, brush.y] = where(event);
  dab(brush.x, brush.y);
  draw(true, true);
});
canvas.addEventListener("pointermove", (event) => to(...where(event), brush.down));
canvas.addEventListener("pointerleave", () => draw(brush.down));
for (const kind of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(kind, () => {
    if (!brush.down) return;
    brush.down = false;
    send();
  });
}
canvas.addEventListener("keydown", (event) => {
  const step = event.shiftKey ? 0.1 : 0.02;
  const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
  if (event.key === " ") {
    if (!brush.keys) dab(brush.x, brush.y);
    brush.keys = true;
    draw(true, true);
  } else if (event.key in moves) {
    const [dx, dy] = moves[event.key];
    to(Math.min(1, Math.max(0, brush.x + dx)), Math.min(1, Math.max(0, brush.y + dy)), brush.keys);
  } else return;
  event.preventDefault();
});
canvas.addEventListener("keyup", (event) => {
  if (event.key !== " " || !brush.keys) return;
  brush.keys = false;
  send();
});
canvas.addEventListener("focus", () => draw(false, true));
canvas.addEventListener("blur", () => draw(false));
$(".masking").addEventListener("click", () => brushing(!brush.on));
select.addEventListener("change", aim);
for (const button of element.querySelectorAll("[data-tool]")) {
  button.addEventListener("click", () => {
    brush.tool = button.dataset.tool;
    for (const one of element.querySelectorAll("[data-tool]")) one.setAttribute("aria-pressed", one === button);
  });
}
$("[data-do=clear]").addEventListener("click", () => {
  masks.delete(select.value);
  draw(true);
  send();
});
$("[data-do=save]").addEventListener("click", () => trigger("save", { format: select.value }));

watch("value", () => {
  show();
  answered();
});
show();
element.dataset.ready = "";
