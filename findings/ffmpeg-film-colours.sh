#!/usr/bin/env bash
# What FFmpeg's converter makes of a film's colours unless told otherwise. PyAV 18.1.0 (FFmpeg 8.1.2), wheels for Linux.
#
# Reading 4:2:0 as RGB, `VideoFrame.reformat` and `to_ndarray` come out darker by .5 of 255 on greys and 1.1 on colours;
# with ACCURATE_RND alone, of all things, by 1.8. With ACCURATE_RND and FULL_CHR_H_INT both it is right to .1.
# Writing and reading, `reformat` puts a chroma sample into the middle of its two pixels, where decoders and players take
# H.264's, HEVC's and VP9's to lie on the left one: colours move by half a pixel against brightness. It has no argument
# for it; the `scale` filter has (out_chroma_loc, in_chroma_loc).
# What we do: both flags everywhere, films written through that filter (video/colours.py, video/writing.py).
#
# Prints mean errors of 255, and where chroma samples lie in px right of the left pixel. Fails where any of this is right
# by default now. Samples are measured on a ramp and its mirror image, so that what is too dark does not move them.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check av==18.1.0 numpy >&2
"$folder/venv/bin/python" - <<'PYTHON'
from itertools import pairwise

import av
import numpy as np
from av.video.reformatter import Interpolation as Flag

HEIGHT, WIDTH = 64, 640
BT709, LIMITED = 1, 1
KR, KG, KB = 0.2126, 0.7152, 0.0722
WAYS = {
    "by default": None,
    "ACCURATE_RND alone": Flag.BICUBIC | Flag.ACCURATE_RND,
    "FULL_CHR_H_INT alone": Flag.BICUBIC | Flag.FULL_CHR_H_INT,
    "both": Flag.BICUBIC | Flag.ACCURATE_RND | Flag.FULL_CHR_H_INT,
}
print("PyAV", av.__version__, "FFmpeg", av.ffmpeg_version_info)


def coded(rgb, way):
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb, np.uint8), format="rgb24")
    return frame.reformat(format="yuv420p", dst_colorspace=BT709, dst_color_range=LIMITED, interpolation=way)


def decoded(frame, way):
    return frame.reformat(format="rgb24", src_colorspace=BT709, interpolation=way).to_ndarray().astype(float)


def plane(frame, number):
    found = frame.planes[number]
    return np.frombuffer(found, np.uint8).reshape(found.height, found.line_size)[:, : found.width].astype(float)


def made(y, u, v):
    frame = av.VideoFrame(WIDTH, HEIGHT, "yuv420p")
    for place, value in zip(frame.planes, (y, u, v), strict=True):
        rows = np.zeros((place.height, place.line_size), np.uint8)
        rows[:, : place.width] = value
        place.update(rows)
    frame.colorspace, frame.color_range = BT709, LIMITED
    return frame


def through(frame, how, form):
    graph = av.filter.Graph()
    steps = [
        graph.add_buffer(width=WIDTH, height=HEIGHT, format=frame.format.name, time_base="1/1000"),
        graph.add("scale", f"{how}:flags=bicubic+accurate_rnd+full_chroma_int"),
        graph.add("format", form),
        graph.add("buffersink"),
    ]
    for one, other in pairwise(steps):
        one.link_to(other)
    graph.configure()
    steps[0].push(frame)
    return steps[-1].pull()


def darker(way):
    greys = [decoded(made(y, 128, 128), way).mean() - (y - 16) * 255 / 219 for y in range(16, 236)]
    draw, colours = np.random.default_rng(0), []
    for _ in range(60):
        colour = draw.integers(40, 215, 3)
        frame = coded(np.broadcast_to(colour, (HEIGHT, WIDTH, 3)), WAYS["both"])
        colours.append(decoded(frame, way).mean() - colour.mean())
    return np.mean(greys), np.mean(colours)


def written_at(code):
    """Where chroma samples lie, from a blue ramp: their blue tells how far on it they are."""
    places = []
    for mirrored in (False, True):
        blue = np.round(np.arange(WIDTH) * 255 / (WIDTH - 1))
        blue = blue[::-1] if mirrored else blue
        rgb = np.full((HEIGHT, WIDTH, 3), 128.0)
        rgb[:, :, 2] = blue
        cb = (plane(code(rgb), 1).mean(0) - 128) / 224 * 255
        found = (cb * 2 * (1 - KB) + (KR + KG) * 128) / (1 - KB) * (WIDTH - 1) / 255
        found = WIDTH - 1 - found if mirrored else found
        places.append((found - 2 * np.arange(WIDTH // 2))[20:-20].mean())
    return np.mean(places)


def read_at(decode):
    """Where chroma samples are taken to lie, from a ramp of them: blue at a pixel tells which sample it sees."""
    places = []
    for mirrored in (False, True):
        ramp = np.round(40 + 170 * np.arange(WIDTH // 2) / (WIDTH // 2 - 1))
        blue = decode(made(128, (ramp[::-1] if mirrored else ramp)[None], 128))[:, :, 2].mean(0)
        cb = (blue - (128 - 16) * 255 / 219) / (2 * (1 - KB)) / 255 * 224 + 128
        seen = (cb - 40) / 170 * (WIDTH // 2 - 1) * 2
        seen = WIDTH - 2 - seen if mirrored else seen
        places.append((np.arange(WIDTH) - seen)[60:-60].mean())
    return np.mean(places)


dark = {name: darker(way) for name, way in WAYS.items()}
for name, (grey, colour) in dark.items():
    print(f"read {name}: greys {grey:+.2f}, colours {colour:+.2f} of 255")
way = WAYS["both"]
written = {
    "reformat": written_at(lambda rgb: coded(rgb, way)),
    "the filter, left": written_at(
        lambda rgb: through(
            av.VideoFrame.from_ndarray(rgb.astype(np.uint8), format="rgb24"),
            "out_color_matrix=bt709:out_range=tv:out_chroma_loc=left", "yuv420p",
        )
    ),
}
read = {
    "reformat": read_at(lambda frame: decoded(frame, way)),
    "the filter, left": read_at(
        lambda frame: through(
            frame, "in_color_matrix=bt709:in_range=tv:in_chroma_loc=left", "rgb24"
        ).to_ndarray().astype(float)
    ),
}
for what, found in (("written", written), ("read", read)):
    print(f"chroma {what}: " + ", ".join(f"by {name} at {place:+.2f} px" for name, place in found.items()))
if abs(dark["by default"][1]) < 0.5 or abs(dark["both"][1]) > 0.3:
    raise SystemExit("changed: reading is right by default now, or no longer right with both flags")
if written["reformat"] < 0.3 or read["reformat"] < 0.3:
    raise SystemExit("changed: reformat takes chroma to lie on the left now")
if abs(written["the filter, left"]) > 0.2 or abs(read["the filter, left"]) > 0.2:
    raise SystemExit("changed: the filter does not obey out_chroma_loc or in_chroma_loc any more")
print("as described")
PYTHON
