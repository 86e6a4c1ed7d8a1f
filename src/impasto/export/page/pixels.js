// Arithmetic on pictures, as Python does it: sizes, bicubic resizing, the photo's own colours. Nothing here knows of a page.
//
// A picture is RGBA bytes, row by row; what a network sees is planes, Float32Array (3, h, w) in [0, 1].

/** Python's round(): halves go to the even neighbour. */
export function roundHalfEven(x) {
  const low = Math.floor(x);
  const rest = x - low;
  if (rest !== 0.5) return Math.round(x);
  return low % 2 === 0 ? low : low + 1;
}

/** [height, width] scaled so that the longer side is `long`; a smaller picture stays as it is. */
export function fitLongSide([height, width], long) {
  const longest = Math.max(height, width);
  if (longest <= long) return [height, width];
  return [height, width].map((side) => Math.max(1, roundHalfEven((side * long) / longest)));
}

/** [height, width] at which a network sees a photo, so that its strokes, enlarged, become that much larger. */
export function seenSize([height, width], strokes) {
  return [height, width].map((side) => Math.max(1, roundHalfEven(side / strokes)));
}

/** Keys 1981 with a = -1/2: Pillow's cubic, and torch's where it is antialiased. */
function cubic(x) {
  const a = -0.5;
  x = Math.abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

/** What each of `wanted` pixels is made of: `count` weights from the pixel `begin` of a side of `length`. */
function weightsOf(length, wanted) {
  const scale = length / wanted;
  const widened = Math.max(scale, 1);
  const most = Math.ceil(2 * widened) * 2 + 1;
  const begin = new Int32Array(wanted);
  const count = new Int32Array(wanted);
  const weights = new Float32Array(wanted * most);
  for (let i = 0; i < wanted; i++) {
    const centre = (i + 0.5) * scale;
    const first = Math.max(Math.trunc(centre - 2 * widened + 0.5), 0);
    const last = Math.min(Math.trunc(centre + 2 * widened + 0.5), length);
    let total = 0;
    for (let k = first; k < last; k++) total += cubic((k + 0.5 - centre) / widened);
    for (let k = first; k < last; k++) weights[i * most + k - first] = cubic((k + 0.5 - centre) / widened) / total;
    begin[i] = first;
    count[i] = last - first;
  }
  return { begin, count, weights, most };
}

/**
 * Rows of a picture at another size, to be asked for from the top: (y, out) => void, where `out` holds three rows.
 *
 * `read` gives rows of the picture in the same way. Columns come first, and only as many rows are kept as one needs.
 * Not clamped: bicubic overshoots.
 */
export function resizedRows(read, [height, width], [newHeight, newWidth]) {
  if (height === newHeight && width === newWidth) return read;
  const across = width === newWidth ? null : weightsOf(width, newWidth);
  const down = weightsOf(height, newHeight);
  const line = new Float32Array(3 * width);
  const ring = Array.from({ length: Math.min(down.most, height) }, () => new Float32Array(3 * newWidth));
  let made = 0;
  const make = (y) => {
    const out = ring[y % ring.length];
    if (across === null) return read(y, out);
    read(y, line);
    const { begin, count, weights, most } = across;
    for (let c = 0; c < 3; c++) {
      for (let x = 0; x < newWidth; x++) {
        const from = c * width + begin[x];
        const at = x * most;
        let sum = 0;
        for (let k = 0, n = count[x]; k < n; k++) sum += weights[at + k] * line[from + k];
        out[c * newWidth + x] = sum;
      }
    }
  };
  return (y, out) => {
    const first = down.begin[y];
    const last = first + down.count[y];
    for (made = Math.max(made, first); made < last; made++) make(made);
    out.fill(0);
    for (let k = first; k < last; k++) {
      const weight = down.weights[y * down.most + k - first];
      const row = ring[k % ring.length];
      for (let i = 0; i < out.length; i++) out[i] += weight * row[i];
    }
  };
}

/** Rows of bytes, in [0, 1]. */
export function rowsOfBytes(bytes, width) {
  return (y, out) => {
    let at = 4 * y * width;
    for (let x = 0; x < width; x++, at += 4) {
      out[x] = bytes[at] / 255;
      out[width + x] = bytes[at + 1] / 255;
      out[2 * width + x] = bytes[at + 2] / 255;
    }
  };
}

/** Rows of planes. */
export function rowsOfPlanes(planes, [height, width]) {
  return (y, out) => {
    for (let c = 0; c < 3; c++) {
      const from = (c * height + y) * width;
      out.set(planes.subarray(from, from + width), c * width);
    }
  };
}

/** Planes of a picture at another size, with room for `more` planes behind them. */
export function toPlanes(rows, size, newSize, more = 0) {
  const [height, width] = newSize;
  const planes = new Float32Array((3 + more) * height * width);
  const next = resizedRows(rows, size, newSize);
  const line = new Float32Array(3 * width);
  for (let y = 0; y < height; y++) {
    next(y, line);
    if (next !== rows) clamp(line);
    for (let c = 0; c < 3; c++) planes.set(line.subarray(c * width, (c + 1) * width), (c * height + y) * width);
  }
  return planes;
}

/**
 * Faint blots where a picture is flat, added to its planes: the painter's ground of imaging/noise.py, whose numbers come
 * with `blots`, (field, field, 3).
 */
export function layGround(planes, [height, width], { strength, deviation, grain, cell, around, flat, field, blots }) {
  const rows = Math.ceil(height / cell);
  const columns = Math.ceil(width / cell);
  const map = flatness(planes, [height, width], [rows, columns], cell, around, flat);
  const [high, wide] = [height, width].map((side) => Math.ceil(side / grain) + 4);
  const [flatDown, flatAcross] = [weightsOf(rows, height), weightsOf(columns, width)];
  const [blotsDown, blotsAcross] = [weightsOf(high, high * grain), weightsOf(wide, wide * grain)];
  const cells = new Float32Array(columns);
  const line = new Float32Array(3 * wide);
  for (let y = 0; y < height; y++) {
    cells.fill(0);
    each(flatDown, y, (row, weight) => {
      for (let x = 0; x < columns; x++) cells[x] += weight * map[row * columns + x];
    });
    if (cells.every((share) => share === 0)) continue;
    line.fill(0);
    each(blotsDown, y + 2 * grain, (row, weight) => {
      const from = (row % field) * field;
      for (let x = 0; x < wide; x++) {
        for (let c = 0; c < 3; c++) line[c * wide + x] += weight * blots[3 * (from + (x % field)) + c];
      }
    });
    for (let x = 0; x < width; x++) {
      const share = Math.min(1, Math.max(0, dot(flatAcross, x, cells, 0))) * strength * deviation;
      if (share === 0) continue;
      for (let c = 0; c < 3; c++) {
        const at = (c * height + y) * width + x;
        planes[at] = Math.min(1, Math.max(0, planes[at] + share * dot(blotsAcross, x + 2 * grain, line, c * wide)));
      }
    }
  }
}

/** How flat each cell is with those around it, from 0 to 1. */
function flatness(planes, [height, width], [rows, columns], cell, around, [still, lively]) {
  let map = new Float64Array(rows * columns);
  const pixels = height * width;
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const [bottom, right] = [Math.min(height, (row + 1) * cell), Math.min(width, (column + 1) * cell)];
      let [sum, squares, count] = [0, 0, 0];
      for (let y = row * cell; y < bottom; y++) {
        for (let x = column * cell; x < right; x++, count++) {
          const at = y * width + x;
          const light = 0.299 * planes[at] + 0.587 * planes[pixels + at] + 0.114 * planes[2 * pixels + at];
          sum += light;
          squares += light * light;
        }
      }
      const deviation = Math.sqrt(Math.max(0, squares / count - (sum / count) ** 2));
      map[row * columns + column] = Math.min(1, Math.max(0, (deviation - still) / (lively - still)));
    }
  }
  const largest = (values) => Math.max(...values);
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  for (const combine of [largest, mean]) {
    map = filtered(map, [rows, columns], around, combine, [1, 0]);
    map = filtered(map, [rows, columns], around, combine, [0, 1]);
  }
  return map.map((share) => 1 - share);
}

