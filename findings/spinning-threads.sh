#!/usr/bin/env bash
# A torch program becomes many times slower, not twice, beside one other busy program. torch 2.13.0 for Linux, CPU wheel
# (its libgomp is GCC 8's): threads that wait spin for 300,000 looks, some 10 ms, and use up the time slices that the
# thread they wait for needs. With GOMP_SPINCOUNT=2000 they soon sleep, and the loss is about what sharing costs.
# So the programs of impasto set that before they load torch (src/impasto/core/threads.py); the library tells in its docs.
#
# Prints seconds of 20 small convolution networks by default and with the short spin, alone and beside an endless loop
# (median of five processes). Fails where the default is not at least 1.5 times as slow beside the loop as the short
# spin, or where the short spin costs more than a tenth alone: then the behaviour has changed. Needs an otherwise idle
# machine, two to eight cores (taskset takes two), and a gigabyte for the time being.
set -euo pipefail

folder=$(mktemp -d)
neighbour=
trap '[[ -z $neighbour ]] || kill "$neighbour"; rm -rf "$folder"' EXIT
unset "${!OMP_@}" "${!GOMP_@}" "${!KMP_@}"

"${PYTHON:-python3}" -m venv "$folder/venv"
python=$folder/venv/bin/python
"$python" -m pip install --quiet --disable-pip-version-check torch==2.13.0 numpy >&2
"$python" -c 'import torch; print("torch", torch.__version__, "on", torch.get_num_threads(), "threads")'

cat >"$folder/net.py" <<'PY'
import time, torch
x, w = torch.randn(1, 32, 96, 96), torch.randn(32, 32, 3, 3)
def net(y=x):
    with torch.inference_mode():
        for _ in range(20):
            y = torch.relu(torch.conv2d(y, w, padding=1)) * 0.1
for _ in range(5): net()
began = time.perf_counter()
for _ in range(20): net()
print(time.perf_counter() - began)
PY

two=$("$python" -c 'import os; print(*sorted(os.sched_getaffinity(0))[:2], sep=",")')

median() { # NAME=VALUE ...
    for _ in 1 2 3 4 5; do env "$@" taskset -c "$two" "$python" "$folder/net.py"; done | sort -g | sed -n 3p
}

alone=$(median A=)
brief=$(median GOMP_SPINCOUNT=2000)
taskset -c "$two" "$python" -S -c 'while True: pass' &
neighbour=$!
alone_beside=$(median A=)
brief_beside=$(median GOMP_SPINCOUNT=2000)

printf 'seconds:                 default  GOMP_SPINCOUNT=2000\nalone                    %7.3f  %7.3f\n' "$alone" "$brief"
printf 'beside an endless loop   %7.3f  %7.3f\n' "$alone_beside" "$brief_beside"
"$python" - "$alone" "$brief" "$alone_beside" "$brief_beside" <<'PY'
import sys
alone, brief, alone_beside, brief_beside = map(float, sys.argv[1:])
if alone_beside < 1.5 * brief_beside:
    sys.exit("changed: the default is no longer slower beside the loop")
if brief > 1.1 * alone:
    sys.exit("changed: the short spin costs more than a tenth where nothing runs beside it")
print("as described")
PY
