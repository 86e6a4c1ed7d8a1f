"""The folder of a film's run: finished segments, after which it goes on, and which together become the film."""

from __future__ import annotations

import hashlib
import heapq
import json
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np

from impasto.errors import DataError, OutputError
from impasto.files import atomic_path, lock_folder, sha256, shown
from impasto.video.film import FilmFacts, FilmReader, Frame, Sound, load_av
from impasto.video.steady import Steadier
from impasto.video.writing import AvWriter, FilmWriter

__all__ = ["FilmRun", "SegmentWriter", "check_run_folder"]

LENGTH: Final = 2  # seconds of film in a segment, at least
FORMAT: Final = 3
AGAIN: Final = "begin the run again in another folder"
STATE: Final = "film.json"
OURS: Final = re.compile(r"\..*|(segment|steady)-\d{5}\.(mp4|npz)")
"""What may lie in the folder of a run of which nothing is counted as finished."""


@dataclass(frozen=True)
class Segment:
    """A finished part.

    Attributes:
        first, last: the times of its first and last frame, in time bases of the film.
        frames: how many it has.
        film: SHA-256 of its file; empty in runs of before.
        steady: SHA-256 of what a steadier remembers after it; empty where there is none, and in runs of before.
    """

    first: int
    last: int
    frames: int
    film: str = ""
    steady: str = ""


def check_run_folder(folder: Path) -> None:
    """OutputError where a folder is none, or holds what no run of a film has put there."""
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{shown(folder)}: is a file, need a folder for the run")
    if folder.is_dir() and not (folder / STATE).exists():
        other = next((path.name for path in sorted(folder.iterdir()) if not OURS.fullmatch(path.name)), None)
        if other is not None:
            raise OutputError(
                f"{shown(folder)}: holds files that no run of a film has put there, such as {shown(other)}; give a new "
                "or an empty folder"
            )


