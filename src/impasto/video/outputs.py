"""Where a painted film goes: checked before the work, opened for it, and put in its place when all went well."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from impasto.errors import OutputError
from impasto.files import atomic_path, shown
from impasto.imaging import check_output
from impasto.imaging.formats import find_format
from impasto.stylizer.job import Output
from impasto.video.animated_writing import AnimationWriter, PicturesWriter
from impasto.video.codecs import codec_for, output_kind
from impasto.video.film import FilmFacts
from impasto.video.numbered import NumberedPaths, find_pictures, is_numbered
from impasto.video.options import FilmOptions
from impasto.video.writing import AvWriter, FilmWriter

__all__ = ["beside", "check_target", "opened"]


def check_target(output: Output, films: Sequence[str], others: Sequence[str] = ()) -> None:
    """Refuse now what would fail after the work, or would be lost.

    Args:
        output: where the painted film goes.
        films: that are read: files, folders, patterns.
        others: files beside them.

    Raises:
        OutputError: the output is there and not to be replaced, would take the place of an input, or has a suffix that
            no film, or no picture, has.
    """
    inputs = [*others, *(file for film in films for file in (find_pictures(film) if is_numbered(film) else [film]))]
    if output_kind(output.path) != "pictures":
        check_output(output.path, force=output.force, inputs=inputs, format="png")
        return
    paths = NumberedPaths.of_output(output.path)
    if Path(output.path).is_dir() and Path(output.path).resolve() in {Path(film).resolve() for film in films}:
        raise OutputError(f"{shown(output.path)}: is the input itself: give another folder")
    find_format(paths.path(1))
    there = {_file_id(path): path for number, path in paths.existing().items() if number > 0}
    for path in inputs:
        if (found := there.get(_file_id(path))) is not None:
            raise OutputError(f"{shown(found)}: is an input, which would be lost: give another folder or name")
    if paths.folder.is_dir():
        check_output(paths.path(1), force=output.force)
        return
    above = next(one for one in (paths.folder, *paths.folder.absolute().parents) if one.exists())
    if not above.is_dir():
        raise OutputError(f"{shown(output.path)}: {shown(above)} is no folder; write elsewhere")
    if not os.access(above, os.W_OK | os.X_OK):
        raise OutputError(f"{shown(output.path)}: the folder {shown(above)} cannot be written; write elsewhere")


def _file_id(path: str | os.PathLike[str]) -> tuple[int, int] | str:
    """What a file is known by, whatever it is called; its name where it is not there."""
    try:
        found = Path(path).stat()
    except (OSError, ValueError):
        return os.fspath(path)
    return found.st_dev, found.st_ino


def beside(output: Output, folder: str | os.PathLike[str]) -> Output:
    """An output of the same kind in another folder."""
    is_film = output_kind(output.path) != "pictures"
    name = Path(output.path).name if is_film else NumberedPaths.of_output(output.path).name
    return replace(output, path=str(Path(folder) / name))


@contextmanager
def opened(
    output: Output, facts: FilmFacts, options: FilmOptions, source: Any, inputs: tuple[str, ...], recipe: str | None
) -> Iterator[FilmWriter]:
    """What a film is written by; at the end of the context it is in its place, or after an error not there at all.

    Args:
        output: where to.
        facts: of the film that is written.
        options: how it is written, and which part of the source it is.
        source: PyAV's container whose sound and chapters go with it, where there are any.
        inputs: that must not be overwritten.
        recipe: how it is made, as text.
    """
    target, name, kind = output.path, shown(output.path), output_kind(output.path)
    if kind == "pictures":
        with PicturesWriter(target, facts, force=output.force, inputs=inputs, recipe=recipe) as pictures:
            yield pictures
        return
    with atomic_path(target) as temporary:
        if kind == "animation":
            made: FilmWriter = AnimationWriter(temporary, facts, name=name, recipe=recipe)
            if source is not None and source.streams.audio:
                made.notes.append(f"{name}: an animation has no sound: that of the film is left out")
        else:
            codec, crf = codec_for(target, options.codec, options.crf)
            begin, end = options.begin, options.end
            made = AvWriter(temporary, facts, codec, crf, source, begin=begin, end=end, name=name, recipe=recipe)
        with made:
            yield made
