#!/usr/bin/env bash
# Whoever writes a film in AV1 as root is a real-time process from then on. PyAV 18.1.0 and 16.0.1 (SVT-AV1 in their
# wheels for Linux).
#
# Where it may, which root and most containers may, SVT-AV1 gives its threads the policy SCHED_FIFO with priority 99, and
# the thread that opens the encoder too. That one stays so when the film is closed, and all that it starts later inherits
# it: a browser or a server then takes every core for itself, and what should end it by a clock does not get a turn. One
# line of log on some systems is all that is said.
# What we do: video/threads.py gives the threads of the process back what the opening one had, at the first frame.
#
# Prints policy and priority of the thread before and after, of a program started from it, and how many of the encoder's
# threads are real-time ones. Ends with 0, and says so, where the system grants nobody such a policy. Fails where the
# encoder leaves the thread as it was.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for version in ${1:-18.1.0 16.0.1}; do
    "${PYTHON:-python3}" -m venv "$folder/$version"
    "$folder/$version/bin/python" -m pip install --quiet --disable-pip-version-check "av==$version" "numpy<3" >&2
    "$folder/$version/bin/python" - 2>/dev/null <<'PYTHON'
import io
import os
import subprocess
import sys

import av
import numpy as np

NAMES = {os.SCHED_OTHER: "SCHED_OTHER", os.SCHED_FIFO: "SCHED_FIFO", os.SCHED_RR: "SCHED_RR"}


def told(thread=0):
    return f"{NAMES[os.sched_getscheduler(thread)]} {os.sched_getparam(thread).sched_priority}"


def threads():
    return {int(name) for name in os.listdir("/proc/self/task")}


print("PyAV", av.__version__)
pid = os.fork()  # whether the system lets us be real-time at all, tried in a process of its own
if not pid:
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except OSError:
        os._exit(1)
    os._exit(0)
if os.waitpid(pid, 0)[1]:
    print("this system does not let us be real-time processes: nothing to be seen, run it as root")
    sys.exit()
before, here = told(), threads()
with av.open(io.BytesIO(), "w", format="matroska") as film:
    stream = film.add_stream("libsvtav1", rate=25)
    stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
    for number in range(3):
        frame = av.VideoFrame.from_ndarray(np.full((96, 128, 3), 40 * number, np.uint8), format="rgb24")
        frame.pts = number
        film.mux(stream.encode(frame))
    new = threads() - here
    theirs = sum(os.sched_getscheduler(thread) == os.SCHED_FIFO for thread in new)
    film.mux(stream.encode(None))
code = "import os; print(os.sched_getscheduler(0), os.sched_getparam(0).sched_priority)"
child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
after = told()
print(f"before: {before}; after the film: {after}; real-time threads of the encoder: {theirs} of {len(new)}")
print(f"a program started afterwards: {NAMES[int(child[0])]} {child[1]}")
os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
if after != "SCHED_FIFO 99" or int(child[0]) != os.SCHED_FIFO:
    raise SystemExit("this has changed: see video/threads.py")
PYTHON
done
