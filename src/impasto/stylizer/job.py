"""How anything is painted: a job tells its plan, runs with progress, shows the picture so far, stops at any time."""

from __future__ import annotations

import functools
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import NoneType, TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, Self, TypeVar

from impasto.core.host import our_settings, step_by_step
from impasto.core.memory import room_within
from impasto.errors import OptionError, check_kind, told
from impasto.files import sha256
from impasto.imaging import Picture, as_picture, check_output, format_warnings, write
from impasto.imaging.left_out import left_out_note
from impasto.imaging.reading import read_header
from impasto.imaging.reduced import read_reduced
from impasto.imaging.sizes import Bicubic, bicubic
from impasto.stylizer.budget import Grant
from impasto.stylizer.finishing import mask_notes
from impasto.stylizer.recipe import Recipe, picture_hash, recipe_of
from impasto.stylizer.request import EngineName, OutputOptions, StylizeRequest
from impasto.stylizer.strokes import AUTO
from impasto.stylizer.written import check_written

if TYPE_CHECKING:
    from impasto.stylizer.engine import Engine
    from impasto.stylizer.optimize_job import OptimizeJob
    from impasto.types import PictureSource

__all__ = ["Job", "JobPlan", "Kept", "Output", "Phase", "Progress", "Steps", "check_progress", "check_request"]

T = TypeVar("T")
Phase = Literal["reading", "draft", "painting", "writing"]


@dataclass(frozen=True)
class Progress:
    """How far a job is.

    Attributes:
        phase: what is being done.
        done, total: steps of an optimisation, or shares of the work of a network, whose total is 1.
        seconds: since this run of the job began.
        left: seconds that the rest should take; None where nothing is known of it yet.
        size: (height, width) in px of what is being painted.
        losses: the weighted terms of an optimisation by name; empty for networks.
        note: a sentence for the user; None most of the time.
        seen_by: of an optimisation, the name of the network that saw this step, where two take turns.
    """

    phase: Phase
    done: float
    total: float
    seconds: float = 0.0
    left: float | None = None
    size: tuple[int, int] | None = None
    losses: Mapping[str, float] = field(default_factory=dict)
    note: str | None = None
    seen_by: str | None = None

    @property
    def share(self) -> float:
        """How much of the phase is done, from 0 to 1."""
        return self.done / self.total if self.total else 1.0


def check_request(request: object, output: object) -> None:
    """OptionError for what is no request, or no place for a painting."""
    check_kind("request", request, StylizeRequest, "an impasto.StylizeRequest, such as StylizeRequest.of(style=...)")
    check_kind("output", output, (Output, NoneType), "an impasto.Output, such as Output('painted.png')")


def check_progress(function: object) -> None:
    """OptionError for what cannot be called with a `Progress`."""
    if function is not None and not callable(function):
        raise OptionError(f"`progress` is {told(function)}, need a function that takes a record of progress")


class Kept(Generic[T]):
    """Goes through steps and keeps what they give back at their end.

    Attributes:
        value: that.
    """

    value: T

    def __init__(self, steps: Generator[Progress, None, T]) -> None:
        self._steps = steps

    def __iter__(self) -> Iterator[Progress]:
        self.value = yield from self._steps


@dataclass(frozen=True)
class JobPlan:
    """How a photo will be painted.

    Attributes:
        how: all at once, in bands of rows, by strips from file to file, or in steps of an optimisation.
        size: (height, width) of the painting, px.
        pieces: bands times passes, or steps; progress is told after each.
        memory: bytes that the process should need at most.
        seconds: that it should take on this machine; None where that is not known.
        message: all of this for people, a sentence for each part of the work.
    """

    how: Literal["at once", "bands", "strips", "steps"]
    size: tuple[int, int]
    pieces: int
    memory: int
    seconds: float | None
    message: tuple[str, ...]


@dataclass(frozen=True)
class Output:
    """Where a painting goes, and how it is written.

    Attributes:
        path: a file, or ``-`` for standard output.
        options: quality and compression.
        force: replace a file that exists, but never an input.
        recipe: whether the file carries how it was made.
    """

    path: str
    options: OutputOptions = field(default_factory=OutputOptions)
    force: bool = False
    recipe: bool = True

    def __post_init__(self) -> None:
        check_kind("path", self.path, (str, os.PathLike), "a path")
        object.__setattr__(self, "path", os.fspath(self.path))
        check_kind("options", self.options, OutputOptions, "impasto.OutputOptions")

    @property
    def shown(self) -> str:
        """The path as messages name it."""
        return "standard output" if self.path == "-" else self.path


