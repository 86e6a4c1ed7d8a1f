#!/usr/bin/env bash
# In WebAssembly onnxruntime-web makes a 3x3 convolution by lowering it to one product of matrices, whatever its size; it
# knows no Winograd algorithm. So the same convolution written out in the graph as Winograd's F(4, 3) along the columns, some
# forty operators of which most are plain additions of whole maps, takes well under two thirds of the time of the single
# Conv node. One would expect a runtime's own convolution to beat what is composed of its other operators. The two agree to
# some 1e-5. onnxruntime-web 1.30.0 in node, one thread; onnxruntime's native build for x86-64 has convolutions for wide
# vectors, beside which little is gained.
# What we do: `impasto export onnx --winograd`, and graphs of their own for the page in the browser (export/winograd.py).
#
# Needs python3 with venv, node and npm. Prints seconds of both graphs and how far they differ. Fails if the single Conv is
# no longer the slower one.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q onnx==1.22.0 numpy
npm install --silent --no-fund --no-audit onnxruntime-web@1.30.0 >/dev/null
venv/bin/python - <<'PYTHON'
import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

C, H, W = 64, 128, 128
rng = np.random.default_rng(0)
weight = (rng.standard_normal((C, C, 3, 3)) / 24).astype(np.float32)
rng.standard_normal((1, C, H + 2, W + 2)).astype(np.float32).tofile("x.bin")
nodes, constants = [], {}


def op(kind, *inputs, **attributes):
    names = []
    for value in inputs:
        if not isinstance(value, str):
            name = f"c{len(constants)}"
            constants[name] = numpy_helper.from_array(np.asarray(value), name)
            value = name
        names.append(value)
    out = f"v{len(nodes)}"
    nodes.append(helper.make_node(kind, names, [out], **attributes))
    return out


def write(file, result):
    kind = TensorProto.FLOAT
    graph = helper.make_graph(
        [*nodes, helper.make_node("Identity", [result], ["y"])],
        file,
        [helper.make_tensor_value_info("x", kind, (1, C, H + 2, W + 2))],
        [helper.make_tensor_value_info("y", kind, (1, C, H, W))],
        list(constants.values()),
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), f"{file}.onnx")
    nodes.clear()
    constants.clear()


write("conv", op("Conv", "x", weight, kernel_shape=[3, 3]))

# d: first ... sixth of the rows that each four of the result are made of; t: what is convolved; m: convolved
d = [op("Gather", "x", np.arange(k, H + k, 4, dtype=np.int64), axis=2) for k in range(6)]
number = [np.float32(n) for n in range(9)]
add, sub = (lambda a, b: op("Add", a, b)), (lambda a, b: op("Sub", a, b))
times = lambda a, n: op("Mul", a, number[n])
even, odd, outer, inner = sub(d[4], times(d[2], 4)), sub(d[3], times(d[1], 4)), sub(d[4], d[2]), sub(d[3], d[1])
twice = times(inner, 2)
t = [
    add(times(sub(d[0], d[2]), 4), outer), add(even, odd), sub(even, odd),
    add(outer, twice), sub(outer, twice), sub(sub(d[5], d[3]), times(inner, 4)),
]
points = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]], np.float32) / 24
kernels = np.einsum("kr,oirs->kois", points, weight)[:, :, :, None].astype(np.float32)
m = [op("Conv", row, kernel, kernel_shape=[1, 3]) for row, kernel in zip(t, kernels)]
near, far, slope, steep = add(m[1], m[2]), add(m[3], m[4]), sub(m[1], m[2]), sub(m[3], m[4])
rows = [
    add(add(m[0], near), far), add(slope, times(steep, 2)), add(near, times(far, 4)),
    add(add(slope, times(steep, 8)), m[5]),
]
write("winograd", op("Reshape", op("Concat", *rows, axis=3), np.array([1, C, H, W], np.int64)))
PYTHON
cat >run.mjs <<'JS'
import { readFileSync } from "node:fs";
import * as ort from "onnxruntime-web/wasm";
ort.env.wasm.numThreads = 1;
const numbers = new Float32Array(new Uint8Array(readFileSync("x.bin")).buffer);
const seconds = {}, results = {}, sessions = {};
for (const name of ["conv", "winograd"]) {
  sessions[name] = await ort.InferenceSession.create(new Uint8Array(readFileSync(`${name}.onnx`)));
}
for (let turn = 0; turn < 21; turn++) {
  for (const [name, session] of Object.entries(sessions)) {
    const x = new ort.Tensor("float32", numbers, [1, 64, 130, 130]);
    const began = performance.now();
    results[name] = (await session.run({ x })).y.data;
    if (turn) (seconds[name] ??= []).push((performance.now() - began) / 1000);
  }
}
const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];
const [plain, written] = [median(seconds.conv), median(seconds.winograd)];
const apart = results.conv.reduce((most, value, i) => Math.max(most, Math.abs(value - results.winograd[i])), 0);
console.log(`onnxruntime-web ${ort.env.versions.web}, WebAssembly, one thread, 64 to 64 channels at 128x128`);
console.log(`Conv ${plain.toFixed(4)} s, written out ${written.toFixed(4)} s: ${(written / plain).toFixed(2)} of it`);
console.log(`largest difference ${apart.toExponential(1)}`);
if (!(written < 0.9 * plain && apart < 1e-4)) throw new Error("this has changed");
JS
node run.mjs
