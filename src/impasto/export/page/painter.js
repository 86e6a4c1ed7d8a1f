// The page's side of the worker: asks for work, and can stop it.

export class Cancelled extends Error {}

const SCARCE = "The memory of this tab does not suffice: choose a smaller picture size, or larger strokes.";

/** What went wrong in the worker; `long` is the longer side of a picture that would do, where that is what is wrong. */
export class PaintError extends Error {
  constructor({ message, long, memory }) {
    super(memory && !long ? SCARCE : message);
    this.long = long;
  }
}

export class Painter {
  #worker = null;
  #started = null;
  #opened = null; // what to open again in a new worker
  #open = false; // whether the worker has it
  #waiting = new Map();
  #count = 0;
  #until = 0; // when the painting at work will be done, as far as can be told

  /** `options` are those of the worker's `start`; `onProgress` hears of what is fetched and painted. */
  constructor(options, onProgress) {
    this.options = options;
    this.onProgress = onProgress;
  }

  /** Load everything; gives { kind, threads }. */
  start() {
    if (this.#started === null) {
      this.#worker = new Worker(new URL("worker.js", import.meta.url), { type: "module", name: "painter" });
      this.#worker.onmessage = ({ data }) => this.#hear(data);
      this.#worker.onerror = (event) => this.#drop(new Error(event.message || "The painter could not be loaded."));
      const started = this.#ask("start", this.options).catch((error) => {
        if (this.#started === started) this.#started = null;
        throw error;
      });
      this.#started = started;
    }
    return this.#started;
  }

  async open(options) {
    await this.start();
    const opened = await this.#ask("open", options);
    this.#opened = options;
    this.#open = true;
    return opened;
  }

  async look(blob) {
    await this.start();
    return this.#ask("look", { blob });
  }

  async paint(options) {
    await this.#ready();
    try {
      return await this.#ask("paint", options);
    } finally {
      this.#until = 0;
    }
  }

  async frame(options) {
    await this.start();
    return this.#ask("frame", options, [options.bitmap]);
  }

  save(type, quality) {
    return this.#ask("save", { type, quality });
  }

  /** Seconds that the painting at work will take, as far as can be told. */
  get secondsLeft() {
    return Math.max(0, (this.#until - performance.now()) / 1000);
  }

  /** Stop whatever is at work: a network cannot be interrupted, so its worker ends. The next request makes another. */
  cancel() {
    this.#drop(new Cancelled("cancelled"));
  }

  async #ready() {
    await this.start();
    if (this.#open || this.#opened === null) return;
    (await this.open(this.#opened)).shown.close();
  }

  #drop(error) {
    this.#worker?.terminate();
    this.#worker = this.#started = null;
    this.#open = false;
    this.#until = 0;
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { reject } of waiting) reject(error);
  }

  #ask(job, options, transfer = []) {
    const id = ++this.#count;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#worker.postMessage({ id, job, options }, transfer);
    });
  }

  #hear({ id, progress, value, error }) {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return;
    if (progress !== undefined) {
      if (progress.seconds) this.#until = performance.now() + 1000 * progress.seconds;
      this.onProgress(progress);
      return;
    }
    this.#waiting.delete(id);
    if (error === undefined) waiting.resolve(value);
    else waiting.reject(new PaintError(error));
    if (error?.memory && !error.long) this.#drop(new Cancelled("out of memory")); // what WebAssembly took it keeps: begin anew
  }
}
