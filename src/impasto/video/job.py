"""A film as a job: its pieces are frames, its memory does not grow, and it can be stopped between any two of them."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from impasto.core.memory import held_memory, shown_bytes, shown_seconds
from impasto.errors import ImageError, OptionError, OutputError
from impasto.files import atomic_path, shown
from impasto.imaging import Picture, check_output
from impasto.stylizer.job import Job, JobPlan, Output, Progress, Steps
from impasto.stylizer.request import StylizeRequest
from impasto.video.animated_writing import AnimationWriter, PicturesWriter
from impasto.video.film import Bytes, FilmFacts, FilmReader, Frame, Sound, as_floats
from impasto.video.flow import FlowFinder
from impasto.video.numbered import find_pictures
from impasto.video.options import FilmOptions
from impasto.video.painters import FilmPainter, OtherFilm, Painting, RequestPainter
from impasto.video.reading import open_film
from impasto.video.segments import FilmRun, JoinedWriter, SegmentWriter
from impasto.video.steady import Steadier
from impasto.video.writing import AvWriter, FilmWriter, codec_for, output_kind

if TYPE_CHECKING:
    from impasto.stylizer.engine import Engine

__all__ = ["FilmJob", "SteadyJob"]

FRAMES_HELD: Final = 60  # bytes per pixel of frames on their way: decoders, encoders, flow
Floats = NDArray[np.float32]


class FilmJob(Job):
    """A film and what is to become of it.

    Args:
        engine: whose models and memory it uses.
        film: a file, a folder of numbered pictures, or a pattern of them.
        request: how each frame is painted.
        output: where the painted film goes.
        options: which part, how steady, how it is written.

    Attributes:
        options: as given.
        painted: frames that were painted.
    """

    def __init__(
        self,
        engine: Engine,
        film: str,
        request: StylizeRequest,
        output: Output,
        options: FilmOptions | None = None,
    ) -> None:
        self.options = options or FilmOptions()
        self._reader: FilmReader | None = None
        super().__init__(engine, film, request, output)
        if self.kind == "film":
            codec_for(output.path, self.options.codec, self.options.crf)
        elif self.options.run is not None:
            raise OptionError("a run is kept of films such as .mp4 alone: leave out `run`", "run")
        self._reader = open_film(film, rate=self.options.rate)
        self.facts = self._reader.facts
        self.painted = 0
        self._last: Bytes | None = None
        if self.facts.alpha and self.options.run is not None:
            self._reader.close()
            raise OptionError("a run cannot keep transparency: leave out `run`", "run")
        try:
            self._painter: FilmPainter = self._make_painter()
            if self.options.kept:
                FlowFinder()  # or OpenCV is not installed
        except BaseException:
            self._reader.close()
            raise

    # -- what others call -----------------------------------------------------------------------------------

    @property
    def kind(self) -> str:
        """What is written: a film, an animation or pictures."""
        return output_kind(self._target)

    @property
    def frames(self) -> int | None:
        """How many frames there are to be painted, as far as that is known."""
        facts, options = self.facts, self.options
        if facts.frames is None:
            return None
        count = float(facts.frames)
        if facts.seconds and (options.begin or options.end is not None):
            end = facts.seconds if options.end is None else min(facts.seconds, float(options.end))
            count *= max(0.0, end - float(options.begin)) / facts.seconds
        return max(1, math.ceil(round(count) / options.every))

    def plan(self) -> JobPlan:
        """See `Job.plan`; its pieces are frames."""
        one, frames = self._plan_of_one(), self.frames or 1
        memory = one.memory + FRAMES_HELD * math.prod(self.facts.size)
        seconds = None if one.seconds is None else one.seconds * frames
        told = f"{frames} frames of {one.size[1]}x{one.size[0]} px: about {shown_bytes(memory)} of memory"
        if seconds is not None:
            told += f", {shown_seconds(seconds)} for painting alone"
        return JobPlan("steps", one.size, frames, memory, seconds, (told, *one.message))

    def preview(self) -> Picture:
        """See `Job.preview`: the last frame that was painted."""
        if self._last is None:
            with open_film(self.photo_path, rate=self.options.rate) as film:
                frame = next(film.frames(self.options.begin, self.options.end))
            return Picture(as_floats(frame.rgb))
        return self.result()

    def result(self) -> Picture:
        """See `Job.result`: the last frame."""
        if self._last is None:
            raise RuntimeError("nothing is painted yet")
        return Picture(as_floats(self._last))

    def summary(self) -> str:
        """See `Job.summary`."""
        height, width = self._size()
        return f"{self.painted} frames of {width}x{height} px, {self._by()}"

    def networks(self) -> dict[str, str]:
        """See `Job.networks`."""
        return self._request_painter().first.networks()

    def computed_by(self) -> dict[str, str]:
        """See `Job.computed_by`."""
        return self._request_painter().first.computed_by()

    @property
    def photo_size(self) -> tuple[int, int]:
        """(height, width) of the film's frames."""
        return self.facts.size

    # -- the work -------------------------------------------------------------------------------------------

    def _make_painter(self) -> FilmPainter:
        return RequestPainter(self.engine, self.request, self.facts, self.frames or 250, self.options.changes)

    def _request_painter(self) -> RequestPainter:
        if not isinstance(self._painter, RequestPainter):
            raise TypeError("this film is not painted here")
        return self._painter

    def _plan_of_one(self) -> JobPlan:
        return self._request_painter().plan()

    def _by(self) -> str:
        summary = self._request_painter()
        return f"by {summary.model.name}" if summary.model is not None else "by optimisation"

    def _size(self) -> tuple[int, int]:
        return self._painter.size(self.facts)

    def _need(self) -> int:
        return max(0, self._plan_of_one().memory - held_memory()) + FRAMES_HELD * math.prod(self.facts.size)

    def _forget(self) -> None:
        super()._forget()
        self._last = None
        if self._reader is not None:
            self._reader.close()

    def _work(self) -> Steps:
        reader, steadier = self._open_reader(), None
        if self.options.kept:
            steadier = Steadier(FlowFinder(), self.options.kept)
        if self.options.run is not None:
            yield from self._work_in_segments(reader, self.options.run, steadier)
            return
        with self._writing(reader) as writer:
            yield from self._write_all(writer, reader, steadier)
            yield Progress("writing", self.painted, self.frames or self.painted)
            writer.finish()
            self._note(*reader.notes, *writer.notes)

    def _work_in_segments(self, reader: FilmReader, folder: Path, steadier: Steadier | None) -> Steps:
        """Paint what is not yet finished, then join the segments."""
        codec, crf = codec_for(self._target, self.options.codec, self.options.crf)
        run = FilmRun(folder, self._described(), resume=self.options.resume)
        if steadier is not None:
            run.restore(steadier)
        if run.segments:
            self.painted = run.frames
            self._note(f"{self.painted} frames are finished: going on after them")
        writer = SegmentWriter(run, self._facts_out(), codec, crf, steadier)
        yield from self._write_all(writer, reader, steadier, run.last)
        writer.finish()
        yield Progress("writing", self.painted, self.frames or self.painted)
        self._note(*reader.notes, *writer.notes)
        options, target = self.options, self._target
        with open_film(self._beside_path(), rate=options.rate) as beside, atomic_path(target) as temporary:
            part = {"begin": options.begin, "end": options.end, "name": shown(target)}
            with JoinedWriter(temporary, run, self._facts_out(), beside, **part) as joined:
                items = beside.items(options.begin, options.end, decode=False)
                joined.join(item for item in items if isinstance(item, Sound))
            self._note(*joined.notes)

    def _write_all(
        self, writer: FilmWriter, reader: FilmReader, steadier: Steadier | None, after: int | None = None
    ) -> Steps:
        began, before = time.perf_counter(), self.painted
        for item in self._painted(reader, steadier, after):
            if isinstance(item, Progress):
                yield self._told(item, began, before)
            elif isinstance(item, Sound):
                writer.sound(item)
            else:
                writer.write(item)
        if not self.painted:
            begin = float(self.options.begin)
            lasts = f"lasts {self.facts.seconds:.2f} s" if self.facts.seconds else "is shorter"
            raise ImageError(f"{self.facts.name}: has no frames{f' from {begin:g} s' if begin else ''}, and {lasts}")

    def _painted(
        self, reader: FilmReader, steadier: Steadier | None, after: int | None
    ) -> Iterator[Frame | Sound | Progress]:
        """Everything that is to be written, with progress after each frame; frames up to a time are passed over."""
        options, painter = self.options, self._painter
        number = -1
        for item in reader.items(options.begin, options.end):
            if isinstance(item, Sound):
                yield item
                continue
            number += 1
            if number % options.every:
                continue
            if after is not None and item.pts <= after:
                painter.skip()
                continue
            rgb = yield from self._paint(item, painter, steadier)
            alpha = None if item.alpha is None else _at_size(item.alpha, (rgb.shape[0], rgb.shape[1]))
            if isinstance(painter, OtherFilm) and painter.ended:
                self.notes.append(f"{self.facts.name}: has more frames than the painted film: it ends with that")
                return
            self.painted += 1
            # Rounded once here, so that what is shown is what a preview gives.
            whole = self._last = _whole(rgb)
            yield Frame(whole, item.pts, item.duration * options.every, alpha)
            yield Progress("painting", self.painted, max(self.frames or 0, self.painted), size=self._painter_size)

    def _paint(self, frame: Frame, painter: FilmPainter, steadier: Steadier | None) -> Painting:
        """One frame; gives its painting."""
        again = None if steadier is None or self.options.changes is not None else steadier.again(frame.rgb)
        if again is not None and not isinstance(painter, OtherFilm):
            return again
        last = None
        if steadier is not None and isinstance(painter, RequestPainter) and painter.optimises:
            last = steadier.carried(frame.rgb)
        at = frame.pts * self.facts.time_base + self.options.begin
        for record in (steps := _Result(painter.paint(frame, at, last, self._room))):
            if record.losses:
                yield replace(record, done=self.painted, total=self.frames or 0, losses={})
        self._painter_size = (steps.value.shape[0], steps.value.shape[1])
        return steps.value if steadier is None else steadier(frame.rgb, steps.value)

    def _told(self, record: Progress, began: float, before: int) -> Progress:
        seconds, done = time.perf_counter() - began, record.done - before
        left = seconds / done * max(0.0, record.total - record.done) if done > 0 else None
        return replace(record, left=left)

    def _note(self, *notes: str) -> None:
        self.notes += [note for note in dict.fromkeys(notes) if note not in self.notes]

    def _described(self) -> str:
        """What is painted and how, so that a run can tell whether it is the same."""
        own = {**vars(self.options), "run": None, "resume": None}
        newer = {name for name in ("ground",) if getattr(self.request, name) is None}  # runs of before know none
        request = self.request.model_dump_json(exclude=newer)
        return f"{self.photo_hash_of()} {request} {own} {Path(self._target).suffix}"

    def photo_hash_of(self) -> str:
        """SHA-256 of the film's file; of pictures, their names and sizes."""
        if Path(self.photo_path).is_file():
            return self.photo_hash
        return repr([(path.name, path.stat().st_size) for path in find_pictures(self.photo_path)])

    def _facts_out(self) -> FilmFacts:
        """Of the film that is written."""
        rate = self.facts.rate
        return replace(self.facts, size=self._size(), rate=rate and rate / self.options.every)

    def _beside_path(self) -> str:
        """The film whose sound and chapters go with the painted one."""
        return self.photo_path

    def _open_reader(self) -> FilmReader:
        self._check_open()
        if self._reader is None:
            raise RuntimeError("this job is closed")
        return self._reader

    # -- the output -----------------------------------------------------------------------------------------

    @property
    def _target(self) -> str:
        if self.output is None:
            raise RuntimeError("a film needs an output")
        return self.output.path

    @contextmanager
    def _writing(self, reader: FilmReader) -> Iterator[FilmWriter]:
        """What the film is written by; it takes its place when all went well."""
        facts, options, output = self._facts_out(), self.options, self.output
        if output is None:
            raise RuntimeError("a film needs an output")
        target, name = output.path, shown(output.path)
        if self.kind == "pictures":
            with PicturesWriter(target, facts, force=output.force, inputs=self.inputs) as writer:
                yield writer
            return
        with atomic_path(target) as temporary:
            if self.kind == "animation":
                made: FilmWriter = AnimationWriter(temporary, facts, name=name)
            else:
                codec, crf = codec_for(target, options.codec, options.crf)
                source, begin, end = self._beside(reader), options.begin, options.end
                made = AvWriter(temporary, facts, codec, crf, source, begin=begin, end=end, name=name)
            if self.kind == "animation" and reader.container is not None and reader.container.streams.audio:
                made.notes.append(f"{name}: an animation has no sound: that of the film is left out")
            with made:
                yield made

    def _beside(self, reader: FilmReader) -> Any:
        """Whose sound and chapters go with the film."""
        return reader.container

    def _check_output(self) -> None:
        """See `Job`: a film's suffix is none of a picture's."""
        if self.photo == "-" or self._target == "-":
            raise OptionError("a film is read from a file and written to one: give its path instead of -")
        kind, output = output_kind(self._target), self.output
        if output is not None and kind != "pictures":
            check_output(output.path, force=output.force, inputs=self.inputs, format="png")
        folder = Path(self._target)
        if kind == "pictures" and folder.is_dir() and Path(self.photo_path).resolve() == folder.resolve():
            raise OutputError(f"{shown(self._target)}: is the input itself: give another folder")


