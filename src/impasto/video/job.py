"""A film as a job: its pieces are frames, its memory does not grow, and it can be stopped between any two of them."""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from impasto.core.memory import held_memory, release_blocks, shown_bytes, shown_seconds
from impasto.errors import ImageError, OptionError, check_kind, counted, in_figures
from impasto.files import atomic_path, sha256, shown
from impasto.imaging import Picture
from impasto.stylizer.job import Job, JobPlan, Output, Progress, Steps, check_request
from impasto.stylizer.request import EngineName, StylizeRequest
from impasto.stylizer.streams import read_streams, refuse_streams
from impasto.video.codecs import codec_for, output_kind
from impasto.video.film import Bytes, FilmFacts, FilmReader, Frame, Sound, StillPictureError, as_floats
from impasto.video.flow import FlowFinder, on_one_thread
from impasto.video.following import chosen, followed
from impasto.video.numbered import find_pictures
from impasto.video.options import FilmOptions
from impasto.video.outputs import check_target, opened
from impasto.video.painters import LARGE, FilmPainter, RequestPainter
from impasto.video.reading import open_film
from impasto.video.segments import FilmRun, JoinedWriter, SegmentWriter, check_run_folder
from impasto.video.stages import FrameStages
from impasto.video.steady import KEPT, Steadier
from impasto.video.writing import FilmWriter

if TYPE_CHECKING:
    from impasto.stylizer.engine import Engine

__all__ = ["FRAMES_HELD", "FilmJob"]

