// The runtime and the networks, in the worker: WebGPU where it is asked for and works, else WebAssembly.

const RUNTIMES = {
  wasm: { script: "ort.wasm.min.mjs", glue: "ort-wasm-simd-threaded.mjs", binary: "ort-wasm-simd-threaded.wasm.gz" },
  webgpu: {
    script: "ort.jspi.min.mjs",
    glue: "ort-wasm-simd-threaded.jspi.mjs",
    binary: "ort-wasm-simd-threaded.jspi.wasm.gz",
  },
};
const LARGE = 4e6; // px from which on a session is let go of after it painted, and nothing else is kept

/** Bytes of WebAssembly's memory that painting takes: so many, and so many for each pixel that a network sees (measured). */
const WASM_BYTES = { base: 60e6, gallery: 105, universal: 130, "gallery-wasm": 175, "universal-wasm": 175 };
const WASM_LIMIT = 4e9;
const MEMORY_SHARE = 0.45e9; // of each gigabyte that the device says to have (8 at most)

/** What does not fit into the tab's memory; `long` is the longer side that would. */
export class TooLarge extends Error {
  constructor(message, long) {
    super(message);
    this.long = long;
  }
}

export class Engine {
  #ort = null;
  #sessions = new Map();
  #folder;
  #report;
  #rate = null; // seconds for a pixel, as last seen

  /** `report` is called with {done, total} while something is fetched. */
  constructor(folder, report) {
    this.#folder = folder;
    this.#report = report;
    this.kind = null;
    this.threads = 1;
  }

  /** Load the runtime and the gallery; `kind` is wasm or webgpu. */
  async start(kind) {
    const { script, glue, binary } = RUNTIMES[kind];
    const at = (name) => new URL(`runtime/${name}`, this.#folder).href;
    const [ort, wasmBinary] = await Promise.all([
      import(at(script)),
      fetchBytes(at(binary), this.#report).then(unpacked),
    ]);
    this.threads = self.crossOriginIsolated ? Math.max(1, Math.min(8, navigator.hardwareConcurrency || 1)) : 1;
    Object.assign(ort.env.wasm, { wasmPaths: { mjs: at(glue) }, wasmBinary, numThreads: this.threads });
    ort.env.logLevel = "error";
    this.#ort = ort;
    this.kind = kind;
    await this.#session(this.#graphFor("gallery", 0));
  }

  /** The graph of a network for so many pixels: WebAssembly has one that is quicker and takes more memory. */
  #graphFor(network, pixels) {
    const quick = `${network}-wasm`;
    const fits = WASM_BYTES.base + WASM_BYTES[quick] * pixels <= memoryLimit();
    return this.kind === "wasm" && pixels <= LARGE && fits ? quick : network;
  }

  async #session(name) {
    if (!this.#sessions.has(name)) {
      const bytes = await fetchBytes(new URL(`networks/${name}.onnx`, this.#folder).href, this.#report);
      const made = await this.#ort.InferenceSession.create(new Uint8Array(bytes), {
        executionProviders: [this.kind],
        graphOptimizationLevel: "all",
        enableCpuMemArena: false,
        enableMemPattern: false,
      });
      this.#sessions.set(name, made);
    }
    return this.#sessions.get(name);
  }

  async #release(name) {
    const session = this.#sessions.get(name);
    this.#sessions.delete(name);
    await session?.release();
  }

  /** The largest number of pixels that may be seen here by the network that a style is for. */
  mostPixels(style) {
    return Math.floor((memoryLimit() - WASM_BYTES.base) / WASM_BYTES[networkOf(style)]);
  }

  /** How long painting so many pixels will take, in seconds; null where nothing was painted yet. */
  seconds([height, width]) {
    return this.#rate === null ? null : this.#rate * height * width;
  }

  /** Paint a little, and fail where the runtime gives what no picture is. */
  async prove() {
    const gray = new Float32Array(3 * 64 * 64).map((_, i) => 0.25 + (i % 64) / 128);
    const mix = new Array(26).fill(1 / 26);
    const painted = await this.paint(gray, [64, 64], { mix });
    if (!painted.every((value) => value > -0.01 && value < 1.01)) throw new Error("WebGPU painted no picture");
    this.#rate = null;
  }

  /** What a style picture, planes (4, h, w), tells the network of any style: Float32Array (P). */
  async look(planes, [height, width]) {
    const style = new this.#ort.Tensor("float32", planes, [1, 4, height, width]);
    const session = await this.#session("universal-style");
    const { parameters } = await session.run({ style });
    const found = Float32Array.from(await parameters.getData());
    parameters.dispose();
    style.dispose();
    await this.#release("universal-style");
    return found;
  }

  /** Planes (3, h, w) painted; `style` has `mix` (26) or `parameters` (P). */
  async paint(planes, [height, width], style) {
    const { Tensor } = this.#ort;
    const large = height * width > LARGE;
    const name = this.#graphFor(networkOf(style), height * width);
    if (large) for (const other of [...this.#sessions.keys()]) if (other !== name) await this.#release(other);
    const feeds = {
      image: new Tensor("float32", planes, [1, 3, height, width]),
      strength: new Tensor("float32", [1], []),
    };
    if (style.mix) feeds.mix = new Tensor("float32", Float32Array.from(style.mix), [1, style.mix.length]);
    else feeds.parameters = new Tensor("float32", style.parameters, [1, style.parameters.length]);
    const session = await this.#session(name);
    const began = performance.now();
    const { painting } = await session.run(feeds);
    const found = await painting.getData();
    this.#rate = (performance.now() - began) / 1000 / (height * width);
    painting.dispose();
    for (const tensor of Object.values(feeds)) tensor.dispose();
    if (large) await this.#release(name);
    return found;
  }
}

/** Bytes of WebAssembly's memory that may be taken here. */
function memoryLimit() {
  return Math.min(WASM_LIMIT, (navigator.deviceMemory ?? 8) * MEMORY_SHARE);
}

function networkOf({ mix }) {
  return mix ? "gallery" : "universal";
}

/** Whether this browser has a graphics card that WebGPU may use, and what the runtime for it needs. */
export async function hasWebGpu() {
  if (!navigator.gpu || !("Suspending" in WebAssembly)) return false;
  const adapter = await navigator.gpu.requestAdapter().catch(() => null);
  return adapter !== null && !adapter.info?.isFallbackAdapter;
}

/** The bytes of a file of our own folder. */
export async function fetchBytes(address, report) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${new URL(address).pathname} cannot be fetched (${answer.status})`);
  const total = Number(answer.headers.get("content-length")) || 0;
  const parts = [];
  let done = 0;
  for (const reader = answer.body.getReader(); ; ) {
    const { value, done: ended } = await reader.read();
    if (ended) break;
    parts.push(value);
    report?.({ address, done: (done += value.length), total });
  }
  return new Blob(parts).arrayBuffer();
}

/** A gzipped file's content; as it is where the server or the browser unpacked it already. */
async function unpacked(bytes) {
  const head = new Uint8Array(bytes, 0, 2);
  if (head[0] !== 0x1f || head[1] !== 0x8b) return bytes;
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}