/** What `combine` makes of each value and those up to `around` away along one side; at the borders the last goes on. */
function filtered(map, [rows, columns], around, combine, [down, across]) {
  const found = new Float64Array(map.length);
  const values = new Array(2 * around + 1);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      for (let k = -around; k <= around; k++) {
        const y = Math.min(rows - 1, Math.max(0, row + k * down));
        const x = Math.min(columns - 1, Math.max(0, column + k * across));
        values[k + around] = map[y * columns + x];
      }
      found[row * columns + column] = combine(values);
    }
  }
  return found;
}

/** Call `use` with each pixel that the wanted pixel `i` is made of, and its weight. */
function each({ begin, count, weights, most }, i, use) {
  for (let k = 0; k < count[i]; k++) use(begin[i] + k, weights[i * most + k]);
}

/** The wanted pixel `i` of the line that begins at `from`. */
function dot({ begin, count, weights, most }, i, line, from) {
  let sum = 0;
  for (let k = 0, at = from + begin[i], n = count[i]; k < n; k++) sum += weights[i * most + k] * line[at + k];
  return sum;
}

/** A picture at another size, both as bytes. */
export function resizeBytes(bytes, size, newSize) {
  const [height, width] = newSize;
  const out = new Uint8ClampedArray(4 * height * width).fill(255);
  const next = resizedRows(rowsOfBytes(bytes, size[1]), size, newSize);
  const line = new Float32Array(3 * width);
  for (let y = 0; y < height; y++) {
    next(y, line);
    store(line, out, y, width);
  }
  return out;
}