class SteadyJob(FilmJob):
    """A film that another program painted, without its flicker; the flow is that of the film that was painted.

    Args:
        engine: whose memory it uses.
        painted: the painted film; its sound is carried over, or where it has none, that of the original.
        like: the film that was painted.
        output: where it goes.
        options: as of `FilmJob`.
    """

    def __init__(
        self, engine: Engine, painted: str, like: str, output: Output, options: FilmOptions | None = None
    ) -> None:
        self._painted_path = painted
        self._other: FilmReader | None = None
        super().__init__(engine, like, StylizeRequest(), output, options)

    def _make_painter(self) -> FilmPainter:
        self._other = open_film(self._painted_path, rate=self.options.rate)
        return OtherFilm(self._other)

    def _plan_of_one(self) -> JobPlan:
        size = self._size()
        memory = held_memory() + FRAMES_HELD * math.prod(size)
        return JobPlan("steps", size, self.frames or 1, memory, None, ())

    def _by(self) -> str:
        return f"steadied as {shown(self.photo_path)} moves"

    def networks(self) -> dict[str, str]:
        """None."""
        return {}

    def computed_by(self) -> dict[str, str]:
        """Nothing."""
        return {}

    @property
    def inputs(self) -> tuple[str, ...]:
        """See `Job.inputs`."""
        return (*super().inputs, self._painted_path)

    def _forget(self) -> None:
        super()._forget()
        if self._other is not None:
            self._other.close()


class _Result:
    """Goes through a generator and keeps what it gives back."""

    value: Floats

    def __init__(self, steps: Any) -> None:
        self._steps = steps

    def __iter__(self) -> Iterator[Progress]:
        self.value = yield from self._steps


def _whole(rgb: Floats) -> Bytes:
    """As bytes, rounded to nearest."""
    scaled = rgb * np.float32(255)
    scaled += 0.5
    return scaled.clip(0, 255, out=scaled).astype(np.uint8)


def _at_size(alpha: Bytes, size: tuple[int, int]) -> Bytes:
    if alpha.shape == size:
        return alpha
    from PIL import Image

    return np.asarray(Image.fromarray(alpha).resize(size[::-1], Image.Resampling.BILINEAR))
