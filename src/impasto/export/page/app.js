// The page: what is chosen becomes a request to the painter, what comes back is shown.

import { Camera } from "./camera.js";
import { keepAll, settle } from "./offline.js";
import { Cancelled, Painter } from "./painter.js";
import { Styles } from "./styles.js";

const STROKES = [1, 1.4, 2, 2.8, 4, 5.6, 8, 11, 16];
const AT_FIRST = 1024; // px of the long side at which a new picture is seen, by larger strokes
const SIZES = [512, 1024, 2048, 4096];
const LONG = 3; // seconds of work left for which a change does not wait
const JPEG_QUALITY = 0.93;

const at = (id) => document.getElementById(id);
const percent = (id) => Number(at(id).value) / 100;
const shown = (number) => number.toLocaleString("en", { maximumFractionDigits: 1 });

const state = { name: "", size: null, busy: false, dirty: false, paused: false, elsewhere: false, reading: 0 };
const styles = new Styles({ grid: at("styles"), second: at("second"), credit: at("credit") }, refresh);
let painter = null;
let camera = null;
let blob = null;
let timer = 0;

// -- what is said -------------------------------------------------------------------------------------------------------

function say(text) {
  at("status").textContent = text;
}

function complain(error) {
  at("problem").hidden = !error;
  at("problem").textContent = error ? error.message : "";
}

function showWork(seconds) {
  clearInterval(timer);
  const bar = at("progress");
  at("work").hidden = seconds === undefined;
  bar.removeAttribute("value");
  if (!seconds) return;
  const began = performance.now();
  timer = setInterval(() => (bar.value = Math.min(0.98, (performance.now() - began) / 1000 / seconds)), 100);
}

function onProgress({ address, done, total, seconds, seen }) {
  if (address !== undefined) {
    const what = address.endsWith(".onnx") ? "network" : "painter";
    const size = total > done ? ` of ${shown(total / 1e6)}` : "";
    if (state.busy || !at("engine").textContent) say(`Loading the ${what}: ${shown(done / 1e6)}${size} MB`);
  } else if (seen !== undefined) {
    say(seconds > LONG ? `Painting, about ${Math.ceil(seconds)} s …` : "Painting …");
    showWork(seconds);
  }
}

// -- painting -----------------------------------------------------------------------------------------------------------

/** Paint again, as everything is chosen now; changes that come meanwhile are painted together afterwards. */
async function refresh() {
  tellControls();
  if (blob === null || camera?.on) return;
  state.dirty = true;
  state.paused = false;
  if (state.busy) {
    if (painter.secondsLeft > LONG) painter.cancel();
    return;
  }
  state.busy = true;
  at("cancel").textContent = "Cancel";
  while (state.dirty) {
    state.dirty = false;
    await once();
  }
  state.busy = state.elsewhere = false;
  if (!state.paused) showWork(undefined);
}

async function once() {
  ready(false);
  complain(null);
  showWork(0);
  at("stage").setAttribute("aria-busy", "true");
  const { key, style } = styles.blend(percent("share"));
  const strokes = STROKES[at("strokes").value];
  try {
    const done = await painter.paint({
      style, styleKey: key, strokes, strength: percent("strength"), keep: at("keep").checked,
    });
    if (state.reading) return done.shown.close(); // it is that of the picture before
    put(at("after"), done.shown);
    const [height, width] = state.size;
    const seen = strokes === 1 ? "" : ` Painted at ${done.seen[1]} × ${done.seen[0]}.`;
    say(`Painted in ${shown(done.seconds)} s: ${width} × ${height} pixels.${seen}`);
    ready(true);
  } catch (error) {
    if (error instanceof Cancelled) {
      if (!state.dirty && !state.elsewhere) pause();
    } else {
      say("Not painted.");
      complain(error);
      if (error.long) at("size").add(new Option(`${error.long} pixels`, error.long), 1);
    }
  } finally {
    at("stage").removeAttribute("aria-busy");
  }
  return undefined;
}

function pause() {
  state.paused = true;
  say("Stopped.");
  clearInterval(timer);
  at("progress").value = 0;
  at("cancel").textContent = "Paint it";
}

