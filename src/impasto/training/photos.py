"""Photos to train on, by number, wherever they lie: folders, zip and tar files, shards, parquet sets."""

from __future__ import annotations

import itertools
import lzma
import os
import re
import tarfile
import zipfile
import zlib
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from os import PathLike
from pathlib import Path

from impasto.errors import DataError, ImageError, OptionError
from impasto.files import at_home, expand_pattern, is_pattern, shown, split_pattern
from impasto.imaging.naming import PHOTOS, is_photo
from impasto.training.archives import ARCHIVES, Files, Parquet, Part, Tar, Zip
from impasto.training.settings import AddStyleSettings, TrainSettings

__all__ = ["NO_STYLE", "PhotoSource", "check_left_out", "check_places", "left_by_run", "open_photos"]

NO_STYLE = "`style` is needed: a picture, a folder of pictures, a style set or a list of styles"

OF_RUNS = frozenset({"samples", "checkpoints", "tensorboard", "loss.png"})  # what a training writes beside its recipe

# What the standard library and pyarrow raise over damaged archives; RuntimeError stands for a password.
DAMAGED = (
    OSError, EOFError, ValueError, RuntimeError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError,
)  # fmt: skip


class PhotoSource:
    """Encoded photos by number, in an order that depends on names alone.

    It holds no open file, so that it can be sent to other processes; each opens what it needs.

    Attributes:
        obeyed: the names in `leave_out` by which a photo was left out.
        gone: the numbers that stand for no photo any more; see `with_gone`.
        what: what they are called in messages.
    """

    gone: frozenset[int] = frozenset()

    def __init__(self, parts: Iterable[Part], leave_out: Sequence[str] = (), what: str = "photos") -> None:
        """`leave_out` has names, without folders and suffixes, of photos that do not count; they may hold wildcards."""
        self.what = what
        self._parts = tuple(_Chosen(part, leave_out) if leave_out else part for part in parts)
        self.obeyed = frozenset(name for part in self._parts if isinstance(part, _Chosen) for name in part.obeyed)
        self._ends = list(itertools.accumulate(len(part.names) for part in self._parts))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def _find(self, index: int) -> tuple[Part, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"photo {index} of {len(self)}")
        number = bisect_right(self._ends, index)
        part = self._parts[number]
        return part, index - self._ends[number] + len(part.names)

    def name(self, index: int) -> str:
        """Where the photo lies: its path, or the path of its archive followed by its name in there."""
        part, place = self._find(index)
        return part.names[place]

    def read(self, index: int) -> bytes:
        """The photo's file, as it is stored.

        Raises:
            DataError: it cannot be read, is larger than 512 MiB, or its archive is damaged.
        """
        part, place = self._find(index)
        if index in self.gone:
            raise DataError(f"{part.names[place]}: is gone")
        try:
            return part.read(place)
        except DAMAGED as error:
            raise DataError(f"{part.names[place]}: cannot be read: {_reason(error)}") from error

    def with_gone(self, names: Mapping[int, str]) -> PhotoSource:
        """The same photos numbered as they were when there was also, at each of these numbers, one of that name.

        IndexError where there were too few for such a number.
        """
        order: list[int | None] = list(range(len(self)))
        for number, _ in sorted(names.items()):
            if number > len(order):
                raise IndexError(f"photo {number} of {len(order)}")
            order.insert(number, None)
        source = PhotoSource([_Gapped(self, order, names)], what=self.what)
        source.obeyed, source.gone = self.obeyed, frozenset(names)
        return source


class _Gapped:
    """The photos of a source in an order with gaps (None), whose names are given by number."""

    def __init__(self, source: PhotoSource, order: Sequence[int | None], gone: Mapping[int, str]) -> None:
        self._source, self._order = source, order
        self.names = [gone[i] if old is None else source.name(old) for i, old in enumerate(order)]

    def read(self, place: int) -> bytes:
        if (old := self._order[place]) is None:
            raise ValueError("is gone")
        return self._source.read(old)


class _Chosen:
    """The photos of a part whose names are not among those to be left out."""

    def __init__(self, part: Part, leave_out: Sequence[str]) -> None:
        self._part = part
        out = [[one for one in leave_out if fnmatchcase(Path(name).stem, one)] for name in part.names]
        self._places = [i for i, names in enumerate(out) if not names]
        self.names = [part.names[i] for i in self._places]
        self.obeyed = frozenset(name for names in out for name in names)

    def read(self, place: int) -> bytes:
        return self._part.read(self._places[place])


def open_photos(
    where: str | PathLike[str] | Iterable[str | PathLike[str]], leave_out: Sequence[str] = (), what: str = "photos"
) -> PhotoSource:
    """The photos in a folder or file, or in several, one after the other; see `PhotoSource` for the rest.

    A folder is searched with all below it; only where it holds no photo itself are the archives in it
    opened. Files may be photos, zip, tar (also gz, bz2, xz), WebDataset shards and parquet files with a
    column ``image``, as Hugging Face keeps them (binary, or a struct with ``bytes``; otherwise the first
    column of such a type). Names may hold ``*``, ``?``, ``[..]`` and the shards' ``{000..012}`` and ``{a,b}``.
    Hidden files are left out, and so is what a training wrote into a folder that holds its run. One photo is
    enough: it then fills every batch, each time cropped anew.

    Nothing is decoded here. Tar files are indexed once and then read at any place; compressed ones are
    unpacked to a temporary file first, which is removed at the end. Reading a photo of a parquet set reads
    its row group (commonly 100 photos), so large row groups make training slow.

    Raises:
        DataError: a path that does not exist, an archive that is damaged, or no photos.
        MissingExtraError: a parquet file without pyarrow (extra ``parquet``).
    """
    paths = [where] if isinstance(where, str | PathLike) else list(where)
    source = PhotoSource((part for path in paths for part in _open(os.fspath(path))), leave_out, what)
    if not len(source):
        shown = ", ".join(str(path) for path in paths) or "an empty list of paths"
        left = " that are not left out" if leave_out else ""
        raise DataError(f"{shown}: no {what} found{left}, need at least one ({', '.join(PHOTOS)})")
    return source


