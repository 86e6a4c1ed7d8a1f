"""Files fetched over HTTP: resumed where they stopped, checked by SHA-256, moved into place whole."""

from __future__ import annotations

import contextlib
import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import filelock

from impasto.errors import OutputError, WeightsError
from impasto.files import sha256

__all__ = ["Progress", "download"]

CHUNK = 1 << 20
TIMEOUT = 30.0


@dataclass(frozen=True)
class Progress:
    """How far a download is: bytes on disk, and bytes in all where the server says so."""

    done: int
    total: int | None


def download(
    url: str, target: Path, accepts: Callable[[str], bool], *, timeout: float = TIMEOUT
) -> Generator[Progress, None, None]:
    """Fetch ``url`` into ``target``; to cancel, close the generator.

    What arrived is kept as ``target.part`` whenever the transfer stops early, and the next call goes on from
    there if the server can (HTTP range requests), from the start if it cannot.

    Args:
        url: where the file is.
        target: where it shall be; its folder is made if need be.
        accepts: says whether a SHA-256 (64 hexadecimal digits) is the file's.
        timeout: seconds of silence after which the transfer counts as stopped.

    Raises:
        WeightsError: no connection, an HTTP error, a transfer that stops early, wrong content (which is
            deleted), or another process that is fetching the same file.
        OutputError: the folder cannot be written or the disk is full.
    """
    part = target.with_name(f"{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _only_one(target):
            yield from _receive(url, target, part, timeout)
            _accept(url, part, target, accepts)
    except OSError as error:  # those of the network were caught where they arose
        raise OutputError(f"{part}: cannot be written: {error.strerror or error}") from error


@contextlib.contextmanager
def _only_one(target: Path) -> Iterator[None]:
    lock = filelock.FileLock(target.with_name(f"{target.name}.lock"), timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise WeightsError(f"{target.name} is being fetched by another process: wait for that one") from None
    try:
        yield
    finally:
        lock.release()


def _receive(url: str, target: Path, part: Path, timeout: float) -> Iterator[Progress]:
    """Bring ``part`` to its full length."""
    have = part.stat().st_size if part.exists() else 0
    response, done, total = _request(url, target, have, timeout)
    if response is None:  # the server has nothing beyond what is here
        yield Progress(done, total)
        return
    with response, part.open("r+b" if done else "wb") as handle:
        handle.seek(done)
        while True:
            yield Progress(done, total)
            try:
                chunk = response.read(CHUNK)
                stopped = ""
            except (OSError, http.client.HTTPException) as error:
                chunk, stopped = b"", f" ({_reason(error)})"
            if not chunk:
                break
            handle.write(chunk)
            done += len(chunk)
    if stopped or (total is not None and done < total):
        of = "" if total is None else f" of {total / 1e6:.1f}"
        raise WeightsError(
            f"{url}: the transfer stopped after {done / 1e6:.1f}{of} MB{stopped}:"
            " run the same command again to go on from there"
        )


def _request(
    url: str, target: Path, have: int, timeout: float
) -> tuple[http.client.HTTPResponse | None, int, int | None]:
    """Ask for what comes after the first ``have`` bytes.

    Returns:
        the open response, the position its first byte has in the file, and the file's length if known;
        the response is None if the file is exactly ``have`` bytes long.
    """
    headers = {"User-Agent": "impasto"} | ({"Range": f"bytes={have}-"} if have else {})
    request = urllib.request.Request(url, headers=headers)
    try:
        response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and have:  # nothing from there on: finished, or not a part of this file
            total = _range(error.headers.get("Content-Range"))[1]
            return (None, have, total) if total == have else _request(url, target, 0, timeout)
        raise WeightsError(f"{url}: the server answers {error.code} {error.reason}; {_by_hand(target)}") from None
    except (OSError, http.client.HTTPException) as error:
        raise WeightsError(f"{url}: no connection ({_reason(error)}); {_by_hand(target)}") from error
    if response.status == 206:
        start, total = _range(response.headers.get("Content-Range"))
        if start == have:
            return response, have, total
        response.close()
        return _request(url, target, 0, timeout)
    length = response.headers.get("Content-Length")
    return response, 0, int(length) if length else None


def _range(header: str | None) -> tuple[int | None, int | None]:
    """First byte and total length in a Content-Range header: ``bytes 5-9/10``, ``bytes */10``."""
    match = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(?:(\d+)|\*)", (header or "").strip())
    if match is None:
        return None, None
    start, total = match.groups()
    return (None if start is None else int(start)), (None if total is None else int(total))


def _accept(url: str, part: Path, target: Path, accepts: Callable[[str], bool]) -> None:
    digest = sha256(part)
    if not accepts(digest):
        part.unlink()
        raise WeightsError(
            f"{url}: what arrived is not {target.name} (its SHA-256 is {digest}) and was deleted; {_by_hand(target)}"
        )
    part.replace(target)


def _by_hand(target: Path) -> str:
    return f"get the file another way, for instance on another machine, and put it at {target}"


def _reason(error: BaseException) -> str:
    """The readable part of an error: urllib wraps those of the system."""
    inner = getattr(error, "reason", error)
    return getattr(inner, "strerror", None) or str(inner) or type(inner).__name__
