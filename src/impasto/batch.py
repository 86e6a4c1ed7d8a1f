"""Many photos, one after another or several at once: which output belongs to which, and what went wrong."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from impasto.errors import ImageError, ImpastoError, OptionError, OutputError
from impasto.files import expand_pattern, is_pattern, output_error, shown
from impasto.imaging.formats import find_format
from impasto.imaging.naming import PHOTOS, is_photo

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ["Done", "Work", "at_work", "gather", "is_folder", "is_many", "paint_all"]

_THREADS = "impasto-photo"


@dataclass(frozen=True)
class Work:
    """A photo, and where its painting goes; or `problem`, why it cannot go anywhere."""

    photo: str
    output: str
    problem: ImpastoError | None = None


@dataclass(frozen=True)
class Done:
    """Progress: number `done` of `total` is finished; `told` is what the painter said, or `error` why it could not."""

    work: Work
    done: int
    total: int
    told: str = ""
    error: Exception | None = None

    @property
    def reason(self) -> str:
        """Why there is no painting, in one sentence; an error that is not ours is told with its kind and the photo."""
        if self.error is None or isinstance(self.error, ImpastoError):
            return str(self.error or "")
        said = shown(str(self.error).partition("\n")[0])
        return f"{shown(self.work.photo)}: could not be painted: {type(self.error).__name__}{said and ': '}{said}"


def is_many(photos: Sequence[str]) -> bool:
    """Whether these are more than the name of one picture: several, a folder, or a pattern such as ``*.jpg``."""
    named = [photo for photo in photos if photo not in ("", "-")]
    return len(photos) > 1 or any(Path(photo).is_dir() or is_pattern(photo) for photo in named)


def is_folder(output: str) -> bool:
    """Whether an output is meant as a folder, that is there or is to be made: its name ends like one."""
    return output.endswith(("/", os.sep)) or (output != "-" and Path(output).is_dir())


def gather(photos: Sequence[str], folder: str) -> list[Work]:
    """The photos in files, folders (not those below) and patterns, each with its output in `folder`.

    Outputs have the photos' names; a format that cannot be written becomes PNG: ``anim.gif`` is ``anim.png``, or
    ``anim.gif.png`` where another photo would be ``anim.png`` as well. Of photos of the same name in several folders
    the first is painted. One that is named twice is painted once. The folder is made if need be.

    Raises:
        ImageError: nothing is there.
        OptionError: `folder` is the name of a picture, or a photo is standard input.
        OutputError: `folder` is a file, or cannot be made.
    """
    files = list(dict.fromkeys(file for photo in photos for file in _files(photo)))
    place = Path(folder)
    if folder == "-" or (Path(folder).suffix.lower() in PHOTOS and not is_folder(folder) and not place.exists()):
        raise OptionError(f"several photos need a folder as `output`, got {folder}: give one, such as painted/")
    usual = Counter(_writable(file) for file in files)
    works: dict[str, Work] = {}
    for file in files:
        name = _writable(file)
        name = name if name == file.name or usual[name] == 1 else f"{file.name}.png"
        output = str(place / name)
        if (first := works.get(output)) is None:
            works[output] = Work(str(file), output)
        else:
            told = f"{file}: would become {output}, as {first.photo} does: paint it into another folder"
            works[str(file)] = Work(str(file), output, OptionError(told))
    if place.exists() and not place.is_dir():
        raise OutputError(f"{folder}: a file, need a folder for {len(files)} photos")
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(place, error) from error
    return list(works.values())


def paint_all(
    works: Sequence[Work], paint: Callable[[Work], str], jobs: int = 1, stopped: Callable[[], object] = lambda: False
) -> Generator[Done, None, None]:
    """Call `paint` for each, `jobs` at a time, and tell as they finish; what one cannot paint stops no other.

    Once `stopped` says so none is begun, and those that have begun are told of as they end. Closing the generator waits
    for these as well; an error from outside, such as Ctrl-C, does not (see `at_work`).
    """
    total = len(works)
    from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

    pool = ThreadPoolExecutor(jobs, thread_name_prefix=_THREADS)
    waiting: dict[Future[str], Work] = {}
    left = iter(works)
    done = 0
    waits = False
    try:
        while True:
            # No more than are worked on: what has not begun when we are closed never does.
            room = 0 if stopped() else jobs - len(waiting)
            waiting |= {pool.submit(_painted, paint, work): work for work in islice(left, room)}
            if not waiting:
                break
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                work = waiting.pop(future)
                done += 1
                yield _told(future, work, done, total)
        waits = True
    except GeneratorExit:
        waits = True
        raise
    finally:
        pool.shutdown(wait=waits)


def at_work() -> bool:
    """Whether a photo is being painted that nobody waits for any more. The end of the process would wait for it."""
    return any(thread.name.startswith(_THREADS) for thread in threading.enumerate())


def _painted(paint: Callable[[Work], str], work: Work) -> str:
    if work.problem is not None:
        raise work.problem
    return paint(work)


def _told(future: Future[str], work: Work, done: int, total: int) -> Done:
    try:
        return Done(work, done, total, told=future.result())
    except Exception as error:  # noqa: BLE001  ours, a library's, no memory: the other photos can be painted
        return Done(work, done, total, error=error)


def _files(photo: str) -> Iterator[Path]:
    path = Path(photo)
    if not photo:
        raise ImageError("the name of a photo is empty: give a file, a folder or a pattern")
    if photo == "-":
        raise OptionError("- stands for standard input, which holds one picture: it cannot be one of several photos")
    if path.is_dir():
        found = sorted(file for file in path.iterdir() if file.is_file() and is_photo(file.name))
        kind = "a folder without pictures"
    elif is_pattern(photo):
        found = expand_pattern(photo)
        kind = "no file is called like that"
    else:
        found, kind = [path], ""
    if not found:
        raise ImageError(f"{photo}: {kind}; check the name")
    yield from found


def _writable(file: Path) -> str:
    try:
        find_format(file)
    except OutputError:
        return f"{file.stem}.png"
    return file.name