FRAMES_HELD: Final = 110  # bytes per pixel of frames on their way and of the past: decoders, encoders, what is kept
WAITING, LARGE_WAITING = 9, 3  # paintings' frames on their way, whose photos are kept where these show through
FINISHING: Final = 40  # bytes per pixel while one shows through its painting: photo, masks, what is kept of regions


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
        painted: frames that were painted, those included that the run's folder had already.
        found: how many of them it had.
    """

    usual_scale = 1.0  # frames are painted once, see `ByNetwork`

    def __init__(
        self,
        engine: Engine,
        film: str,
        request: StylizeRequest,
        output: Output,
        options: FilmOptions | None = None,
    ) -> None:
        check_kind("film", film, (str, os.PathLike), "a file, a folder of numbered pictures, or a pattern of them")
        check_request(request, output)
        check_kind("options", options, (FilmOptions, NoneType), "FilmOptions")
        self.options = options or FilmOptions()
        self._reader: FilmReader | None = None
        if self.options.run is not None:
            refuse_streams(film, request)
        super().__init__(engine, film, read_streams(request), output)
        self._check_options()
        self._reader = self._open_film()
        self.facts = self._reader.facts
        if self.facts.seconds is not None:
            for name, time in self.options.changes.past(self.facts.seconds):
                seconds = in_figures(self.facts.seconds)
                self._note(f"`{name}` at {time:g} s is past the end of the film, which has {seconds} s")
        self.painted = self.found = 0
        self._last: Bytes | None = None
        self._run: FilmRun | None = None
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
        return self.options.frames(self.facts)

    @property
    def finished(self) -> int:
        """How many frames the run's folder keeps, as far as it was looked at."""
        return 0 if self._run is None else self._run.frames

    def plan(self) -> JobPlan:
        """See `Job.plan`; its pieces are frames."""
        one, frames = self._plan_of_one(), self.frames or 1
        memory = held_memory() + self._need()
        seconds = None if one.seconds is None else one.seconds * math.ceil(frames / self._painter.every)
        told = f"{counted(frames, 'frame')} of {one.size[1]}x{one.size[0]} px: about {shown_bytes(memory)} of memory"
        if seconds is not None:
            told += f", {shown_seconds(seconds)} for painting alone"
        return JobPlan("steps", one.size, frames, memory, seconds, (told, *one.message))

    def preview(self) -> Picture:
        """See `Job.preview`: the last frame that was painted."""
        if self._last is None:
            self._check_open()
            with open_film(self.photo_path, rate=self.options.rate) as film:
                frame = next(film.frames(self.options.begin, self.options.end))
            return Picture(as_floats(frame.rgb))
        return self.result()

    def result(self) -> Picture:
        """See `Job.result`: the last frame."""
        if self._last is None:
            self._check_open()
            raise RuntimeError("nothing is painted yet")
        return Picture(as_floats(self._last))

    def summary(self) -> str:
        """See `Job.summary`."""
        height, width = self._size()
        return f"{counted(self.painted, 'frame')} of {width}x{height} px, {self._by()}"

    def networks(self) -> dict[str, str]:
        """See `Job.networks`."""
        return self._request_painter().first.networks()

    def computed_by(self) -> dict[str, str]:
        """See `Job.computed_by`."""
        painter = self._request_painter()
        found = painter.first.computed_by()
        return found | {"threads": str(painter.threads)} if "threads" in found else found

    @property
    def computes_in(self) -> EngineName | None:
        """See `Job.computes_in`."""
        return self._request_painter().first.computes_in

    @property
    def photo_size(self) -> tuple[int, int]:
        """(height, width) of the film's frames."""
        return self.facts.size

    # -- the work -------------------------------------------------------------------------------------------

    def _check_options(self) -> None:
        """Refuse what would not be obeyed."""
        options = self.options
        if options.run is not None:
            check_run_folder(options.run)
        if self.kind == "film":
            codec_for(self._target, options.codec, options.crf)
            return
        given = {"codec": options.codec != "auto", "crf": options.crf is not None, "run": options.run is not None}
        for name in (name for name, is_given in given.items() if is_given):
            what = "a run is kept of" if name == "run" else f"`{name}` is for"
            raise OptionError(f"{what} films such as .mp4 alone: leave out `{name}`", name)

    def _open_film(self) -> FilmReader:
        try:
            return open_film(self.photo_path, rate=self.options.rate)
        except StillPictureError as error:
            raise ImageError(f"{error}; photos are painted by `impasto stylize`") from error

    def _make_painter(self) -> FilmPainter:
        steady = self.options.kept >= KEPT
        return RequestPainter(self.engine, self.request, self.facts, self.frames or 250, self.options.changes, steady)

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
        one = max(0, self._plan_of_one().memory - held_memory())
        painter, pixels = self._painter, math.prod(self.facts.size)
        waiting = painter.every * (LARGE_WAITING if pixels > LARGE else WAITING)
        finish = (3 * waiting + FINISHING) * pixels if painter.finishes else 0
        return max(1, painter.workers) * one + FRAMES_HELD * pixels + finish

    def _forget(self) -> None:
        super()._forget()
        self._last = None
        if self._reader is not None:
            self._reader.close()

    def _work(self) -> Steps:
        reader = self._open_reader()
        release_blocks()  # of the first look at the film
        if not self.options.kept:
            yield from self._paint_film(reader, None)
            return
        with on_one_thread():
            yield from self._paint_film(reader, Steadier(self.options.kept, self._painter.regions))

    def _paint_film(self, reader: FilmReader, steadier: Steadier | None) -> Steps:
        if self.options.run is not None:
            yield from self._work_in_segments(reader, self.options.run, steadier)
            return
        recipe, out = self._recipe_text(), self._facts_out()
        with opened(self._output, out, self.options, reader.container, self.inputs, recipe) as writer:
            yield from self._write_all(writer, reader, steadier)
            yield Progress("writing", self.painted, self.frames or self.painted)
            writer.finish()
            self._note(*reader.notes, *writer.notes)

    def _work_in_segments(self, reader: FilmReader, folder: Path, steadier: Steadier | None) -> Steps:
        """Paint what is not yet finished, then join the segments."""
        with closing(FilmRun(folder, self._described(), resume=self.options.resume)) as run:
            self._run = run
            if steadier is not None:
                run.restore(steadier)
            run.tidy()
            self.painted = self.found = run.frames
            if run.complete:
                self._note(f"{counted(run.frames, 'frame')} finished, which is the whole film: put together anew")
            elif run.segments:
                self._note(f"{counted(run.frames, 'frame')} finished: going on after that")
            elif self.options.resume:
                self._note(f"{shown(folder)}: no frames are finished there: beginning with the first")
            if not run.complete:
                yield from self._paint_segments(run, reader, steadier)
            yield Progress("writing", self.painted, self.frames or self.painted)
            self._join(run)
            run.tidy()

    def _paint_segments(self, run: FilmRun, reader: FilmReader, steadier: Steadier | None) -> Steps:
        codec, crf = codec_for(self._target, self.options.codec, self.options.crf)
        with SegmentWriter(run, self._facts_out(), codec, crf, steadier) as writer:
            yield from self._write_all(writer, reader, steadier, run.last)
            writer.finish()
            run.end()
            self._note(*reader.notes, *writer.notes)

    def _join(self, run: FilmRun) -> None:
        """The film, of its segments and what is beside the picture in what was painted."""
        options, target = self.options, self._target
        with open_film(self.photo_path, rate=options.rate) as beside, atomic_path(target) as temporary:
            part = {"begin": options.begin, "end": options.end, "name": shown(target), "recipe": self._recipe_text()}
            with JoinedWriter(temporary, run, self._facts_out(), beside, **part) as joined:
                items = beside.items(options.begin, options.end, decode=False)
                joined.join(item for item in items if isinstance(item, Sound))
            self._note(*joined.notes)

    def _write_all(
        self, writer: FilmWriter, reader: FilmReader, steadier: Steadier | None, after: int | None = None
    ) -> Steps:
        """Paint and write everything after a time, with progress after each frame."""
        options, began, before = self.options, time.perf_counter(), self.painted
        finder, seen = (None, None) if steadier is None else (FlowFinder(), steadier.seen)
        items = followed(self._chosen(reader), finder, after=after, seen=seen)
        stages = FrameStages(self._painter, steadier, self.facts, begin=options.begin, room=self._room)
        with closing(stages(items)) as done:
            for item in done:
                if isinstance(item, Progress):
                    yield replace(item, done=self.painted, total=self.frames or 0, losses={})
                elif isinstance(item, Sound):
                    writer.sound(item)
                else:
                    self._last = item.rgb
                    writer.write(item)
                    self.painted += 1
                    total, size = max(self.frames or 0, self.painted), (item.rgb.shape[0], item.rgb.shape[1])
                    yield self._told(Progress("painting", self.painted, total, size=size), began, before)
        self._note(*self._painter.ending(self.facts.name))
        if not self.painted:
            begin = float(options.begin)
            lasts = f"lasts {self.facts.seconds:.2f} s" if self.facts.seconds else "is shorter"
            raise ImageError(f"{self.facts.name}: has no frames{f' from {begin:g} s' if begin else ''}, and {lasts}")

    def _chosen(self, reader: FilmReader) -> Iterator[Frame | Sound]:
        """What is painted of the film, and what is between."""
        options, facts = self.options, self.facts
        stop = None if options.end is None else round((options.end - options.begin) / facts.time_base)
        usual = round(1 / (facts.rate * facts.time_base)) if facts.rate else 0
        return chosen(reader.items(options.begin, options.end), options.every, stop=stop, usual=usual)

    def _told(self, record: Progress, began: float, before: int) -> Progress:
        seconds, done = time.perf_counter() - began, record.done - before
        left = seconds / done * max(0.0, record.total - record.done) if done > 0 else None
        return replace(record, left=left)

    def _photo_notes(self) -> tuple[str, ...]:
        """See `Job`: all of a film is painted."""
        return ()

    def _note(self, *notes: str) -> None:
        self.notes += [note for note in dict.fromkeys(notes) if note not in self.notes]

    def _described(self) -> str:
        """What is painted and how, so that a run can tell whether it is the same."""
        own = {**vars(self.options), "run": None, "resume": None}
        newer = {name for name in ("ground",) if getattr(self.request, name) is None}  # runs of before know none
        request = _written({name: value for name, value in self.request.plain().items() if name not in newer})
        return f"{self.photo_hash} {request} {own} {Path(self._target).suffix}"

    def _recipe_text(self) -> str | None:
        """See `Job`: with what decides on the frames."""
        if not self._output.recipe:
            return None
        found = self.recipe.to_json() | {"film": self.options.described()}
        return json.dumps(found, ensure_ascii=False, separators=(",", ":"))

    @cached_property
    def photo_hash(self) -> str:
        """SHA-256 of the film's file; of numbered pictures, that of their names and sizes."""
        if Path(self.photo_path).is_file():
            return sha256(Path(self.photo_path))
        found = repr([(path.name, path.stat().st_size) for path in find_pictures(self.photo_path)])
        return hashlib.sha256(found.encode()).hexdigest()

    def _facts_out(self) -> FilmFacts:
        """Of the film that is written."""
        rate = self.facts.rate
        return replace(self.facts, size=self._size(), rate=rate and rate / self.options.every)

    def _open_reader(self) -> FilmReader:
        self._check_open()
        if self._reader is None:
            raise RuntimeError("this job is closed")
        return self._reader

    # -- the output -----------------------------------------------------------------------------------------

    @property
    def _output(self) -> Output:
        if self.output is None:
            raise RuntimeError("a film needs an output")
        return self.output

    @property
    def _target(self) -> str:
        return self._output.path

    def _check_output(self) -> None:
        """See `Job`: a film's suffix is none of a picture's."""
        if self.photo == "-" or self._target == "-":
            raise OptionError("a film is read from a file and written to one: give its path instead of -")
        if given := self._output.options.given:
            raise OptionError(f"`{given[0]}` is for pictures, not for films: leave it out", given[0])
        check_target(self._output, self._films, self.request.file_names)

    @property
    def _films(self) -> tuple[str, ...]:
        """Whose frames are read."""
        return (self.photo_path,)


def _written(value: Any) -> str:
    """JSON as runs have it since the first ones: of pydantic, which writes small numbers in ways of its own."""
    if isinstance(value, dict):
        return f"{{{','.join(f'{_written(name)}:{_written(one)}' for name, one in value.items())}}}"
    if isinstance(value, list):
        return f"[{','.join(map(_written, value))}]"
    if isinstance(value, float) and math.isinf(value):
        return "null"
    text = json.dumps(value, ensure_ascii=False)
    if isinstance(value, float) and "e-" in text:
        return np.format_float_positional(value) if text.endswith("e-05") else text.replace("e-0", "e-")
    return text
