"""Films of a run: what its folder kept of each step, as GIF, APNG or MP4."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from os import PathLike
from pathlib import Path
from typing import Any

from PIL import Image

from impasto.errors import DataError, MissingExtraError, OptionError, OutputError
from impasto.files import atomic_path, shown
from impasto.imaging import check_output, fit_long_side, read, resize, to_pil

__all__ = ["FILMS", "check_film", "find_frames", "write_film"]

FILMS = (".gif", ".png", ".apng", ".mp4")
KEPT = (("frames", "*.jpg"), ("samples", "step-*.jpg"))  # of a run of `stylize`, and of a training
REST = 2.0  # seconds on the last frame


def find_frames(folder: str | PathLike[str]) -> list[Path]:
    """The pictures that a run kept, in the order of their steps.

    Raises:
        DataError: no such folder, or one in which no run has kept pictures (yet).
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder, need one that `impasto stylize --run` or `impasto train` wrote")
    for name, pattern in KEPT:
        frames = [path for path in (folder / name).glob(pattern) if re.search(r"\d+$", path.stem)]
        if frames:
            return sorted(frames, key=_step)
    raise DataError(
        f"{folder}: no frames of a run are in it (frames/000025.jpg, samples/step-00000250.jpg): give a folder that "
        "`impasto stylize --run` or `impasto train` wrote, with a smaller `save_every` if the run was short"
    )


def _step(path: Path) -> int:
    return int(re.findall(r"\d+", path.stem)[-1])


def check_film(path: str | PathLike[str], *, force: bool = False, inputs: Sequence[Path] = ()) -> None:
    """Refuse now what `write_film` would refuse after the work.

    Raises:
        OutputError: a suffix that is none of FILMS, or a place that cannot be written.
        MissingExtraError: MP4 without PyAV.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in FILMS:
        raise OutputError(f"{shown(path)}: a film is written as {', '.join(FILMS)}: give a name that ends so")
    check_output(path, force=force, inputs=inputs, format="png")  # the suffix was looked at above
    if suffix == ".mp4":
        _load_av()


def write_film(
    frames: Sequence[Path], path: str | PathLike[str], *, size: int = 480, fps: float = 12, force: bool = False
) -> None:
    """Write a film that rests two seconds on its last frame; the suffix of `path` decides the format.

    Args:
        frames: pictures, as `find_frames` gives them; all become as large as the first.
        path: .gif, .png or .apng (animated PNG), or .mp4 (H.264, with the extra ``video``).
        size: long side in px; smaller frames are not enlarged.
        fps: frames a second.
        force: replace a file that exists.

    Raises:
        OptionError: no frames, or a rate that is none.
        ImageError: a frame that cannot be read.
        OutputError, MissingExtraError: as `check_film`.
    """
    if not frames:
        raise OptionError("a film needs at least one frame")
    if not 0 < fps <= 240:
        raise OptionError(f"{fps} frames a second: need a number above 0 and up to 240")
    check_film(path, force=force, inputs=frames)
    pictures = _pictures(frames, size, even=Path(path).suffix.lower() == ".mp4")
    with atomic_path(path) as temporary:
        match Path(path).suffix.lower():
            case ".mp4":
                _write_mp4(temporary, pictures, fps)
            case ".gif":
                _write_animation(temporary, pictures, len(frames), fps, format="GIF")
            case _:
                _write_animation(temporary, pictures, len(frames), fps, format="PNG")


def _pictures(frames: Sequence[Path], size: int, *, even: bool) -> Iterator[Image.Image]:
    shape: tuple[int, int] | None = None
    for frame in frames:
        rgb = read(frame).rgb
        if shape is None:
            height, width = fit_long_side((rgb.shape[0], rgb.shape[1]), size)
            # H.264 halves the resolution of colours, so it wants even sides.
            shape = (height // 2 * 2 or 2, width // 2 * 2 or 2) if even else (height, width)
        yield to_pil(resize(rgb, shape)).convert("RGB")


def _write_animation(path: Path, pictures: Iterator[Image.Image], count: int, fps: float, **options: Any) -> None:
    durations = [round(1000 / fps)] * (count - 1) + [round(1000 * REST)]
    first, *others = pictures  # a list: for PNG, Pillow goes through them twice
    first.save(path, save_all=True, append_images=others, duration=durations, loop=0, **options)


def _write_mp4(path: Path, pictures: Iterator[Image.Image], fps: float) -> None:
    av = _load_av()
    first = next(pictures)
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as film:
        stream = film.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        stream.width, stream.height, stream.pix_fmt = first.width, first.height, "yuv420p"
        stream.options = {"crf": "18"}
        for picture in _with_rest(first, pictures, round(REST * fps)):
            film.mux(stream.encode(av.VideoFrame.from_image(picture)))
        film.mux(stream.encode())


def _with_rest(first: Image.Image, others: Iterator[Image.Image], rest: int) -> Iterator[Image.Image]:
    """All pictures, the last one `rest` times more."""
    last = first
    yield first
    for last in others:
        yield last
    for _ in range(rest):
        yield last


def _load_av() -> Any:
    try:
        import av
    except ImportError as error:
        raise MissingExtraError("PyAV", "video") from error
    return av
