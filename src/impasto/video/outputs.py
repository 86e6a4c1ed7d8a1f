"""Where a painted film goes: checked before the work, opened for it, and put in its place when all went well."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from impasto.errors import OutputError
from impasto.files import atomic_path, shown
from impasto.imaging import check_output
from impasto.stylizer.job import Output
from impasto.video.animated_writing import AnimationWriter, PicturesWriter
from impasto.video.codecs import codec_for, output_kind
from impasto.video.film import FilmFacts
from impasto.video.options import FilmOptions
from impasto.video.writing import AvWriter, FilmWriter

__all__ = ["check_target", "opened"]


def check_target(output: Output, inputs: Sequence[str]) -> None:
    """Refuse now what would fail after the work.

    Raises:
        OutputError: the output is there and not to be replaced, is one of the inputs, or has a suffix that no film has.
    """
    folder = Path(output.path)
    if output_kind(output.path) != "pictures":
        check_output(output.path, force=output.force, inputs=inputs, format="png")
    elif folder.is_dir() and folder.resolve() in {Path(path).resolve() for path in inputs}:
        raise OutputError(f"{shown(output.path)}: is the input itself: give another folder")


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