/** Something else begins: a painting that takes long ends, a short one is waited for. */
function interrupt() {
  state.dirty = false;
  state.elsewhere = state.busy && painter.secondsLeft > LONG;
  if (state.elsewhere) painter.cancel();
}

function ready(yes) {
  at("png").disabled = at("jpeg").disabled = !yes;
}

function put(canvas, bitmap) {
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  canvas.getContext("bitmaprenderer").transferFromImageBitmap(bitmap);
}

/** Take a picture: a file, or what was dropped, pasted or photographed. */
async function take(file, name = file.name ?? "picture") {
  stopCamera();
  complain(null);
  ready(false);
  interrupt();
  say("Reading the picture …");
  state.reading++;
  try {
    const opened = await painter.open({ blob: file, long: Number(at("size").value) }).finally(() => state.reading--);
    blob = file;
    Object.assign(state, { name: name.replace(/\.[^.]*$/, "") || "picture", size: opened.size });
    put(at("before"), opened.shown);
    at("empty").hidden = true;
    at("compare").hidden = at("sources").hidden = false;
    at("frame").style.setProperty("--ratio", opened.size[1] / opened.size[0]);
    offerSizes(Math.max(...opened.full));
    at("strokes").value = strokesFor(Math.max(...opened.size));
    await refresh();
  } catch (error) {
    if (error instanceof Cancelled) return;
    if (blob === null) say("No picture yet.");
    else await refresh(); // the picture before is still there
    complain(error);
  }
}

function strokesFor(long) {
  const wanted = Math.log(Math.max(1, long / AT_FIRST));
  const apart = STROKES.map((strokes) => Math.abs(Math.log(strokes) - wanted));
  return apart.indexOf(Math.min(...apart));
}

function offerSizes(full) {
  const before = Number(at("size").value);
  const smaller = SIZES.filter((side) => side < full);
  const options = smaller.map((side) => new Option(`${side} pixels`, side));
  at("size").replaceChildren(new Option(`as it is (${full})`, 0), ...options.reverse());
  at("size").value = smaller.includes(before) ? before : 0;
}

async function addPainting(file) {
  complain(null);
  say("Looking at the painting …");
  try {
    const { parameters, thumbnail } = await painter.look(file);
    styles.addPainting(file.name ?? "", parameters, thumbnail);
    if (blob === null) say("The painting is among the styles. Choose a picture to repaint.");
  } catch (error) {
    say("No painting was added.");
    if (!(error instanceof Cancelled)) complain(error);
  }
}