class FilmRun:
    """A run's folder, which other processes are kept out of until it is closed.

    Args:
        folder: made if need be; where not one frame was painted, it goes again.
        what: what is painted and how, as text; a run goes on as it began alone.
        resume: go on with what is there.

    Attributes:
        segments: that are finished.
        complete: whether these are the whole film; of runs of before, and of films that were not joined, not known.

    Raises:
        DataError: there is a run and `resume` is not said, no folder and it is, the run is of something else, or
            something of it is damaged.
        OutputError: another process is painting there, or the folder cannot be made.
        MissingExtraError: filelock is not installed.
    """

    def __init__(self, folder: Path, what: str, *, resume: bool) -> None:
        self.folder, self.segments, self.complete = folder, list[Segment](), False
        self._what = hashlib.sha256(what.encode()).hexdigest()
        if resume and not folder.is_dir():
            raise DataError(f"{shown(folder)}: no run of a film is there: leave out `resume` to begin one")
        self._is_new = not folder.exists()
        self._lock = lock_folder(folder, "painting", extra="video")
        try:
            self._read(resume=resume)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let others in again."""
        lock = Path(self._lock.lock_file)
        with suppress(OSError):
            if self._is_new and [*self.folder.iterdir()] == [lock]:
                lock.unlink()
                self.folder.rmdir()
        self._lock.release()

    def _read(self, *, resume: bool) -> None:
        folder, state = self.folder, self.folder / STATE
        if not state.is_file():
            if self.path(2).exists():  # the first alone was finished, but not counted, where a run was killed then
                raise DataError(f"{shown(state)}: is missing, and segments are there: {AGAIN}")
            return
        if not resume:
            raise DataError(f"{shown(folder)}: a run of a film is there: add `resume`, or give another folder")
        try:
            found = json.loads(state.read_text("utf-8"))
            known, self.segments = found["what"], [Segment(**row) for row in found["segments"]]
            self.complete = found.get("complete") is True
        except (ValueError, KeyError, TypeError) as error:
            raise _damaged(state, error) from error
        if found.get("format") != FORMAT or known != self._what:
            raise DataError(f"{shown(folder)}: the run there is of another film, style or option: repeat what it was")
        for number in range(1, len(self.segments) + 1):
            self._check(number)

    @property
    def last(self) -> int | None:
        """The time of the last frame that is finished."""
        return self.segments[-1].last if self.segments else None

    @property
    def frames(self) -> int:
        """How many are finished."""
        return sum(segment.frames for segment in self.segments)

    def begin(self) -> Path:
        """Where the next segment is to lie; from now on the folder stays."""
        self._is_new = False
        return self.path(len(self.segments) + 1)

    def path(self, number: int) -> Path:
        """Where a segment lies."""
        return self.folder / f"segment-{number:05d}.mp4"

    def restore(self, steadier: Steadier) -> None:
        """Bring a steadier to where it was after the last segment."""
        if self.segments:
            path = self._memory(len(self.segments))
            if self.segments[-1].steady:
                _check_digest(path, self.segments[-1].steady)
            try:
                with path.open("rb") as file, np.load(file, allow_pickle=False) as found:
                    steadier.load_state(dict(found))
            except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile, zlib.error) as error:
                raise _damaged(path, error) from error

    def tidy(self) -> None:
        """Remove what a killed process left half-written, and what was needed before."""
        for pattern in (".impasto-*.mp4", ".impasto-*.npz", ".impasto-*.json", "steady-[0-9][0-9][0-9][0-9][0-9].npz"):
            for path in self.folder.glob(pattern):
                if path != self._memory(len(self.segments)):
                    with suppress(OSError):
                        path.unlink(missing_ok=True)

    def add(self, segment: Segment, steadier: Steadier | None) -> None:
        """Count a segment, whose file is whole, as finished."""
        number = len(self.segments) + 1
        if steadier is not None:
            with atomic_path(self._memory(number)) as temporary, temporary.open("wb") as file:
                np.savez(file, allow_pickle=False, **steadier.state())
        steady = "" if steadier is None else sha256(self._memory(number))
        self.segments.append(replace(segment, film=sha256(self.path(number)), steady=steady))
        self._write()
        with suppress(OSError):
            self._memory(number - 1).unlink(missing_ok=True)

    def end(self) -> None:
        """Note that no frame comes any more."""
        self.complete = True
        self._write()

    def _write(self) -> None:
        rows = [vars(segment) for segment in self.segments]
        found = {"format": FORMAT, "what": self._what, "segments": rows} | ({"complete": True} if self.complete else {})
        with atomic_path(self.folder / STATE) as temporary:
            temporary.write_text(json.dumps(found), "utf-8")

    def _memory(self, number: int) -> Path:
        return self.folder / f"steady-{number:05d}.npz"

    def _check(self, number: int) -> None:
        """DataError for a segment that is not as it was finished."""
        path, segment = self.path(number), self.segments[number - 1]
        if segment.film:
            _check_digest(path, segment.film)
            return
        av = load_av()
        try:
            with av.open(str(path)) as film:
                found = sum(1 for packet in film.demux(video=0) if packet.size and not packet.is_corrupt)
        except (av.FFmpegError, OSError, ValueError, IndexError) as error:
            raise _damaged(path, error) from error
        if found != segment.frames:
            raise _damaged(path, f"{found} frames of {segment.frames}")


def _check_digest(path: Path, digest: str) -> None:
    """DataError for a file that is another than it was."""
    try:
        found = sha256(path)
    except OSError as error:
        raise _damaged(path, error) from error
    if found != digest:
        raise _damaged(path, "not what was written")


def _damaged(path: Path, reason: object) -> DataError:
    return DataError(f"{shown(path)}: is damaged ({getattr(reason, 'strerror', None) or reason}): {AGAIN}")


class SegmentWriter(FilmWriter):
    """Writes the segments of a run.

    Args:
        run: the folder.
        facts: of the film that is written.
        codec, crf: as of `AvWriter`.
        steadier: what is kept of it with each segment.
    """

    def __init__(self, run: FilmRun, facts: FilmFacts, codec: str, crf: int, steadier: Steadier | None) -> None:
        super().__init__()
        self._run, self._facts, self._codec, self._crf, self._steadier = run, facts, codec, crf, steadier
        self._part: AvWriter | None = None  # the segment that is being painted
        self._opened = ExitStack()
        self._first, self._before, self._count = 0, 0, 0  # the time of its first and of its last frame, and how many

    def write(self, frame: Frame) -> None:
        """See `FilmWriter`."""
        if self._part is None:
            path = self._opened.enter_context(atomic_path(self._run.begin()))
            made = AvWriter(path, self._facts, self._codec, self._crf, name="the film", repeatable=True)
            self._part, self._first, self._count = self._opened.enter_context(made), frame.pts, 0
        # Its own times begin at 0: MP4 keeps where a film begins in thousandths alone.
        self._part.write(replace(frame, pts=frame.pts - self._first))
        self._before, self._count = frame.pts, self._count + 1
        if (frame.pts + frame.duration - self._first) * self._facts.time_base >= LENGTH:
            self.finish()

    def finish(self) -> None:
        """See `FilmWriter`."""
        if self._part is None:
            return
        self._part.finish()
        self.notes += [note for note in self._part.notes if note not in self.notes]
        self._opened.close()
        self._part = None
        self._run.add(Segment(self._first, self._before, self._count), self._steadier)

    def close(self) -> None:
        """Leave out a segment that is not finished."""
        unfinished = RuntimeError("the segment is not finished")  # which takes its file back
        self._opened.__exit__(RuntimeError, unfinished, None)


class JoinedWriter(AvWriter):
    """A film made of a run's segments, whose packets are copied, and of what is beside the picture in the source."""

    def __init__(self, path: Path, run: FilmRun, facts: FilmFacts, source: FilmReader | None, **options: Any) -> None:
        self._first = load_av().open(str(run.path(1)))
        self._run = run
        super().__init__(path, facts, "h264", 0, None if source is None else source.container, **options)

    def join(self, sounds: Iterator[Sound]) -> None:
        """Write everything in the order of its time."""
        pictures = ((packet.dts * packet.time_base, 0, packet) for packet in self._pictures())
        others = ((_time_of(sound), 1, sound) for sound in sounds)
        for _, kind, item in heapq.merge(pictures, others, key=lambda row: row[0]):
            if kind == 0:
                self._file.mux(item)
            else:
                self.sound(item)
        self._end()

    def close(self) -> None:
        """See `FilmWriter`."""
        self._first.close()
        super().close()

    def _add_picture(self, facts: FilmFacts, codec: Any, name: str, crf: int) -> Any:
        self._alpha = False
        return self._file.add_stream_from_template(self._first.streams.video[0], opaque=True)

    def _pictures(self) -> Iterator[Any]:
        before = None
        for number, segment in enumerate(self._run.segments, 1):
            with load_av().open(str(self._run.path(number))) as film:
                stream = film.streams.video[0]
                for packet in film.demux(stream):
                    if not packet.size:
                        continue
                    shift = round(segment.first * self._time_base / packet.time_base)
                    packet.pts += shift
                    packet.dts += shift
                    if before is not None and packet.dts <= before:  # what an encoder delays at each beginning
                        packet.dts = before + 1
                    before = packet.dts
                    packet.stream = self._stream
                    yield packet


def _time_of(sound: Sound) -> Fraction:
    return Fraction(sound.packet.dts * sound.packet.time_base) - sound.shift
