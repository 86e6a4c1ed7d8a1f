#!/usr/bin/env bash
# What OpenCV's `remap` does to a picture that is carried along from frame to frame. opencv-python-headless 5.0.0.93 and
# 4.12.0.88, wheels for Linux.
#
# INTER_CUBIC is the kernel with a = -0.75, not the usual -0.5 (Pillow's): it overshoots. Once, nobody sees it; a texture
# that is moved by .37 px sixty times, as a film's optical flow does, comes out 2.5 times as sharp, and further from what
# it was than its own contrast: edges have become a relief. INTER_LINEAR has lost two thirds of its sharpness by then.
# INTER_LANCZOS4 stays near (.85 of the sharpness), but takes five to eight times as long; a picture made twice as large
# by a windowed sinc and then sampled by the same INTER_CUBIC keeps its sharpness (1.05) in half of Lanczos' time.
# What we do: paintings are carried from an anchor in one step, sampled from a picture of twice the size (video/flow.py).
#
# Prints sharpness (mean gradient) over that of the true picture, and how far it is from that in deviations of the
# texture, after 60 moves. Fails where the cubic does no harm, or the others do.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for version in ${1:-5.0.0.93 4.12.0.88}; do
    "${PYTHON:-python3}" -m venv "$folder/$version"
    "$folder/$version/bin/python" -m pip install --quiet --disable-pip-version-check \
        "opencv-python-headless==$version" numpy >&2
    "$folder/$version/bin/python" - <<'PYTHON'
import cv2
import numpy as np

SIDE, MOVES, STEP = 256, 60, 0.37
draw = np.random.default_rng(0)


def texture(shift):
    """Waves of 5 to 40 px and more, known everywhere, moved by so many px."""
    down, across = np.mgrid[:SIDE, :SIDE].astype(np.float64)
    chance, total = np.random.default_rng(0), 0
    for _ in range(40):
        length, angle, phase = chance.uniform(5, 40), chance.uniform(0, np.pi), chance.uniform(0, 2 * np.pi)
        total = total + np.sin(2 * np.pi / length * ((across + shift) * np.cos(angle) + down * np.sin(angle)) + phase)
    return (127.5 + 12 * total).clip(0, 255).astype(np.float32)


def place(scale=1):
    down, across = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    return scale * (across + np.float32(STEP)), scale * down


def doubled(picture):
    at = np.arange(-3.5, 4)
    kernel = np.sinc(at) * np.sinc(at / 4)
    kernel, one = (kernel / kernel.sum()).astype(np.float32), np.ones(1, np.float32)
    found = np.empty((2 * SIDE, 2 * SIDE), np.float32)
    across = cv2.sepFilter2D(picture, -1, kernel, one, anchor=(3, 0))
    for column, part in enumerate((picture, across)):
        found[::2, column::2] = part
        found[1::2, column::2] = cv2.sepFilter2D(part, -1, one, kernel, anchor=(0, 3))
    return found


def sharpness(picture):
    return np.abs(np.diff(picture[80:-80, 80:-80], axis=1)).mean()


ways = {
    "INTER_LINEAR": lambda x: cv2.remap(x, *place(), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101),
    "INTER_CUBIC": lambda x: cv2.remap(x, *place(), cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101),
    "INTER_LANCZOS4": lambda x: cv2.remap(x, *place(), cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REFLECT_101),
    "INTER_CUBIC of twice the size": lambda x: cv2.remap(
        doubled(x), *place(2), cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101
    ),
}
print("OpenCV", cv2.__version__)
true = texture(MOVES * STEP)
found = {}
for name, way in ways.items():
    moved = texture(0)
    for _ in range(MOVES):
        moved = way(moved).clip(0, 255)
    apart = np.sqrt(np.square(moved - true)[80:-80, 80:-80].mean()) / true.std()
    found[name] = sharpness(moved) / sharpness(true), apart
    print(f"{name:30} sharpness {found[name][0]:.2f}, apart {apart:.3f}")
cubic, linear = found["INTER_CUBIC"], found["INTER_LINEAR"]
assert cubic[0] > 1.5 and cubic[1] > 0.7, "the cubic does no harm any more"
assert linear[0] < 0.5, "linear keeps sharpness"
for name in ("INTER_LANCZOS4", "INTER_CUBIC of twice the size"):
    assert abs(found[name][0] - 1) < 0.2 and found[name][1] < 0.6, name
PYTHON
done
