#!/usr/bin/env bash
# What OpenCV's `remap` takes for the same places in maps of other shapes. opencv-python-headless 5.0.0.93 and 4.12.0.88,
# wheels for Linux.
#
# Where only some pixels of a picture are wanted, their places are a list, and a list makes a map of one column, (n, 1, 2).
# In OpenCV 5.0.0 that takes some thirty times as long as the same list in rows of 64, with the same bits: maps of less than
# eight columns are slow, those of eight or more are not. In 4.12.0 a column costs a fifth more, no more. One row of them
# all is quick in both, but neither takes a map of more than 32,766 columns (SHRT_MAX), which a frame soon needs.
# What we do: lists of places are handed over in rows of 64, padded (video/flow.py, `warp_at`).
#
# Prints milliseconds for maps of each width. Fails where 5.0.0's column is not five times as slow, 4.12.0's more than
# twice, the bits differ, or a longer row is taken.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for version in ${1:-5.0.0.93 4.12.0.88}; do
    "${PYTHON:-python3}" -m venv "$folder/$version"
    "$folder/$version/bin/python" -m pip install --quiet --disable-pip-version-check \
        "opencv-python-headless==$version" numpy >&2
    "$folder/$version/bin/python" - <<'PYTHON'
import time

import cv2
import numpy as np

cv2.setNumThreads(1)
draw = np.random.default_rng(0)
picture = draw.integers(0, 256, (360, 640, 3), dtype=np.uint8)
count = 16384
# Neighbouring places, as those of a flow are.
places = np.stack([np.arange(count) % 620 + 5.3, np.arange(count) // 620 + 5.7], 1).astype(np.float32)
WIDTHS = (1, 2, 4, 8, 16, 32, 64, 256, count)


def moved(shape):
    there = places.reshape(shape)
    best = min(timed(there) for _ in range(30))
    return best, cv2.remap(picture, there, None, cv2.INTER_CUBIC).reshape(-1, 3)


def timed(there):
    began = time.perf_counter()
    cv2.remap(picture, there, None, cv2.INTER_CUBIC)
    return 1000 * (time.perf_counter() - began)


print("OpenCV", cv2.__version__)
found = {width: moved((count // width, width, 2)) for width in WIDTHS}
for width, (best, _) in found.items():
    print(f"{width:6} places in a row: {best:6.2f} ms for {count}")
assert all(np.array_equal(pixels, found[64][1]) for _, pixels in found.values()), "other bits"
ratio = found[1][0] / found[64][0]
print(f"one column takes {ratio:.1f} times as long as rows of 64")
assert ratio > 5 if cv2.__version__.startswith("5.") else ratio < 2, "a column takes another time"
for size in (32766, 32767, 32768):
    try:
        cv2.remap(picture, np.zeros((1, size, 2), np.float32), None, cv2.INTER_CUBIC)
        print(size, "places in a row: taken")
        assert size < 32767, "long rows are taken"
    except cv2.error as error:
        print(size, "places in a row: refused,", "SHRT_MAX" in str(error))
        assert size >= 32767, "rows are refused"
PYTHON
done
