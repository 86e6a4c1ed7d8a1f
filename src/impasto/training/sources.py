"""The style pictures of a training, wherever they come from: files, folders, style sets."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from impasto.core.statistics import Divisor
from impasto.core.vgg import VGG
from impasto.errors import DataError, ImageError, ImpastoError, OptionError
from impasto.files import sha256
from impasto.imaging import Picture, read
from impasto.imaging.naming import is_photo
from impasto.training.photos import NO_STYLE, PhotoSource, left_by_run, open_photos
from impasto.training.styles import ABOUT, StyleSet, read_list, slug, unique_names
from impasto.training.targets import backbone_identity, style_targets

__all__ = ["StyleSource", "gather_styles", "gram_targets", "names_digest", "open_styles", "renamed", "with_path"]

SET = ".safetensors"
LIST = ".tsv"
PICTURES = "style pictures"
TOLD = 4  # styles by name in a sentence


@dataclass(frozen=True)
class StyleSource:
    """One style to be learned: a picture file, or an entry of a style set.

    Attributes:
        name: unique among the styles of the training.
        wanted: the name it would have if no other style had it.
        sha256: of the picture's content.
        record: what the trained file will say of it: name, and title, artist and year where known.
    """

    name: str
    sha256: str
    record: dict[str, Any]
    file: Path | None = None
    entry: tuple[StyleSet, str] | None = None
    wanted: str = ""

    def picture(self) -> Picture:
        """The picture, full size; ImageError if it cannot be read."""
        if self.entry is not None:
            return self.entry[0].image(self.entry[1])
        if self.file is None:
            raise ValueError("a style is a file or an entry of a style set")
        return read(self.file)


def gather_styles(
    paths: Sequence[str], taken: Sequence[str] = (), *, unreadable: list[str] | None = None
) -> list[StyleSource]:
    """The styles in pictures, folders of pictures, style sets and lists, in that order, with names none of `taken` has.

    A list is a TSV file with the columns file (relative to the list's folder), name, title, artist and year, of
    which only the first is needed. Where `unreadable` is given, pictures that cannot be read are left out, and it gets
    a sentence about each.

    Raises:
        OptionError: there is none.
        DataError: a path that does not exist, a folder without pictures, a file that is no style set.
        ImageError: a picture that cannot be read, or, with `unreadable`, none that can.
    """
    found: list[tuple[str, StyleSource]] = []
    for path in map(Path, paths):
        if path.suffix == SET and path.is_file():
            styles = StyleSet.open(path)
            for name, style in styles.styles.items():
                record = {key: value for key in ABOUT if (value := getattr(style, key))}
                found.append((name, StyleSource(name, style.sha256, record, entry=(styles, name))))
            continue
        for file, about in _files(path).items():
            try:
                source = _from_file(file, {key: about[key] for key in ABOUT if key in about})
                found.append((about.get("name", file.stem), source))
            except ImageError as error:
                told = f"{path} names {error}" if path.suffix == LIST else str(error)
                if unreadable is None:
                    raise ImageError(told) from error
                unreadable.append(told)
    if not found and unreadable:
        raise ImageError(unreadable[0])
    if not found:
        raise OptionError(NO_STYLE)
    names = unique_names([*taken, *(name for name, _ in found)])[len(taken) :]
    return [
        StyleSource(name, source.sha256, {"name": name, **source.record}, source.file, source.entry, slug(wanted))
        for name, (wanted, source) in zip(names, found, strict=True)
    ]


def renamed(sources: Sequence[StyleSource]) -> list[str]:
    """A sentence about the styles that could not have the name they would have, if there are any."""
    others = [
        f"{source.wanted} is known already: the new one is called {source.name}"
        for source in sources
        if source.name != source.wanted
    ]
    more = f"; and {len(others) - TOLD} more" if len(others) > TOLD else ""
    return ["; ".join(others[:TOLD]) + more] if others else []


def _files(path: Path) -> dict[Path, dict[str, str]]:
    """The pictures in a list, a folder or a file, and what a list says of each."""
    if path.suffix == LIST and path.is_file():
        return {path.parent / file: about for file, about in read_list(path).items()}
    if not path.is_dir():
        return {path: {}}
    files = sorted(file for file in path.iterdir() if file.is_file() and is_photo(file.name) and not left_by_run(file))
    if not files:
        raise DataError(f"{path}: no style pictures found, need at least one")
    return {file: {} for file in files}


def _from_file(path: Path, record: dict[str, Any]) -> StyleSource:
    try:  # so that a picture that cannot be read, or shows nothing, is told before anything slow begins
        read(path).cleared()
    except ImageError as error:
        raise ImageError(with_path(path, error)) from error
    return StyleSource(path.stem, sha256(path), record, file=path)


def with_path(path: str | PathLike[str], error: ImpastoError) -> str:
    """What is wrong with a picture, told by its whole path: pictures in memory have but the last part as a name."""
    told = str(error).removeprefix(f"{path}: ").removeprefix(f"{Path(path).name}: ")
    return f"{path}: {told}"


def gram_targets(
    styles: Sequence[StyleSource], backbone: VGG, taps: Sequence[str], size: int, divisor: Divisor
) -> dict[str, Tensor]:
    """Gram matrices of N styles, name of the layer -> (N, C, C) float32, `backbone` being in float32.

    A style set's own are taken where it was made with the same backbone at the same size; all others are
    computed, or read from the cache.
    """
    identity = backbone_identity(backbone)
    rows = []
    for style in styles:
        known = style.entry
        if known and known[0].backbone_identity == identity and known[0].size == size and {*taps} <= {*known[0].taps}:
            rows.append({tap: known[0].gram(known[1], tap, divisor)[None] for tap in taps})
        else:
            source = style.file if style.file is not None else style.picture()
            rows.append(style_targets([source], backbone, taps, size, divisor=divisor))
    return {tap: torch.cat([row[tap].to(backbone.device) for row in rows]) for tap in taps}


class _Entries:
    """The pictures of a style set as encoded photos (a `Part` of a `PhotoSource`)."""

    def __init__(self, styles: StyleSet) -> None:
        self._styles = styles
        self._keys = list(styles.names)
        self.names = [f"{styles.path}/{name}" for name in self._keys]

    def read(self, place: int) -> bytes:
        return self._styles.jpeg(self._keys[place])


class _Opened:
    """A source as a part of another."""

    def __init__(self, source: PhotoSource) -> None:
        self._source = source
        self.names = [source.name(index) for index in range(len(source))]

    def read(self, place: int) -> bytes:
        return self._source.read(place)


def open_styles(paths: Sequence[str], leave_out: Sequence[str] = ()) -> PhotoSource:
    """Style pictures by the thousand, decoded as they are needed: all that `open_photos` reads, and style sets.

    `leave_out` is as in `PhotoSource`.

    Raises:
        OptionError: no path.
        DataError: see `open_photos`, or all are left out.
    """
    if not paths:
        raise OptionError("`style` is needed: a folder of pictures, pictures or a style set")
    sets = [path for path in paths if path.endswith(SET)]
    others = [path for path in paths if not path.endswith(SET)]
    parts: list[_Entries | _Opened] = [_Entries(StyleSet.open(path)) for path in sets]
    if others:
        parts.append(_Opened(open_photos(others, what=PICTURES)))
    source = PhotoSource(parts, leave_out, PICTURES)
    if not len(source):
        raise DataError("all style pictures are left out, need at least one: change `leave_out` or give more")
    return source


def names_digest(source: PhotoSource) -> str:
    """SHA-256 of the photos' names without their folders, by which a changed collection is noticed."""
    digest = hashlib.sha256()
    for index in range(len(source)):
        digest.update(Path(source.name(index)).name.encode("utf-8", "replace") + b"\0")
    return digest.hexdigest()
