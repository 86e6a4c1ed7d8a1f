#!/usr/bin/env bash
# torch's group_norm on a processor loses the variance of a map that is nearly flat if it lies in channels-last, and does
# not if the same map is contiguous: there it takes E[x^2] - mu^2 in float32. With a channel a group (instance
# normalisation, here without eps) and mean .9, a map of 64x64 with deviation .01 comes out .08 deviations wrong, and with
# .001 as no number, its variance being 0; contiguous, both are right to 1e-4. torch 2.13.0 (CPU), float32, one thread.
# No warning.
# What we do: networks/fast_cpu.py takes its statistics for their speed, and again in float64 wherever the mean's square is
# more than 30 times the variance.
#
# Prints the largest error of the normalised map, in deviations, against float64. Fails if channels-last is right by now,
# or contiguous wrong.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy
"$folder/venv/bin/python" - <<'PYTHON'
import torch
import torch.nn.functional as F

print("torch", torch.__version__)
torch.manual_seed(0)
torch.set_num_threads(1)
found = {}
for spread in (0.1, 0.01, 0.001):
    x = 0.9 + spread * torch.randn(1, 48, 64, 64)
    exact = F.group_norm(x.double(), 48, eps=0.0)
    for name, layout in (("contiguous", torch.contiguous_format), ("channels-last", torch.channels_last)):
        out = F.group_norm(x.contiguous(memory_format=layout), 48, eps=0.0)
        found[name, spread] = (out.double() - exact).abs().max().item()
        print(f"mean 0.9, deviation {spread}: {name} is {found[name, spread]:.2g} deviations off")
if found["channels-last", 0.01] < 0.01 or max(found["contiguous", spread] for spread in (0.1, 0.01, 0.001)) > 0.001:
    raise SystemExit("this has changed")
PYTHON
