"""What films are written as: codecs with their options, containers, and what a path's name stands for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from impasto.errors import OptionError, OutputError
from impasto.files import check_named, shown

__all__ = ["CODECS", "CONTAINERS", "Codec", "CodecName", "Container", "codec_for", "output_kind"]

CodecName = Literal["auto", "h264", "hevc", "av1", "vp9"]


@dataclass(frozen=True)
class Codec:
    """How a codec is used.

    Attributes:
        encoder: its name in FFmpeg.
        crf: quality where none is said, and the largest number, which is the worst.
        options: of the encoder.
        odd: whether it takes odd sides with colours at half size.
        repeatable: options with which the same frames give the same bits each time.
    """

    encoder: str
    crf: tuple[int, int]
    options: Mapping[str, str]
    odd: bool
    repeatable: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Container:
    """What a kind of file holds.

    Attributes:
        format: its name in FFmpeg.
        codecs: that it takes, the first where none is said.
        sound, subtitles: what those are coded with that it does not take as they are.
    """

    format: str
    codecs: tuple[str, ...]
    sound: str
    subtitles: str


# With its tree of macroblocks x264 gives other bits for the same frames from time to time, even with one thread (PyAV
# 18.1.0, 14 frames of 96x64: three results in 16 runs), and x265 with weighted prediction
# (findings/x265-not-repeatable.sh).
_NO_TREE = (("x264-params", "mbtree=0"),)
_QUIET = "log-level=error"
_UNWEIGHTED = (("x265-params", f"{_QUIET}:weightp=0"),)
CODECS: Mapping[str, Codec] = MappingProxyType(
    {
        "h264": Codec("libx264", (17, 51), {"preset": "veryfast", "rc-lookahead": "5"}, odd=False, repeatable=_NO_TREE),
        "hevc": Codec(
            "libx265", (20, 51), {"preset": "fast", "x265-params": _QUIET}, odd=False, repeatable=_UNWEIGHTED
        ),
        "av1": Codec("libsvtav1", (26, 63), {"preset": "8"}, odd=True),
        "vp9": Codec("libvpx-vp9", (24, 63), {"deadline": "good", "cpu-used": "4", "row-mt": "1"}, odd=True),
    }
)
CONTAINERS: Mapping[str, Container] = MappingProxyType(
    {
        ".mp4": Container("mp4", ("h264", "hevc", "av1", "vp9"), "aac", "mov_text"),
        ".m4v": Container("mp4", ("h264", "hevc"), "aac", "mov_text"),
        ".mov": Container("mov", ("h264", "hevc"), "aac", "mov_text"),
        ".mkv": Container("matroska", ("h264", "hevc", "av1", "vp9"), "libopus", "subrip"),
        ".webm": Container("webm", ("vp9", "av1"), "libopus", "webvtt"),
    }
)
"""By the suffix of a file."""


def codec_for(path: str, codec: CodecName, crf: int | None) -> tuple[str, int]:
    """The codec and the quality that a film at this path is written with; OptionError where they do not go together."""
    container = CONTAINERS[Path(path).suffix.lower()]
    known = container.codecs
    name = known[0] if codec == "auto" else codec
    if name not in known:
        raise OptionError(f"{container.format} takes no `codec` {codec} here: give one of {', '.join(known)}", "codec")
    usual, worst = CODECS[name].crf
    if crf is not None and not 0 <= crf <= worst:
        raise OptionError(f"`crf` is {crf}, and for {name} a number from 0 (best) to {worst}", "crf")
    return name, usual if crf is None else crf


def output_kind(path: str) -> Literal["film", "animation", "pictures"]:
    """What a path's name stands for.

    Raises:
        OutputError: a suffix that no film has.
    """
    check_named("output", path)
    suffix = Path(path).suffix.lower()
    if path.endswith(("/", os.sep)) or "%" in Path(path).name or Path(path).is_dir():
        return "pictures"
    if suffix in CONTAINERS:
        return "film"
    if suffix in (".gif", ".webp", ".png", ".apng"):
        return "animation"
    known = " ".join((*CONTAINERS, ".gif", ".webp", ".apng"))
    got = f"films cannot be written as {shown(suffix)}" if suffix else "no suffix tells the format"
    raise OutputError(f"{shown(path)}: {got}; use one of {known}, or a folder (with / at its end) for pictures")
