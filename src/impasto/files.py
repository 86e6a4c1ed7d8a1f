"""Files that appear whole or not at all, files to work in, hashes, patterns of names, and names fit to be shown."""

from __future__ import annotations

import errno
import glob
import hashlib
import io
import os
import stat
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from impasto.errors import DataError, OptionError, OutputError, load_library

if TYPE_CHECKING:
    from filelock import BaseFileLock

__all__ = [
    "ScratchFile",
    "at_home",
    "atomic_path",
    "check_folder",
    "check_named",
    "expand_pattern",
    "is_pattern",
    "leave_unflushed",
    "lock_folder",
    "output_error",
    "remove_unfinished",
    "sha256",
    "shown",
    "split_pattern",
]

_DISK_TROUBLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}
_flushes = True  # whether files are flushed to the disk
_unfinished: set[Path] = set()  # temporary files of `atomic_path`


def check_named(option: str, path: object) -> None:
    """OptionError for an empty path, which would be the folder that one is in."""
    if isinstance(path, str | os.PathLike) and not os.fspath(path):
        raise OptionError(f"`{option}` is empty, need a path: write . for the folder you are in", option)


def leave_unflushed() -> None:
    """From now on this process does not wait until its files are on the disk: for one whose files are all temporary.

    They appear whole all the same. Where others write to the disk, that wait is long.
    """
    global _flushes
    _flushes = False


@contextmanager
def atomic_path(path: str | os.PathLike[str], *, make_folders: bool = False) -> Iterator[Path]:
    """A temporary path beside ``path`` to write to; it takes the place of ``path`` when all went well.

    The temporary file has the suffix of ``path``, is flushed to the disk before it is moved (but see
    `leave_unflushed`), and is removed on any error, Ctrl-C included. A new file gets the rights that the umask leaves,
    one that replaces another keeps the other's. Where ``path`` is a link, the file it points to is replaced.
    `make_folders` makes the folder it lies in, if need be.

    Raises:
        OutputError: the folder is missing or cannot be written, the disk is full, or ``path`` is a folder or a
            device. Other errors of the block pass through unchanged.
    """
    target = Path(os.path.realpath(path))
    if make_folders:
        _make_folder(target.parent, path)
    temporary = target.with_name(f".impasto-{os.urandom(8).hex()}{target.suffix[:16]}")
    try:
        mode = _mode_of(target)
        _unfinished.add(temporary)
        _create(temporary)
        yield temporary
        _flush(temporary)
        if mode is not None:
            temporary.chmod(mode)
        temporary.replace(target)
        _flush_folder(target.parent)
    except OSError as error:
        if not _concerns(error, temporary, target):
            raise
        raise output_error(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        _unfinished.discard(temporary)


def remove_unfinished() -> None:
    """Remove the temporary files of `atomic_path` that are being written, for a process that ends at once."""
    for path in tuple(_unfinished):
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _make_folder(folder: Path, path: str | os.PathLike[str]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(
            f"{shown(path)}: cannot be written, because its folder cannot be made ({reason}); write elsewhere"
        ) from error


def _concerns(error: OSError, *paths: Path) -> bool:
    """Whether an error is about the file being written, not about something else that the block does."""
    if isinstance(error.filename, str | bytes | os.PathLike):
        return os.fsdecode(error.filename) in {os.fsdecode(path) for path in paths}
    return error.errno in _DISK_TROUBLE


def _mode_of(target: Path) -> int | None:
    """The rights of the file that will be replaced, if any."""
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "not a regular file", str(target))
    return stat.S_IMODE(mode)


def _create(path: Path) -> None:
    # not tempfile: it makes files private (0600), and the umask can only be asked by changing it
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))


def _flush(path: Path) -> None:
    if not _flushes:
        return
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    """Make the new name itself durable, on systems where a folder can be opened."""
    if not _flushes:
        return
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


