#!/usr/bin/env bash
# torch's sigmoid, and silu, of one and the same float32 value have another last bit at the end of a tensor than within it:
# the last values, which do not fill two vectors of the processor (of 8 with AVX2, of 16 with AVX-512), go another way. The
# ends of threads' shares are such ends too. exp, tanh and gelu are the same everywhere. So an element-wise operation on a
# part of a picture need not give that part of the whole, nor a network on bands of rows the same to the bit.
# torch 2.13.0 (CPU), one thread. Where the processor has no vectors there is nothing to be seen.
# What we do: rows are padded to multiples of 16 before they get their colours, also where the photo is at hand unpadded
# (networks/staged.py), and parts begin at multiples of 128 rows.
#
# Prints how many values differ between the first k of a tensor and that tensor's first k, for k up to 256. Fails if
# sigmoid is the same everywhere by now, or tanh no longer.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy
"$folder/venv/bin/python" - <<'PYTHON'
import torch
import torch.nn.functional as F

capability = torch.backends.cpu.get_cpu_capability()
print("torch", torch.__version__, capability)
torch.set_num_threads(1)
x = torch.rand(4096, generator=torch.Generator().manual_seed(0)) * 6 - 3
found = {}
for operation in (torch.sigmoid, F.silu, torch.exp, torch.tanh, F.gelu):
    whole = operation(x)
    differ = [k for k in range(1, 257) for i in (operation(x[:k]) != whole[:k]).nonzero().flatten().tolist()]
    found[operation.__name__] = len(differ)
    multiples = sum(k % 32 == 0 for k in differ)
    print(f"{operation.__name__}: {len(differ)} of 32896 values differ, {multiples} of them where k is a multiple of 32")
if capability in ("AVX2", "AVX512") and (found["sigmoid"] == 0 or found["tanh"] > 0):
    raise SystemExit("this has changed")
PYTHON
