// The worker that paints: reads pictures, runs the networks, finishes and encodes. The page only shows what it is given.

import { Engine, TooLarge, hasWebGpu } from "./engine.js";
import { finish, fitLongSide, layGround, resizeBytes, rowsOfBytes, seenSize, toPlanes } from "./pixels.js";

const STYLE_SIZE = 512; // px of the long side at which style pictures are looked at
const SHOWN = 2048; // px of the long side of what the page shows
const KEPT = 4e6; // px up to which what a network painted is kept, so that strength and colours change at once
const FAILED = new Set(["RangeError", "RuntimeError"]); // what WebAssembly throws where memory is not to be had

let engine = null;
let begin = null; // loads WebAssembly instead of whatever there is
let ground = null; // what photos are painted on, see `layGround`
let photo = null; // { bytes, size, full }
let painted = null; // what the network made last: { key, planes, work, seen }
let result = null; // the finished picture, RGBA bytes

const jobs = { start, open, look, paint, save, frame };

let queue = Promise.resolve(); // one job after another: they share the picture

self.onmessage = ({ data }) => {
  queue = queue.then(() => answer(data));
};

async function answer({ id, job, options }) {
  const report = (progress) => self.postMessage({ id, progress });
  try {
    const { transfer = [], ...value } = (await jobs[job](options, report)) ?? {};
    self.postMessage({ id, value }, transfer);
  } catch (error) {
    const memory = FAILED.has(error.name) || /memory|alloc/i.test(error.message);
    self.postMessage({ id, error: { message: error.message, long: error.long, memory } });
  }
}

/** Load runtime and gallery; `engine` may say which runtime. A WebGPU that does not work gives way to WebAssembly. */
async function start({ folder, webgpu, wanted }, report) {
  begin = () => load(folder, ["wasm"], report);
  ground ??= await readGround();
  const kinds = wanted === "webgpu" || (wanted !== "wasm" && webgpu && (await hasWebGpu())) ? ["webgpu", "wasm"] : ["wasm"];
  return load(folder, kinds, report);
}

async function load(folder, kinds, report) {
  for (const kind of kinds) {
    engine = new Engine(folder, report);
    try {
      await engine.start(kind);
      if (kind === "webgpu") await engine.prove();
      break;
    } catch (error) {
      if (kind === kinds.at(-1)) throw error;
    }
  }
  return { kind: engine.kind, threads: engine.threads };
}

/** Read a photo and show it; `long` is the longer side it is brought to, if it is larger. */
async function open({ blob, long }) {
  const { bytes, size } = await decode(blob);
  photo = painted = result = null;
  const goal = long ? fitLongSide(size, long) : size;
  photo = { bytes: goal[0] === size[0] && goal[1] === size[1] ? bytes : resizeBytes(bytes, size, goal), size: goal };
  const shown = await show(photo.bytes, goal);
  return { size: goal, full: size, shown, transfer: [shown] };
}

/** What a painting tells the network of any style, and a thumbnail of it. */
async function look({ blob }) {
  const { bytes, size } = await decode(blob);
  const small = fitLongSide(size, STYLE_SIZE);
  const planes = toPlanes(rowsOfBytes(bytes, size[1]), size, small, 1);
  const count = small[0] * small[1];
  planes.fill(1, 3 * count);
  const parameters = await run(planes, small, null);
  const side = Math.min(...size);
  const canvas = new OffscreenCanvas(256, 256);
  const whole = await createImageBitmap(new ImageData(bytes, size[1], size[0]));
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(whole, (size[1] - side) / 2, (size[0] - side) / 2, side, side, 0, 0, 256, 256);
  whole.close();
  return { parameters, thumbnail: await canvas.convertToBlob({ type: "image/jpeg", quality: 0.9 }) };
}