class ScratchFile:
    """A file that is read and written at any place, by plain reads and writes; made when first something is written.

    A mapped file would be read in whole pages and kept by the system in the process's resident memory, where a
    budget would have to count it.

    Args:
        folder: where it lies, without a name: it is gone when closed, or with the process, however that ends. None
            is the system's place for temporary files.
        path: instead of `folder`, a name: it stays, and what is in it already is kept.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None, *, path: Path | None = None) -> None:
        self.folder, self.path = Path(folder or tempfile.gettempdir()), path
        self._file: io.FileIO | None = None
        self._lock = threading.Lock()  # between finding the place and moving the bytes; Windows has no pread

    def write(self, place: int, data: memoryview) -> None:
        """Put bytes there; OutputError if the disk has no room."""
        self._move(place, data, write=True)

    def read(self, place: int, into: memoryview) -> None:
        """Fill `into` from there; EOFError if that was never written, DataError if a file with a name lost it."""
        self._move(place, into, write=False)

    def _move(self, place: int, data: memoryview, *, write: bool) -> None:
        try:
            with self._lock:
                file = self._open()
                file.seek(place)
                done = 0
                while done < len(data):  # a call moves at most 2 GiB
                    part = data[done:]
                    count = file.write(part) if write else file.readinto(part)
                    if not count:
                        raise self._too_short()
                    done += count
        except OSError as error:
            if self.path is not None:
                raise output_error(self.path, error) from error
            told = output_error(self.folder / "impasto", error)
            raise OutputError(f"{told}; the folder for temporary files is that of the variable TMPDIR") from error

    def check(self, size: int) -> None:
        """DataError where less is there than so many bytes, which were written once."""
        if size and (self.path is None or not self.path.is_file() or self.path.stat().st_size < size):
            raise self._too_short()

    def _too_short(self) -> Exception:
        if self.path is None:
            return EOFError("something is read that was never written")
        what = "ends too early" if self.path.is_file() and self.path.stat().st_size else "is missing"
        return DataError(f"{self.path}: {what}, so what was kept of this painting is damaged: begin it anew")

    def _open(self) -> io.FileIO:
        if self._file is None and self.path is not None:
            self._file = io.FileIO(self.path, "r+", opener=_create_or_open)
        elif self._file is None:
            self._file = tempfile.TemporaryFile(buffering=0, prefix="impasto-", dir=self.folder)  # noqa: SIM115
        return self._file

    def flush(self) -> None:
        """Make what was written durable."""
        if self._file is not None:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Let go of it; without a name it is gone."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _create_or_open(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CREAT, 0o666)


def output_error(path: str | os.PathLike[str], error: OSError) -> OutputError:
    """One sentence for a failed write."""
    name, folder = shown(path), shown(Path(path).parent)
    reason = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return OutputError(f"{name}: no room on the disk ({reason}); free some space or write elsewhere")
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EEXIST) and not Path(path).parent.is_dir():
        return OutputError(_no_folder(path, Path(path).parent))
    if error.errno == errno.ENOENT:  # in /proc and its like
        return OutputError(f"{name}: the folder {folder} takes no files; write elsewhere")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return OutputError(f"{name}: the folder {folder} cannot be written ({reason}); write elsewhere")
    return OutputError(f"{name}: cannot be written ({reason}); give the path of a plain file")


def at_home(path: str | os.PathLike[str]) -> Path:
    """A path, of which ~ at the beginning is the user's folder; as it is where nobody has that name."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def check_folder(path: str | os.PathLike[str]) -> None:
    """OutputError where the folder that a file is to be in is none, or cannot be written."""
    folder = Path(os.path.realpath(path)).parent
    if not folder.is_dir():
        raise OutputError(_no_folder(path, folder))
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{shown(path)}: the folder {shown(folder)} cannot be written; write elsewhere")


def _no_folder(path: str | os.PathLike[str], folder: Path) -> str:
    """The sentence for a file whose folder is not there, or is none."""
    nearest = next(place for place in (folder, *folder.parents) if os.path.lexists(place) or place == place.parent)
    if os.path.lexists(nearest) and not nearest.is_dir():
        return f"{shown(path)}: {shown(nearest)} is no folder; write elsewhere"
    return f"{shown(path)}: the folder {shown(folder)} does not exist; create it first"


def lock_folder(folder: Path, doing: str, *, extra: str) -> BaseFileLock:
    """Make a folder, if need be, and keep other processes out until the lock is released, or our end.

    Args:
        folder: which; its file ``.lock`` stays.
        doing: what is done there by one process at a time, as ``training``.
        extra: that installs what it takes.

    Raises:
        OutputError: another process does it there, or the folder cannot be made or written.
        MissingExtraError: filelock is not installed.
    """
    filelock, path = load_library("filelock", extra, doing), folder / ".lock"
    lock: BaseFileLock = filelock.FileLock(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        raise OutputError(f"{shown(folder)}: another process is {doing} there: wait for it, or stop it") from error
    except OSError as error:
        raise output_error(path, error) from error
    return lock


def sha256(path: Path) -> str:
    """The file's SHA-256 as 64 lower-case hexadecimal digits."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def shown(name: str | os.PathLike[str]) -> str:
    """A file name as a message may print it: control characters and undecodable bytes become escapes."""
    text = os.fsdecode(name)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def split_pattern(text: str | os.PathLike[str]) -> tuple[Path, str]:
    """What of a path exists as it is written, and the rest: ``My [best]/*.png`` -> (``My [best]``, ``*.png``).

    Brackets and wildcards are plain letters in the first part; in the rest they stand for something.
    """
    parts = Path(text).parts
    place, count = Path(), 0
    while count < len(parts) and os.path.lexists(place / parts[count]):
        place, count = place / parts[count], count + 1
    return place, str(Path(*parts[count:])) if count < len(parts) else ""


def is_pattern(text: str | os.PathLike[str]) -> bool:
    """Whether a name such as ``*.jpg`` stands for others; what exists as it is written stands for itself."""
    return glob.has_magic(split_pattern(text)[1])


def expand_pattern(text: str | os.PathLike[str], *, recursive: bool = False) -> list[Path]:
    """The files and folders that a pattern stands for, sorted; a part of it that exists is taken as it is written.

    `recursive` lets the part ``**`` stand for any folders, none included.
    """
    place, rest = split_pattern(text)
    return sorted(set(_expand(place, Path(rest).parts, recursive=recursive)), key=str)


def _expand(place: Path, parts: tuple[str, ...], *, recursive: bool) -> Iterator[Path]:
    if not parts:
        yield place
        return
    first, rest = parts[0], parts[1:]
    found = [place / first]
    if not os.path.lexists(found[0]):
        deep = recursive and first == "**"
        pattern = f"**{os.sep}" if deep and rest else first  # with more to come, folders alone
        found = [place / name for name in glob.glob(pattern, root_dir=place, recursive=recursive)]  # noqa: PTH207
        found += [place] if deep else []
    for path in found:
        yield from _expand(path, rest, recursive=recursive)