Steps = Generator[Progress, None, None]


class Job(ABC):
    """One photo and what is to become of it. `Engine.job` makes it; it is a context manager, which closes it.

    Attributes:
        engine: whose models and memory it uses.
        photo: as it was given, or as a `Picture` where that can be read but once.
        request: what is asked for.
        output: where the painting goes; None leaves it in memory.
        notes: sentences about the result that should be told, such as what of the photo the output's format cannot
            hold, that its file has more pictures, or that a mask paints nothing; of the last two a `Progress` tells as
            well, before anything is painted.
        usual_scale: the `style_scale` of a network where none is asked for.
    """

    usual_scale: ClassVar[float | str] = AUTO

    def __init__(
        self, engine: Engine, photo: PictureSource, request: StylizeRequest, output: Output | None = None
    ) -> None:
        self.engine, self.photo, self.request, self.output = engine, photo, request, output
        self.notes: list[str] = []
        self._check_output()
        is_file = isinstance(photo, str | os.PathLike)
        self._original = None if is_file else as_picture(photo, max_megapixels=request.max_megapixels)
        self._grant: Grant | None = None
        self._running: Steps | None = None
        self._closed = False

    # -- what others call -----------------------------------------------------------------------------------

    @abstractmethod
    def plan(self) -> JobPlan:
        """How the photo will be painted; nothing is painted, and of a file the header alone is read.

        Raises:
            ImpastoError: the photo cannot be read, or there is too little memory.
        """

    def run(self) -> Steps:
        """Paint, then write the output if there is one; yields a record between any two pieces of the work.

        A network tells when it begins to paint, and when it has painted, also where that is one piece.

        Closing the generator stops. An optimisation can be run again, and goes on where it stopped.

        Raises:
            ImpastoError: whatever a user can mend.
        """
        if self._running is not None or self._closed:
            raise RuntimeError("this job is running already, or closed")
        steps = self._running = step_by_step(self._noted_work())
        try:
            with our_settings():
                need = self._need()
            # Before taking turns: who waits for memory must not keep others from coming to their end.
            self._grant = self.engine.budget.take(need, self.engine.limit(self.request))
            began = time.perf_counter()
            while not self._closed:
                with self.engine.turn():
                    record = next(steps, None)
                if record is None:
                    return
                yield replace(record, seconds=time.perf_counter() - began)
        finally:
            steps.close()
            self._running = None
            self._release()
            if self._closed:
                self._forget()

    @abstractmethod
    def preview(self) -> Picture:
        """The picture so far: the photo at the size of its painting where nothing is painted yet."""

    @abstractmethod
    def summary(self) -> str:
        """What was painted and by what, in a few words: ``512x384 px, by gallery``."""

    @abstractmethod
    def networks(self) -> dict[str, str]:
        """SHA-256 of the networks that are used, by their role, for the recipe."""

    @abstractmethod
    def computed_by(self) -> dict[str, str]:
        """What the bits of the picture depend on beside the request, for the recipe: library, device, precision."""

    @abstractmethod
    def result(self) -> Picture:
        """The painting, with the photo's transparency and bit depth. RuntimeError if nothing was painted."""

    def write(self) -> None:
        """Write the picture so far to the output, whole or not at all. Errors as of `imaging.write`."""
        if self.output is None:
            raise RuntimeError("this job has no output")
        picture, options = self.result(), self.output.options
        self.notes += format_warnings(picture, self.output.path, keep_metadata=options.keep_metadata)
        write(
            picture,
            self.output.path,
            force=self.output.force,
            inputs=self.inputs,
            quality=options.jpeg_quality,
            compression=options.png_compression,
            keep_metadata=options.keep_metadata,
            recipe=self._recipe_text(),
        )

    def close(self) -> None:
        """Stop if it runs, and give everything back: memory, temporary files. Twice does no harm.

        Where another thread is running it, that one stops after the piece it is at, and gives everything back.
        """
        self._closed = True
        if self._running is not None:
            try:
                self._running.close()
            except ValueError:  # it is being run
                return
        self._release()
        self._forget()

    @property
    def resize_by(self) -> Bicubic:
        """What resizes pictures: numpy, unless a job has torch for it."""
        return bicubic

    @property
    def computes_in(self) -> EngineName | None:
        """What a network runs in, for the recipe; None for an optimisation, which has no choice."""
        return None

    def as_optimisation(self) -> OptimizeJob | None:
        """The job itself, if it paints by optimisation: step by step, with a picture after each."""
        return None

    def opening(self) -> str | None:
        """A sentence to tell before it begins; None where there is nothing to tell."""
        return None

    @property
    def inputs(self) -> tuple[str, ...]:
        """Files that must not be overwritten."""
        return (
            *([os.fspath(self.photo)] if isinstance(self.photo, str | os.PathLike) else ()),
            *self.request.file_names,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- what the kinds of jobs share -----------------------------------------------------------------------

    @abstractmethod
    def _need(self) -> int:
        """Bytes that running takes at most if it can, beside what the process holds."""

    @abstractmethod
    def _work(self) -> Steps:
        """Paint and write, from where it stopped, within `_room`."""

    def _forget(self) -> None:
        """Let go of what is in memory."""
        self._original = None

    @property
    def _room(self) -> int:
        """Bytes that this run may take beside what the process held when it began."""
        if self._grant is None:
            raise RuntimeError("this job is not running")
        return self._grant.room

    def _noted_work(self) -> Steps:
        request = self.request
        limits: dict[str, Any] = {"max_megapixels": request.max_megapixels, "budget": self.engine.limit(request)}
        for note in (*self._photo_notes(), *mask_notes(request.mask, **limits)):
            if note not in self.notes:
                self.notes.append(note)
                yield Progress("reading", 0, 1, note=note)
        yield from self._work()

    def _photo_notes(self) -> tuple[str, ...]:
        """What of the photo's file is not painted."""
        note = left_out_note(self.photo_path) if self._original is None else None
        return () if note is None else (note,)

    @functools.cached_property
    def photo_hash(self) -> str:
        """SHA-256 of the photo's file, also of one that was read from a stream, or of its pixels if it is in memory."""
        return sha256(Path(self.photo_path)) if self._original is None else picture_hash(self._original)

    @property
    def photo_path(self) -> str:
        """Where the photo lies. TypeError if it is in memory."""
        if not isinstance(self.photo, str | os.PathLike):
            raise TypeError("the photo of this job is in memory")
        return os.fspath(self.photo)

    @functools.cached_property
    def recipe(self) -> Recipe:
        """How the picture is made; files are hashed when it is first asked for, and once."""
        return recipe_of(self)

    def _recipe_text(self) -> str | None:
        return self.recipe.to_text() if self.output is not None and self.output.recipe else None

    @property
    def photo_size(self) -> tuple[int, int]:
        """(height, width) in px, of a file from its header alone. ImageError if it is no picture."""
        if self._original is not None:
            return self._original.height, self._original.width
        self._check_open()
        return read_header(self.photo_path, max_megapixels=self.request.max_megapixels).size

    @property
    def painting_size(self) -> tuple[int, int]:
        """(height, width) of the painting in px, known before anything is painted; errors as of `plan`."""
        return self.plan().size

    def read_photo(self, size: tuple[int, int]) -> Picture:
        """The photo at this (height, width). ImageError if it cannot be read."""
        picture, by = self._original, self.resize_by
        if picture is None:
            self._check_open()
            room = room_within(self.engine.limit(self.request))
            largest = self.request.max_megapixels
            picture = read_reduced(self.photo, long_side=max(size), max_megapixels=largest, room=room, by=by)
        return picture.resized(size, by)

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("this job is closed")

    def _release(self) -> None:
        if self._grant is not None:
            self._grant.close()
            self._grant = None

    def _check_output(self) -> None:
        """Refuse now what would fail after the work."""
        if self.output is not None:
            check_output(self.output.path, force=self.output.force, inputs=self.inputs)
            check_written(self.output.options.given, [self.output.path])
