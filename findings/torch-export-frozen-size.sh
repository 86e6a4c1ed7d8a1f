#!/usr/bin/env bash
# torch's ONNX exporter, told that height and width are dynamic, writes some networks for the example's size alone, without
# a warning: inputs and outputs are declared dynamic, the file runs at any size, and what comes out is wrong.
# - adaptive_avg_pool2d to 4x4 becomes windows of the size that the example needed: at another size, another shape.
# - `if h % 4 or w % 4: x = pad(x)`, with an example that needs none, is gone: the last rows and columns are lost.
# - interpolate(scale_factor=.5, antialias=True) is right for even sides and .2 of [0, 1] off for odd ones.
# torch 2.13.0 with dynamo=True, onnxscript 0.7.2; run by onnxruntime 1.32.0. Dim.DYNAMIC and Dim.AUTO alike.
# What we do: graphs are written by hand, with padding and cropping that are computed in the graph (export/graph.py), and
# every test compares at odd sizes that are no example's.
#
# Fails where one of them is right, or is refused, at a size other than the example's: then the behaviour has changed.
# Needs a gigabyte for the time being.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 onnx==1.23.2 onnxscript==0.7.2 onnxruntime==1.32.0 numpy
"$folder/venv/bin/python" - <<'PYTHON'
import logging
import warnings

import numpy as np
import onnxruntime
import torch
import torch.nn.functional as F

logging.disable(logging.WARNING)
print("torch", torch.__version__, "onnxruntime", onnxruntime.__version__)


class Pool(torch.nn.Module):
    def forward(self, x):
        return F.adaptive_avg_pool2d(x, (4, 4))


class PadIfNeeded(torch.nn.Module):
    def forward(self, x):
        height, width = x.shape[2:]
        if height % 4 or width % 4:
            x = F.pad(x, (0, -width % 4, 0, -height % 4), mode="reflect")
        return F.avg_pool2d(x, 4)


class Halve(torch.nn.Module):
    def forward(self, x):
        return F.interpolate(x, scale_factor=0.5, mode="bilinear", antialias=True)


torch.manual_seed(0)
dynamic = torch.export.Dim.DYNAMIC
for network in (Pool(), PadIfNeeded(), Halve()):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        program = torch.onnx.export(
            network.eval(), (torch.rand(1, 3, 64, 64),), dynamo=True, verbose=False,
            dynamic_shapes=({2: dynamic, 3: dynamic},),
        )
    about = [str(one.message) for one in told if "shape" in str(one.message) or "specialis" in str(one.message)]
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    (entry,) = session.get_inputs()
    assert not about, f"changed: it warns now: {about}"
    assert not isinstance(entry.shape[2], int), "changed: the file says now that its size is fixed"
    apart = {}
    for size in ((64, 64), (97, 131)):
        photo = torch.rand(1, 3, *size)
        wanted, found = network(photo).numpy(), session.run(None, {entry.name: photo.numpy()})[0]
        same = wanted.shape == found.shape
        apart[size] = float(np.abs(wanted - found).max()) if same else np.inf
        what = f"{apart[size]:.2g} apart" if same else f"shape {found.shape[2:]} instead of {wanted.shape[2:]}"
        print(f"{type(network).__name__}: input {entry.shape}, {size[1]}x{size[0]}: {what}")
    if not apart[64, 64] < 1e-5 < 0.05 < apart[97, 131]:
        raise SystemExit("changed: it is no longer right at the example's size alone")
PYTHON
echo "as described: dynamic by name, and frozen"