async function save(type, ending) {
  say("Writing the file …");
  try {
    const { blob: file } = await painter.save(type, JPEG_QUALITY);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(file);
    link.download = `${state.name}-${styles.first.key}.${ending}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    say(`Saved as ${link.download}, ${shown(file.size / 1e6)} MB.`);
  } catch (error) {
    say("Not saved.");
    complain(error);
  }
}

// -- the camera ---------------------------------------------------------------------------------------------------------

async function startCamera() {
  if (camera?.on) return stopCamera();
  complain(null);
  interrupt();
  camera = new Camera({
    paint: async (bitmap) => {
      const { style } = styles.blend(percent("share"));
      const strength = percent("strength");
      return (await painter.frame({ bitmap, style, strength, keep: at("keep").checked })).shown;
    },
    show: (bitmap) => {
      at("live").style.setProperty("--ratio", bitmap.width / bitmap.height);
      put(at("view"), bitmap);
    },
    fail: (error) => {
      stopCamera();
      complain(error);
    },
  });
  try {
    await camera.start();
  } catch (error) {
    camera.stop();
    const refused = error.name === "NotAllowedError";
    return complain(new Error(refused ? "The browser does not let this page use the camera." : "No camera was found."));
  }
  at("view").classList.toggle("mirrored", camera.mirrored);
  at("turn").hidden = !(await Camera.several());
  at("empty").hidden = at("compare").hidden = true;
  at("live").hidden = at("sources").hidden = false;
  at("camera").setAttribute("aria-pressed", "true");
  showWork(undefined);
  ready(false);
  say("The camera is on: every picture is painted on this device.");
  return undefined;
}

function stopCamera() {
  if (!camera?.on) return;
  camera.stop();
  at("live").hidden = true;
  at("empty").hidden = blob !== null;
  at("compare").hidden = blob === null;
  at("camera").setAttribute("aria-pressed", "false");
  say("The camera is off.");
  if (blob !== null) refresh();
}

// -- controls -----------------------------------------------------------------------------------------------------------

function tellControls() {
  at("share-row").hidden = styles.other === undefined;
  for (const id of ["share", "strength"]) at(`${id}-shown`).value = `${at(id).value} %`;
  const strokes = `${STROKES[at("strokes").value]}×`;
  at("strokes-shown").value = strokes;
  at("strokes").setAttribute("aria-valuetext", strokes);
}

function split() {
  at("frame").style.setProperty("--split", `${at("split").value}%`);
  at("split").setAttribute("aria-valuetext", `${at("split").value} % photo`);
}

function connect() {
  const choose = (id, act) => {
    at(id).addEventListener("change", () => {
      if (at(id).files.length) act(at(id).files[0]);
      at(id).value = "";
    });
  };
  choose("picture", take);
  choose("photo", take);
  choose("painting", addPainting);
  for (const button of document.querySelectorAll(".choose")) button.addEventListener("click", () => at("picture").click());
  at("photograph").addEventListener("click", () => (Camera.possible ? startCamera() : at("photo").click()));
  at("add").addEventListener("click", () => at("painting").click());
  at("camera").addEventListener("click", startCamera);
  at("stop").addEventListener("click", stopCamera);
  at("turn").addEventListener("click", () => camera.turn().catch(complain));
  at("snap").addEventListener("click", async () => take(await camera.snapshot(), "camera.png"));
  at("cancel").addEventListener("click", () => (state.paused ? refresh() : painter.cancel()));
  for (const id of ["share", "strength", "strokes", "keep"]) at(id).addEventListener("input", refresh);
  at("size").addEventListener("change", () => blob && take(blob, state.name));
  at("split").addEventListener("input", split);
  at("png").addEventListener("click", () => save("image/png", "png"));
  at("jpeg").addEventListener("click", () => save("image/jpeg", "jpg"));
  at("panel").addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("paste", (event) => {
    const file = [...event.clipboardData.files].find(({ type }) => type.startsWith("image/"));
    if (file) take(file, "pasted.png");
  });
  connectDrops();
}

function connectDrops() {
  const over = at("over");
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragenter", (event) => {
    if (hasFiles(event)) over.hidden = false;
  });
  document.addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
  over.addEventListener("dragleave", (event) => {
    if (!over.contains(event.relatedTarget)) over.hidden = true;
  });
  document.addEventListener("drop", (event) => {
    over.hidden = true;
    if (!hasFiles(event)) return;
    event.preventDefault();
    const file = event.dataTransfer.files[0];
    if (file === undefined) return;
    if (event.target.closest("[data-drop=style], #panel")) addPainting(file);
    else take(file);
  });
}

async function begin() {
  const facts = await (await fetch("gallery.json")).json();
  painter = new Painter(
    {
      folder: new URL("./", location.href).href,
      webgpu: facts.webgpu,
      wanted: new URLSearchParams(location.search).get("engine"),
    },
    onProgress,
  );
  styles.addGallery(facts.styles);
  connect();
  at("camera").hidden = !Camera.possible;
  if (await settle(() => blob === null && !state.busy && !camera?.on)) return;
  const { kind, threads } = await painter.start();
  const where = kind === "webgpu" ? "the graphics card (WebGPU)" : `the processor, ${threads} ${threads === 1 ? "thread" : "threads"}`;
  at("engine").textContent = `Paints on ${where}.`;
  document.body.dataset.engine = `${kind} ${threads}`;
  if (blob === null && !state.busy) say("Ready.");
  if (await keepAll(facts.keep)) {
    at("engine").textContent += " Works without a network from now on.";
    document.body.dataset.offline = "yes";
  }
}

begin().catch((error) => {
  say("The page could not be made ready.");
  complain(error);
});
