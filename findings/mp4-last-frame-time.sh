#!/usr/bin/env bash
# How long the last frame of an MP4 or MOV lasts that PyAV has written with libx264. av 18.0.0, 17.0.1 (FFmpeg 8).
#
# Every packet is given its duration, and the last frame is to stay for 3 s. With x264's usual B-frames it stays as long
# as the others, and 3 s of the film are gone, while MKV keeps them: MP4 stores when samples are decoded, and a single
# duration that is no difference of two such times, that of what is decoded last. Where the last frame is shown last but
# decoded before a B-frame, that frame's duration is stored. Films that happen to end without a B-frame are right: of a
# texture that moves by a pixel a frame, 19 frames are, and 17, 18 and 20 are not.
# What we do: the last two frames are coded as P frames (video/writing.py), so what is shown last is decoded last.
#
# Prints how long films last, in seconds. Fails where MP4 keeps the time although B-frames are coded, or loses it
# although the last two frames are P frames.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for version in ${1:-18.0.0 17.0.1}; do
    "${PYTHON:-python3}" -m venv "$folder/$version"
    "$folder/$version/bin/python" -m pip install --quiet --disable-pip-version-check "av==$version" numpy >&2
    "$folder/$version/bin/python" - "$folder" <<'PYTHON'
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.frame import PictureType

FRAMES, EACH, LAST = 20, 50, 3000  # ms
TEXTURE = np.random.default_rng(0).integers(0, 255, (96, 160, 3)).astype(np.uint8)
WHOLE = ((FRAMES - 1) * EACH + LAST) / 1000


def lasts(path, planned):
    """Seconds of a film of a texture that moves; `planned` says that its last two frames are coded as P frames."""
    base = Fraction(1, 1000)
    durations = {i * EACH: LAST if i == FRAMES - 1 else EACH for i in range(FRAMES)}
    with av.open(str(path), "w") as film:
        stream = film.add_stream("libx264", rate=20)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        stream.codec_context.time_base = base
        for i, pts in enumerate(durations):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(np.roll(TEXTURE, i, 1)), format="rgb24")
            frame.pts, frame.time_base, frame.duration = pts, base, durations[pts]
            if planned and i >= FRAMES - 2:
                frame.pict_type = PictureType.P
            for packet in stream.encode(frame):
                packet.duration = durations[packet.pts]
                film.mux(packet)
        for packet in stream.encode(None):
            packet.duration = durations[packet.pts]
            film.mux(packet)
    with av.open(str(path)) as film:
        return film.duration / av.time_base


folder = Path(sys.argv[1])
kinds = ("mp4", "mov", "mkv")
found = {(kind, planned): lasts(folder / f"film.{kind}", planned) for kind in kinds for planned in (0, 1)}
library = ".".join(map(str, av.library_versions["libavformat"]))
print(f"av {av.__version__}, FFmpeg's libavformat {library}; {WHOLE} s are meant")
for (kind, planned), seconds in found.items():
    print(f"  {kind}, {'the last two frames P' if planned else 'as x264 likes'}: {seconds:.3f} s")
for kind in ("mp4", "mov"):
    assert found[kind, 0] < WHOLE - 2, "the last frame's time is kept"
    assert abs(found[kind, 1] - WHOLE) < 0.06, "the last frame's time is lost all the same"
assert abs(found["mkv", 0] - WHOLE) < 0.06
PYTHON
done
