"""Little films that tests make, and what another reader says of them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from impasto.video.colours import exact

SIZE = (64, 96)
MILLI = Fraction(1, 1000)


def ramp(number: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """(h, w, 3) uint8: smooth colours that move with the number, so that frames can be told apart."""
    down, across = np.mgrid[: size[0], : size[1]].astype(np.float32)
    red = 128 + 100 * np.sin((across + 3 * number) / 15)
    green = 128 + 90 * np.cos((down + 2 * number) / 13)
    blue = 60 + 120 * across / size[1] + number
    return np.stack([red, green, blue], 2).clip(0, 255).astype(np.uint8)


def blobs(number: int, size: tuple[int, int] = SIZE, *, speed: float = 1.5) -> np.ndarray:
    """(h, w, 3) uint8: a texture that moves to the left by `speed` px a frame."""
    down, across = np.mgrid[: size[0], : size[1]].astype(np.float32)
    x = across + speed * number
    waves = [np.sin(x / 3.1 + down / 5.3), np.sin(x / 6.7 - down / 4.1), np.cos(x / 4.3) * np.sin(down / 3.7)]
    return (
        (128 + 60 * np.stack([waves[0] + waves[1], waves[1] + waves[2], waves[2] - waves[0]], 2) / 1.6)
        .clip(0, 255)
        .astype(np.uint8)
    )


def tone(rate: int, seconds: float) -> np.ndarray:
    """(1, n) int16: what can be heard."""
    at = np.arange(int(rate * seconds)) / rate
    return (8000 * np.sin(2 * np.pi * 440 * at)).astype(np.int16)[None]


def make_film(
    path: Path,
    times: Sequence[int],
    *,
    time_base: Fraction = Fraction(1, 600),
    size: tuple[int, int] = SIZE,
    sound: str | None = None,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    matrix: int | None = 1,
    picture: Any = ramp,
    turned: tuple[int, bool] | None = None,
    metadata: dict[str, str] | None = None,
    chapters: bool = False,
    options: dict[str, str] | None = None,
    start: int = 0,
    rate: int | None = None,
    heard: Any = tone,
) -> list[np.ndarray]:
    """Write a film whose frames are shown at these times; gives the frames."""
    frames = [picture(number, size) for number in range(len(times))]
    with av.open(str(path), "w") as file:
        file.metadata.update(metadata or {})
        stream = file.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = size[1], size[0], pix_fmt
        stream.options = {"crf": "1"} if options is None else options
        stream.codec_context.time_base = time_base
        if matrix is not None:
            stream.codec_context.colorspace = stream.codec_context.color_primaries = matrix
            stream.codec_context.color_trc, stream.codec_context.color_range = matrix, 1
        if turned is not None:
            stream.set_display_rotation(turned[0], hflip=turned[1])
        voice = None
        if sound is not None:
            voice = file.add_stream(sound, rate=rate or (48000 if "opus" in sound else 44100))
            voice.codec_context.layout = "mono"
        if chapters:
            parts = [("a", 0, 400), ("b", 400, 900)]
            file.set_chapters(
                [
                    {"id": number, "start": begin, "end": end, "time_base": MILLI, "metadata": {"title": title}}
                    for number, (title, begin, end) in enumerate(parts, 1)
                ]
            )
        for rgb, at in zip(frames, times, strict=True):
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(
                format=pix_fmt, dst_colorspace=matrix or 5, dst_color_range=1, interpolation=exact()
            )
            frame.pts, frame.time_base = at + start, time_base
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
        if voice is not None:
            seconds = float(times[-1] * time_base) + 0.1
            block = av.AudioFrame.from_ndarray(heard(voice.rate, seconds), format="s16", layout="mono")
            block.rate, block.pts = voice.rate, round(start * time_base * voice.rate)
            block.time_base = Fraction(1, voice.rate)
            resampler = av.AudioResampler(voice.codec_context.format, "mono", voice.rate, 1024)
            for part in [*resampler.resample(block), *resampler.resample(None)]:
                file.mux(voice.encode(part))
            file.mux(voice.encode(None))
    return frames


_ASK = """
import json, sys, hashlib, av
from fractions import Fraction
film = av.open(sys.argv[1])
found = {"streams": [], "bases": [], "times": [], "sound": [], "metadata": dict(film.metadata),
         "chapters": [[float(c["start"] * c["time_base"]), c["metadata"].get("title")] for c in film.chapters()]}
for stream in film.streams:
    found["streams"].append([stream.type, stream.codec_context.name if stream.codec_context else None])
    found["bases"].append(float(stream.time_base))
picture = film.streams.video[0]
for packet in film.demux():
    if packet.size and packet.stream.type == "audio":
        found["sound"].append([float(packet.pts * packet.time_base), hashlib.md5(bytes(packet)).hexdigest()])
    if packet.stream is picture:
        for frame in packet.decode():
            found["times"].append(float(frame.pts * frame.time_base))
            found["tags"] = [frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc]
            found["size"] = [frame.height, frame.width]
            found["rotation"] = frame.rotation
            found["format"] = frame.format.name
print(json.dumps(found))
"""


def asked(path: Path) -> dict[str, Any]:
    """What PyAV says of a film in a fresh process."""
    done = subprocess.run(
        [sys.executable, "-c", _ASK, str(path)], capture_output=True, text=True, check=True, timeout=120
    )
    return json.loads(done.stdout)