/** Paint the photo and show the painting; `style` is { mix } or { parameters }. */
async function paint({ style, styleKey, strokes, strength, keep }, report) {
  const seen = seenSize(photo.size, strokes);
  const key = `${styleKey} ${seen}`;
  const began = performance.now();
  let made = painted?.key === key ? painted : null;
  if (made === null) {
    painted = null;
    checkRoom(seen, strokes, style);
    report({ seconds: engine.seconds(seen), seen });
    const work = toPlanes(rowsOfBytes(photo.bytes, photo.size[1]), photo.size, seen);
    // Where strokes are enlarged, the photo is wanted once more as it was.
    const primed = seen[0] === photo.size[0] && seen[1] === photo.size[1] ? work : work.slice();
    layGround(primed, seen, ground);
    made = { key, seen, work, planes: await run(primed, seen, style) };
    if (seen[0] * seen[1] <= KEPT) painted = made;
  }
  result = finish({ photo: photo.bytes, goal: photo.size, painted: made.planes, work: made.work, seen, strength, keep });
  const shown = await show(result, photo.size);
  return { shown, seen, seconds: (performance.now() - began) / 1000, transfer: [shown] };
}

/** The numbers of `GroundNoise` in imaging/noise.py, and its blots as floats. */
async function readGround() {
  const found = await (await fetch(new URL("ground.json", import.meta.url))).json();
  const bytes = Uint8Array.from(atob(found.blots), (letter) => letter.charCodeAt(0));
  return { ...found, blots: new Float32Array(bytes.buffer) };
}

/** What a network makes of planes; where WebGPU fails, WebAssembly takes over for good. Without a style, it looks at one. */
async function run(planes, size, style) {
  const once = () => (style === null ? engine.look(planes, size) : engine.paint(planes, size, style));
  if (engine.kind !== "webgpu") return once();
  try {
    return await once();
  } catch {
    await begin();
    return once();
  }
}

/** A picture of the camera, painted; `bitmap` is as large as it is to be painted. */
async function frame({ bitmap, style, strength, keep }) {
  const size = [bitmap.height, bitmap.width];
  const bytes = pixelsOf(bitmap);
  const work = toPlanes(rowsOfBytes(bytes, size[1]), size, size);
  const planes = await run(work, size, style);
  const made = finish({ photo: bytes, goal: size, painted: planes, work, seen: size, strength, keep });
  const shown = await createImageBitmap(new ImageData(made, size[1], size[0]));
  return { shown, transfer: [shown] };
}

/** The finished picture as a file. */
async function save({ type, quality }) {
  const [height, width] = photo.size;
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { colorSpace: "srgb", alpha: type === "image/png" });
  context.putImageData(new ImageData(result, width, height), 0, 0);
  return { blob: await canvas.convertToBlob({ type, quality }) };
}

/** Refuse what does not fit, with what would. */
function checkRoom(seen, strokes, style) {
  const most = engine.mostPixels(style);
  const pixels = seen[0] * seen[1];
  if (pixels <= most) return;
  const long = Math.floor((Math.max(...photo.size) * Math.sqrt(most / pixels)) / 64) * 64;
  const larger = Math.ceil(strokes * Math.sqrt(pixels / most) * 10) / 10;
  throw new TooLarge(
    `${photo.size[1]} × ${photo.size[0]} pixels do not fit into this tab’s memory: a picture size of ${long}, or strokes of ${larger}×, would do.`,
    long,
  );
}

/** A picture file's pixels, upright and in sRGB; what is transparent shows white. */
async function decode(blob) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob, { imageOrientation: "from-image", colorSpaceConversion: "default" });
  } catch {
    throw new Error("This file is not a picture that your browser can read: try a JPEG, PNG or WebP.");
  }
  const size = [bitmap.height, bitmap.width];
  return { bytes: pixelsOf(bitmap), size };
}

function pixelsOf(bitmap) {
  const { width, height } = bitmap;
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { colorSpace: "srgb", willReadFrequently: true });
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return context.getImageData(0, 0, width, height).data;
}

/** A bitmap that is small enough to be shown. */
function show(bytes, [height, width]) {
  const [newHeight, newWidth] = fitLongSide([height, width], SHOWN);
  const smaller = newWidth < width ? { resizeWidth: newWidth, resizeHeight: newHeight, resizeQuality: "high" } : {};
  return createImageBitmap(new ImageData(bytes, width, height), smaller);
}