function clamp(line) {
  for (let i = 0; i < line.length; i++) line[i] = Math.min(1, Math.max(0, line[i]));
}

function store(line, bytes, y, width) {
  let at = 4 * y * width;
  for (let x = 0; x < width; x++, at += 4) {
    bytes[at] = line[x] * 255; // Uint8ClampedArray rounds halves to even, as numpy does
    bytes[at + 1] = line[width + x] * 255;
    bytes[at + 2] = line[2 * width + x] * 255;
  }
}

/** Painted's luminance with photo's chroma, paled where it leaves the cube; see `transfer_luminance` in core/colour.py. */
function keepColours(painted, photo, width) {
  for (let x = 0; x < width; x++) {
    const light = Math.min(1, Math.max(0, luma(painted, x, width)));
    const grey = luma(photo, x, width);
    let scale = 1;
    for (let at = x; at < 3 * width; at += width) {
      const chroma = photo[at] - grey;
      if (chroma > 0) scale = Math.min(scale, (1 - light) / chroma);
      else if (chroma < 0) scale = Math.min(scale, -light / chroma);
    }
    for (let at = x; at < 3 * width; at += width) painted[at] = light + scale * (photo[at] - grey);
  }
}

function luma(line, x, width) {
  return 0.299 * line[x] + 0.587 * line[width + x] + 0.114 * line[2 * width + x];
}

/**
 * The finished picture, RGBA bytes of size `goal`: what a network painted is enlarged, weakened and given the photo's
 * colours, row by row.
 *
 * `photo` is RGBA bytes of size `goal`, `painted` and `work` are what the network gave and saw, planes of size `seen`.
 * Where strokes are enlarged, what shrinking took from the photo comes back as the strength goes.
 */
export function finish({ photo, goal, painted, work, seen, strength, keep }) {
  const [height, width] = goal;
  const out = new Uint8ClampedArray(photo.length);
  const resized = seen[0] !== height || seen[1] !== width;
  const photoRows = rowsOfBytes(photo, width);
  const paintedRows = resizedRows(rowsOfPlanes(painted, seen), seen, goal);
  const workRows = resized && strength < 1 ? resizedRows(rowsOfPlanes(work, seen), seen, goal) : null;
  const line = new Float32Array(3 * width);
  const original = new Float32Array(3 * width);
  const seenLine = new Float32Array(3 * width);
  for (let y = 0; y < height; y++) {
    paintedRows(y, line);
    photoRows(y, original);
    if (workRows !== null) {
      workRows(y, seenLine);
      for (let i = 0; i < line.length; i++) line[i] = seenLine[i] + strength * (line[i] - seenLine[i]);
      clamp(line);
      clamp(seenLine);
      for (let i = 0; i < line.length; i++) line[i] += (1 - strength) * (original[i] - seenLine[i]);
    } else if (strength < 1) {
      for (let i = 0; i < line.length; i++) line[i] = original[i] + strength * (line[i] - original[i]);
    } else if (resized) {
      clamp(line);
    }
    if (keep) keepColours(line, original, width);
    store(line, out, y, width);
  }
  for (let at = 3; at < out.length; at += 4) out[at] = photo[at];
  return out;
}
