// The live camera: one frame after another is painted, as large as this device manages.

const SIDES = [128, 160, 192, 256, 320, 384, 448, 512, 640]; // px of the long side
const QUICK = 0.11; // s for a frame below which frames become larger
const SLOW = 0.3; // s above which they become smaller

export class Camera {
  #stream = null;
  #side = 4;
  #facing = "user";

  /** `paint` takes { bitmap } and gives a painted bitmap, `show` shows it. */
  constructor({ paint, show, fail }) {
    Object.assign(this, { paint, show, fail });
    this.video = document.createElement("video");
    this.video.muted = true;
    this.video.playsInline = true;
  }

  get on() {
    return this.#stream !== null;
  }

  /** Whether one sees oneself, as in a mirror. */
  get mirrored() {
    return this.#stream?.getVideoTracks()[0].getSettings().facingMode !== "environment";
  }

  static get possible() {
    return Boolean(navigator.mediaDevices?.getUserMedia);
  }

  static async several() {
    const devices = await navigator.mediaDevices.enumerateDevices();
    return devices.filter(({ kind }) => kind === "videoinput").length > 1;
  }

  async start() {
    const video = { facingMode: this.#facing, width: { ideal: 1280 }, height: { ideal: 720 } };
    this.#stream = await navigator.mediaDevices.getUserMedia({ video, audio: false });
    this.video.srcObject = this.#stream;
    await this.video.play();
    this.#run(this.#stream);
  }

  async turn() {
    this.#facing = this.#facing === "user" ? "environment" : "user";
    this.stop();
    await this.start();
  }

  stop() {
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    this.video.srcObject = this.#stream = null;
  }

  async #run(stream) {
    while (this.#stream === stream) {
      const began = performance.now();
      try {
        const bitmap = await this.#grab(SIDES[this.#side]);
        const painted = await this.paint(bitmap);
        if (this.#stream !== stream) return painted.close();
        this.show(painted);
      } catch (error) {
        if (this.#stream === stream) this.fail(error);
        return undefined;
      }
      const seconds = (performance.now() - began) / 1000;
      if (seconds < QUICK && this.#side < SIDES.length - 1) this.#side++;
      else if (seconds > SLOW && this.#side > 0) this.#side--;
      await new Promise((next) => setTimeout(next)); // the page's own work comes first
    }
    return undefined;
  }

  #grab(long) {
    const { videoWidth: width, videoHeight: height } = this.video;
    const scale = Math.min(1, long / Math.max(width, height));
    const size = { resizeWidth: Math.round(width * scale), resizeHeight: Math.round(height * scale) };
    return createImageBitmap(this.video, { ...size, resizeQuality: "medium" });
  }

  /** What the camera sees now, as a file. */
  async snapshot() {
    const bitmap = await createImageBitmap(this.video);
    const canvas = document.createElement("canvas");
    canvas.width = bitmap.width;
    canvas.height = bitmap.height;
    const context = canvas.getContext("2d");
    if (this.mirrored) {
      context.translate(bitmap.width, 0);
      context.scale(-1, 1);
    }
    context.drawImage(bitmap, 0, 0);
    bitmap.close();
    return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  }
}
