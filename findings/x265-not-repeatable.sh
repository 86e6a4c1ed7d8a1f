#!/usr/bin/env bash
# x265 gives other bits for the same frames from time to time. PyAV 18.1.0 and 16.0.1 (libx265 in their wheels for Linux).
#
# Same process, same options, one thread, a clip of some ten frames: its last group of pictures is coded in several ways,
# as if by what memory happened to hold. Turning off threads, `cutree`, adaptive quantisation or adaptive B-frames does not
# help; weighted prediction (`weightp=0`), or B-frames altogether (`bframes=0`), does. x264 has the like with `mbtree`. So
# a film that is coded in segments, to be resumed after a crash, does not come out the same again.
# What we do: runs with --run are coded with weightp=0 (x264: mbtree=0), see video/codecs.py; a test compares packets.
#
# Prints how many different streams 100 encodings of four clips gave. Fails where x265 is repeatable by default, or is not
# with weightp=0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for version in ${1:-18.1.0 16.0.1}; do
    "${PYTHON:-python3}" -m venv "$folder/$version"
    "$folder/$version/bin/python" -m pip install --quiet --disable-pip-version-check "av==$version" numpy >&2
    "$folder/$version/bin/python" - <<'PYTHON'
import hashlib
import io

import av
import numpy as np

WIDTH, HEIGHT = 96, 64
down, across = np.mgrid[:HEIGHT, :WIDTH]


def clip(length, seed):
    """Waves, and a grain over them, both moving."""
    grain = np.random.default_rng(seed).normal(0, 40, (HEIGHT, WIDTH, 3))
    for number in range(length):
        wave = 128 + 60 * np.sin((across + 3 * number) / 7) + 50 * np.cos((down - 2 * number) / 9)
        frame = np.stack([wave, 0.8 * wave + 20, 255 - wave], 2) / 2 + np.roll(grain, (number, 2 * number), (0, 1))
        yield frame.clip(0, 255).astype(np.uint8)


def encoded(frames, more):
    with av.open(io.BytesIO(), "w", format="matroska") as film:
        options = {"preset": "fast", "crf": "20", "x265-params": f"log-level=error{more}"}
        stream = film.add_stream("libx265", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.thread_count = 1
        packets = []
        for number, rgb in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame.pts = number
            packets += map(bytes, stream.encode(frame))
        packets += map(bytes, stream.encode(None))
    return hashlib.sha256(b"".join(packets)).hexdigest()


def streams(more):
    """Different results over clips of several lengths, beyond one for each."""
    extra = 0
    for length in (9, 11, 14, 20):
        frames, found = list(clip(length, 1)), set()
        for number in range(25):
            found.add(encoded(frames, more))
            chance = np.random.default_rng(number)  # so that memory does not hold the same again
            encoded(chance.integers(0, 256, (13, HEIGHT, WIDTH, 3), np.uint8), more)
        extra += len(found) - 1
    return extra


default, cutree, weightp = streams(""), streams(":cutree=0"), streams(":weightp=0")
print(f"PyAV {av.__version__}: 100 encodings of 4 clips gave {4 + default} streams by default, {4 + cutree} with cutree=0,")
print(f"  {4 + weightp} with weightp=0")
assert default > 0, "repeatable by default"
assert weightp == 0, "not repeatable with weightp=0 either"
PYTHON
done
