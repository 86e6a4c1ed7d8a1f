#!/usr/bin/env bash
# An optimiser of torch loads torch's compiler, whether anything is compiled or not. torch 2.13.0.
#
# `torch.optim.Adam([x])` imports `torch._dynamo`, with it sympy and some 800 modules: as much again as `import torch`
# itself, between half a second and one. So does the first `step` of Adam, and `state_dict` and `load_state_dict` of each
# optimiser, in case the first was spared. Nothing tells: it looks like a slow first step. For a picture that is painted
# in eight steps it was a sixth of the whole command.
# What we do: core/optimisers.py calls the methods that lie beneath these layers; a test holds that they do the same.
#
# Prints how many modules each call loads, in processes of their own, and how long it takes beside `import torch`. Fails
# where making an Adam no longer loads the compiler.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.13.0 "numpy<3" >&2
"$folder/env/bin/python" - <<'PYTHON'
import subprocess
import sys

BEGIN = """
import sys, time
began = time.perf_counter()
import torch
loading = time.perf_counter() - began
x = torch.nn.Parameter(torch.ones(3))
x.grad = torch.ones(3)
Plain, first = torch.optim.Optimizer.add_param_group, {first!r}
if first:  # the layer about this method is taken off
    torch.optim.Optimizer.add_param_group = Plain.__wrapped__
    made = getattr(torch.optim, first)([x])
before, began = len(sys.modules), time.perf_counter()
{call}
seconds = time.perf_counter() - began
print(torch.__version__, len(sys.modules) - before, "torch._dynamo" in sys.modules, f"{{seconds:.2f}} {{loading:.2f}}")
"""
CALLS = {
    "Adam([x])": ("", "torch.optim.Adam([x])"),
    "LBFGS([x])": ("", "torch.optim.LBFGS([x])"),
    "adam.step()": ("Adam", "made.step()"),
    "lbfgs.step(...)": ("LBFGS", "made.step(lambda: torch.tensor(1.0))"),
    "lbfgs.state_dict()": ("LBFGS", "made.state_dict()"),
}
loads = {}
for name, (first, call) in CALLS.items():
    code = BEGIN.format(first=first, call=call)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    version, modules, compiler, seconds, loading = done.stdout.split()
    loads[name] = compiler == "True"
    told = "with torch._dynamo" if loads[name] else "without it"
    print(f"torch {version}: {name} loads {modules} modules, {told}, in {seconds} s (import torch: {loading} s)")
if loads != {name: name != "lbfgs.step(...)" for name in CALLS}:
    raise SystemExit("this has changed: see core/optimisers.py")
PYTHON
