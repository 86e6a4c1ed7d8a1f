"""Files anywhere that fsspec reaches: local folders, ``s3://``, ``gs://``, ``memory://`` ..., with patience.

What goes wrong for a moment is tried again, later and later, each time after a random part of the wait, so that many
workers do not come back at once. What stays wrong is told in a sentence without credentials.
"""

from __future__ import annotations

import errno
import os
import random
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from glob import has_magic
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple, TypeVar

from impasto.errors import OptionError, OutputError, load_library
from impasto.files import at_home, atomic_path, output_error, shown

__all__ = [
    "Entry",
    "Store",
    "TargetError",
    "UnfitNameError",
    "is_of_store",
    "is_passing",
    "is_url",
    "reaching",
    "retried",
    "without_secrets",
]

T = TypeVar("T")
ATTEMPTS: Final = 7
FIRST_WAIT, LONGEST_WAIT = 0.1, 10.0  # seconds, the first doubled each time
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
_LASTING = frozenset({*_FULL, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.EFBIG, errno.EINVAL, errno.ELOOP})
_CLIENTS = frozenset({"botocore", "aiobotocore", "aiohttp", "google", "gcsfs", "azure", "requests", "urllib3"})
_SINGLE_PUT = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "oci", "memory"})
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(::[a-z]+)?://")


class TargetError(OutputError):
    """The target cannot be written or read at all, so that the run has to stop; what is done stays done."""


class UnfitNameError(OutputError):
    """A name that the store cannot have, such as one that is too long: others may do."""


class Entry(NamedTuple):
    """A file in a store: its path below the store's root, with ``/`` between folders."""

    name: str
    size: int | None