def check_left_out(leave_out: Sequence[str], *sources: PhotoSource) -> None:
    """OptionError for a name in `leave_out` that none of the sources, which were opened with it, has a photo for."""
    for name in leave_out:
        if not any(name in source.obeyed for source in sources):
            fix = f"write {Path(name).stem!r}" if Path(name).stem != name else "correct it, or do without"
            raise OptionError(f"`leave_out` {name!r} is no photo here; names have no folder and no suffix: {fix}")


def _open(pattern: str) -> Iterator[Part]:
    path = at_home(pattern)
    if path.is_dir():
        yield from _open_folder(path)
    elif path.exists():
        yield _open_file(path)
    else:
        top, _ = split_pattern(path)
        for found in _match(path):
            if any(left_by_run(one) for one in (found, *found.parents) if one != top and one.is_relative_to(top)):
                continue
            if found.is_dir():
                yield from _open_folder(found)
            elif is_photo(found.name) or found.name.lower().endswith(ARCHIVES):
                yield _open_file(found)


def left_by_run(path: Path) -> bool:
    """Whether this file or folder was written by a training, whose samples and plots would be taken for photos."""
    run = path.parent
    return path.name in OF_RUNS and (run / "recipe.toml").is_file() and (run / "checkpoints").is_dir()


def check_places(settings: TrainSettings) -> None:
    """See that photos and styles are there, without opening them, so that it is told before anything slow is loaded.

    Raises:
        OptionError: there are to be no photos, no styles, or no model that is to learn more.
        DataError: no such photos.
        ImageError: no such style picture.
    """
    if isinstance(settings, AddStyleSettings) and not settings.model:
        raise OptionError("`model` is needed: the trained network", "model")
    if not settings.photos:
        raise OptionError("`photos` is needed: a folder, archive or file of photos")
    for path in (at_home(name) for name in settings.photos):
        if not path.exists():
            deque(_match(path), maxlen=0)
    if not settings.style:
        raise OptionError(NO_STYLE)
    for name in settings.style:
        place = at_home(name)
        if not place.exists() and not (is_pattern(place) and expand_pattern(place)):
            raise ImageError(f"{shown(name)}: no such file; check the name and the folder")


def _reason(error: Exception) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error)


def _match(pattern: Path) -> Iterator[Path]:
    """Expand the braces of shard names, then wildcards; each must stand for something.

    What exists as it is written is taken so: a folder called ``[2019]`` or ``{a,b}``.
    """
    place, rest = split_pattern(pattern)
    if span := re.search(r"\{(\d+)\.\.(\d+)\}", rest):
        first, last = span.groups()
        choices = [f"{n:0{len(first)}d}" for n in range(int(first), int(last) + 1)]
    elif span := re.search(r"\{([^{}]*,[^{}]*)\}", rest):
        choices = span.group(1).split(",")
    else:
        found = expand_pattern(pattern, recursive=True)
        if not found:
            raise DataError(f"{pattern}: there is no such folder or file of photos")
        yield from found
        return
    for choice in choices:
        yield from _match(place / (rest[: span.start()] + choice + rest[span.end() :]))


def _open_folder(root: Path) -> Iterator[Part]:
    photos, archives, seen = [], [], set()
    for folder, folders, files in os.walk(root, onerror=_refuse, followlinks=True):
        if (real := os.path.realpath(folder)) in seen:  # a link back up would go round for ever
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(
            name for name in folders if not name.startswith((".", "__MACOSX")) and not left_by_run(Path(folder, name))
        )
        for name in files:
            if left_by_run(Path(folder, name)):
                continue
            if is_photo(name):
                photos.append(str(Path(folder, name)))
            elif name.lower().endswith(ARCHIVES) and not name.startswith("."):
                archives.append(Path(folder, name))
    if photos:
        yield Files(sorted(photos))
    else:
        yield from map(_open_file, sorted(archives))


def _refuse(error: OSError) -> None:
    raise DataError(f"{error.filename}: cannot be searched for photos: {error.strerror}") from error


def _open_file(path: Path) -> Part:
    name = path.name.lower()
    try:
        if name.endswith(".parquet"):
            return Parquet(path)
        if name.endswith(".zip"):
            return Zip(path)
        if name.endswith(ARCHIVES):
            return Tar(path)
    except DAMAGED as error:
        raise DataError(f"{path}: cannot be opened, perhaps it is damaged or cut short: {_reason(error)}") from error
    if is_photo(path.name):
        return Files([str(path)])
    raise DataError(f"{path}: neither a photo nor a folder, zip, tar or parquet file of photos")