class Store:
    """A folder, local or at an address of fsspec. Can be sent to other processes.

    Args:
        url: a path or an address; credentials are the store's own affair (its environment, its configuration).

    Attributes:
        url: as given, whole if it is a path, without credentials.
        is_local: whether it is a folder of this machine.
    """

    def __init__(self, url: str | os.PathLike[str]) -> None:
        fsspec = load_library("fsspec", "bulk", "painting in bulk")
        text = os.fspath(url)
        if not text:
            raise OptionError("the name of a folder is empty: write . for the folder you are in")
        try:
            if is_url(text):
                self._fs, root = fsspec.core.url_to_fs(text, use_listings_cache=False)
            else:  # fsspec would take a folder's name with "::" in it for two addresses
                text = root = str(at_home(text).absolute())
                self._fs = fsspec.filesystem("file")
        except (ValueError, ImportError) as error:
            raise OptionError(f"{without_secrets(text)}: cannot be opened ({error})") from error
        protocol = self._fs.protocol
        self._kinds = {protocol} if isinstance(protocol, str) else set(protocol)
        self.root = str(root).rstrip("/")
        self.url = without_secrets(text).rstrip("/") or "/"
        self.is_local = "file" in self._kinds

    def __repr__(self) -> str:
        return f"Store({self.url!r})"

    def path(self, name: str = "") -> str:
        """As the file system itself calls a file."""
        return f"{self.root}/{name}" if name else self.root or "/"

    def shown(self, name: str) -> str:
        """As messages call a file."""
        return shown(f"{self.url}/{name}" if name else self.url)

    def overlaps(self, other: Store) -> bool:
        """Whether one lies within the other, or both are one."""
        if self._kinds != other._kinds:
            return False
        mine, others = (f"{os.path.realpath(one.root) if one.is_local else one.root}/" for one in (self, other))
        return mine.startswith(others) or others.startswith(mine)

    # -- reading --------------------------------------------------------------------------------------------

    def read(self, name: str) -> bytes:
        """A whole file. FileNotFoundError if it is not there, OSError if it cannot be read."""
        return bytes(retried(lambda: self._fs.cat_file(self.path(name))))

    def read_part(self, name: str, offset: int, size: int) -> bytes:
        """`size` bytes of a file from `offset`."""
        return bytes(retried(lambda: self._fs.cat_file(self.path(name), start=offset, end=offset + size)))

    def fetch(self, name: str, to: Path) -> None:
        """Copy a file to this machine."""
        retried(lambda: self._fs.get_file(self.path(name), str(to)))

    def open(self, name: str) -> BinaryIO:
        """A file to read, at any place."""
        found: BinaryIO = retried(lambda: self._fs.open(self.path(name), "rb"))
        return found

    def exists(self, name: str) -> bool:
        """Whether there is such a file.

        Not by fsspec's own `isfile`: that says no whatever goes wrong.
        """
        path = self.path(name)
        if self.is_local:
            return os.path.isfile(path)  # noqa: PTH113
        try:
            return bool(retried(lambda: self._fs.info(path))["type"] == "file")
        except (FileNotFoundError, NotADirectoryError):
            return False

    def size(self, entry: Entry) -> int:
        """Bytes of a file that was listed."""
        return entry.size if entry.size is not None else int(retried(lambda: self._fs.size(self.path(entry.name))))

    def is_folder(self, name: str = "") -> bool:
        """Whether there is such a folder, or anything below it."""
        return bool(retried(lambda: self._fs.isdir(self.path(name))))

    def files(self, folder: str = "", *, hidden: bool = False, depth: int | None = None) -> Iterator[Entry]:
        """All files below a folder, folder by folder; those that begin with a dot are left out unless `hidden`.

        `depth` is how many folders and names a path may have at most. A folder that is not there has none. Links are
        followed.
        """
        open_ends, seen = [folder], set[str]()
        while open_ends:
            here = open_ends.pop()
            if self.is_local:
                if (real := os.path.realpath(self.path(here))) in seen:  # a link back up would go round for ever
                    continue
                seen.add(real)
            for name, is_folder, size in retried(lambda here=here: self._listed(here)):  # type: ignore[misc]
                if name.startswith(".") and not hidden:
                    continue
                below = f"{here}/{name}" if here else name
                if is_folder:
                    if depth is None or below.count("/") + 1 < depth:
                        open_ends.append(below)
                else:
                    yield Entry(below, size)

    def _listed(self, folder: str) -> Iterator[tuple[str, bool, int | None]]:
        """(name, whether it is a folder, size) of what lies in a folder.

        Of a local one without sizes: a million of fsspec's descriptions take a gigabyte, and for it a link to a file
        is none.
        """
        path = self.path(folder)
        if self.is_local:
            return _scanned(path)
        try:
            rows = self._fs.ls(path, detail=True)
        except FileNotFoundError:
            return iter(())
        return (
            (row["name"].rstrip("/").rpartition("/")[2], row["type"] == "directory", row.get("size"))
            for row in rows
            if row["name"].rstrip("/") != path.rstrip("/")
        )

    # -- writing --------------------------------------------------------------------------------------------

    def put(self, name: str, data: bytes) -> None:
        """Write a file whole or not at all. TargetError if that cannot be."""
        path = self.path(name)
        with self._telling(name):
            if self.is_local:
                with atomic_path(path, make_folders=True) as temporary:
                    temporary.write_bytes(data)
            elif self._kinds & _SINGLE_PUT:
                retried(lambda: self._fs.pipe_file(path, data))
            else:
                self._by_renaming(path, lambda temporary: self._fs.pipe_file(temporary, data))

    def put_file(self, file: Path, name: str) -> None:
        """Move a file of this machine there, whole or not at all; a local one must be on the same file system."""
        path = self.path(name)
        with self._telling(name):
            if self.is_local:
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                file.replace(path)
                return
            if self._kinds & _SINGLE_PUT:
                retried(lambda: self._fs.put_file(str(file), path))
            else:
                self._by_renaming(path, lambda temporary: self._fs.put_file(str(file), temporary))
        file.unlink()

    def append(self, name: str, data: bytes) -> None:
        """Add to the end of a local file, which is made if need be."""
        with self._telling(name):
            try:
                handle = os.open(self.path(name), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            except FileNotFoundError:
                self.make_folder(name.rpartition("/")[0])
                handle = os.open(self.path(name), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            try:
                if os.write(handle, data) < len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            finally:
                os.close(handle)

    def delete(self, name: str) -> None:
        """Remove a file; one that is not there does no harm."""
        with self._telling(name), suppress(FileNotFoundError):
            retried(lambda: self._fs.rm_file(self.path(name)))

    def make_folder(self, name: str = "") -> None:
        """Make a local folder if need be; other stores have none, or make them as they go."""
        if self.is_local:
            with self._telling(name):
                Path(self.path(name)).mkdir(parents=True, exist_ok=True)

    def missing_folders(self) -> list[Path]:
        """The store's own folder and those above it that are not there, the deepest first; of a local one."""
        root = Path(self.root or "/")
        return [one for one in (root, *root.parents) if not one.exists()] if self.is_local else []

    def prune(self, folder: str, others: Iterable[Path] = ()) -> None:
        """Remove a local folder, those within it and these others as far as they are empty."""
        if self.is_local:
            within = [Path(place) for place, _, _ in os.walk(self.path(folder), topdown=False)]
            for place in (*within, *others):
                with suppress(OSError):
                    place.rmdir()

    def clear(self, folder: str) -> None:
        """Remove a folder with all that is in it; one that is not there does no harm."""
        if self.is_local:
            shutil.rmtree(self.path(folder), ignore_errors=True)
            return
        names = [entry.name for entry in self.files(folder, hidden=True)]
        if names and self._kinds & _SINGLE_PUT and not has_magic(self.root):  # which fsspec would take for a pattern
            with self._telling(folder), suppress(FileNotFoundError):
                retried(lambda: self._fs.rm([self.path(name) for name in names]))  # many at once
            return
        for name in names:
            self.delete(name)

    def _by_renaming(self, path: str, write: Callable[[str], Any]) -> None:
        folder, _, last = path.rpartition("/")
        temporary = f"{folder}/.impasto-{os.urandom(8).hex()}-{last[-40:]}"

        def once() -> None:
            self._fs.makedirs(folder, exist_ok=True)
            try:
                write(temporary)
                self._fs.mv(temporary, path)
            except BaseException:
                with suppress(Exception):
                    self._fs.rm_file(temporary)
                raise

        retried(once)

    @contextmanager
    def _telling(self, name: str) -> Iterator[None]:
        """Turns what goes wrong inside, while something is written, into a `TargetError`."""
        shown_as = self.shown(name)
        with reaching(shown_as):
            try:
                yield
            except TargetError:
                raise
            except OutputError as error:
                if isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.ENAMETOOLONG:
                    raise UnfitNameError(_too_long(shown_as)) from error
                raise TargetError(str(error)) from error
            except OSError as error:
                if error.errno == errno.ENAMETOOLONG:
                    raise UnfitNameError(_too_long(shown_as)) from error
                if isinstance(error, FileNotFoundError) and not error.errno:
                    raise TargetError(f"{shown_as}: there is no such bucket or folder; make it first") from error
                if error.errno in _LASTING:
                    raise TargetError(str(output_error(shown_as, error))) from error
                if isinstance(error, PermissionError):
                    raise TargetError(f"{shown_as}: the store allows no writing here; check your rights") from error
                raise


@contextmanager
def reaching(name: str) -> Iterator[None]:
    """Turns what a store raises inside, its client's own errors too, into a `TargetError` that names it so."""
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (*_LASTING, errno.ENOTDIR, errno.EISDIR):
            raise TargetError(str(output_error(name, error))) from error
        if isinstance(error, PermissionError):
            raise TargetError(f"{name}: the store allows no access ({_told(error)}); check your rights") from error
        if is_of_store(error):
            raise TargetError(f"{name}: cannot be reached ({_told(error)}); run again when it can") from error
        raise


def _too_long(name: str) -> str:
    return f"{name}: the name is too long for this store; give the picture a shorter `id` in a manifest"


def retried(call: Callable[[], T]) -> T:
    """What the call gives, tried up to seven times as long as it fails in a way that may pass, over half a minute."""
    wait = FIRST_WAIT
    for _ in range(ATTEMPTS - 1):
        try:
            return call()
        except Exception as error:
            if not is_passing(error):
                raise
        time.sleep(random.uniform(wait / 4, wait))
        wait = min(2 * wait, LONGEST_WAIT)
    return call()


def is_passing(error: BaseException) -> bool:
    """Whether what a store raises may be better in a moment."""
    if isinstance(error, OSError):
        lasting = (FileNotFoundError, FileExistsError, PermissionError, IsADirectoryError, NotADirectoryError)
        return not isinstance(error, lasting) and error.errno not in _LASTING
    return is_of_store(error) and "credential" not in type(error).__name__.lower()


def is_of_store(error: BaseException) -> bool:
    """Whether a store or its client raises this."""
    return isinstance(error, OSError) or type(error).__module__.partition(".")[0] in _CLIENTS


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {without_secrets(shown(str(error).partition(chr(10))[0]))[:200]}"


def is_url(text: str) -> bool:
    """Whether it is an address such as ``s3://bucket/folder``, not a path."""
    return "://" in text and _URL.match(text) is not None


def without_secrets(text: str) -> str:
    """The same without user and password before a host, and without what follows a question mark in an address.

    >>> without_secrets("ftp://me:secret@host/a.jpg"), without_secrets("https://host/a.jpg?X-Amz-Signature=12")
    ('ftp://host/a.jpg', 'https://host/a.jpg')
    """
    if "://" not in text:
        return text
    text = re.sub(r"(://)[^/@\s]+@", r"\1", text)
    return re.sub(r"(https?://[^?\s]+)\?\S*", r"\1", text)


def _scanned(path: str) -> Iterator[tuple[str, bool, int | None]]:
    try:
        with os.scandir(path) as found:
            for entry in found:
                is_folder = entry.is_dir()
                if is_folder or entry.is_file():
                    yield entry.name, is_folder, None
    except FileNotFoundError:
        return
