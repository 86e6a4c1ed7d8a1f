"""onnxruntime-web, which runs our networks in a browser: found, checked, and laid ready to be served.

It comes from npm and is no part of our sources. It is looked for, in this order: where the caller says; in the package,
where `scripts/vendor` puts it before a wheel is built; in the user's cache; at npm, by its own program.

What is large is served gzipped and unpacked by the page: not every server compresses, and it is a quarter of the size.
Here it is kept as xz has it, which is less again, and which no browser unpacks.
"""

from __future__ import annotations

import gzip
import hashlib
import lzma
import os
import shutil
import subprocess
import tarfile
import tempfile
import zlib
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Final

import platformdirs

from impasto.errors import DataError, OutputError
from impasto.files import at_home, atomic_path

__all__ = ["PACKED", "VENDOR", "VERSION", "WASM", "WEBGPU", "find_runtime", "vendor"]

VERSION: Final = "1.30.0"
WASM: Mapping[str, str] = MappingProxyType(
    {
        "ort.wasm.min.mjs": "219e6a1fc8a9938268d18efca3c91d310bd2f4a59bbd13744df5b2b7fc6cee3b",
        "ort-wasm-simd-threaded.mjs": "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b",
        "ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
    }
)
"""What WebAssembly needs: file of the package's folder `dist` -> its SHA-256."""
WEBGPU: Mapping[str, str] = MappingProxyType(
    {
        "ort.jspi.min.mjs": "bc57179d923fda2d88d4a395359c8df44399dde087bf9ff44fc0e40ab398e4d9",
        "ort-wasm-simd-threaded.jspi.mjs": "270e2c6da9f297239d301d329782b6446641cb1e16a77967690adcfca35f3268",
        "ort-wasm-simd-threaded.jspi.wasm": "a54c76f86b0f0d9572380cf1c6292a7b3903716ffcbcd6b0e5c7050bf430eb93",
    }
)
"""What WebGPU needs, by the build that waits without being rewritten for it: 17 MB, not 27."""
NOTICES: Final = "ThirdPartyNotices.txt"
VENDOR: Final = Path(__file__).resolve().parent / "vendor"
PACKED: Final = ".gz"  # as it is served
KEPT: Final = ".xz"
PATIENCE: Final = 300  # s that npm may take

Files = dict[str, bytes]


def find_runtime(source: str | os.PathLike[str] | None = None) -> Files:
    """The files of the runtime, as they are served: name -> content. Those for WebGPU may be missing.

    Args:
        source: a folder, the npm package onnxruntime-web unpacked; ``"npm"`` gets it from there even if a copy came
            with impasto; None is whichever is at hand.

    Raises:
        DataError: it is nowhere, or not what it should be.
    """
    found = _plain(source)
    return {
        _served(name): content if _served(name) == name else gzip.compress(content, 9, mtime=0)
        for name, content in found.items()
    }


def _plain(source: str | os.PathLike[str] | None) -> Files:
    """As `find_runtime`, unpacked and by the names that npm's package has."""
    if source is not None and source != "npm":
        return _from_folder(at_home(source))
    cache = platformdirs.user_cache_path("impasto") / f"onnxruntime-web-{VERSION}"
    folders = (cache,) if source == "npm" else (VENDOR, cache)
    for folder in folders:
        if _holds(folder, WASM) and (source is None or _holds(folder, WEBGPU)):
            return _from_folder(folder)
    found = _from_npm()
    try:
        _store(found, cache)
    except OutputError:  # then it is fetched again the next time
        return found
    return found


def vendor(folder: Path = VENDOR, *, source: str | os.PathLike[str] = "npm", webgpu: bool = False) -> list[Path]:
    """Lay the runtime ready in a folder, that of the package if none is named; gives the files.

    Raises:
        DataError, OutputError: as from `find_runtime`, or the folder cannot be written.
    """
    names = {*WASM, *(WEBGPU if webgpu else ()), NOTICES}
    return _store({name: content for name, content in _plain(source).items() if name in names}, folder)


def _served(name: str) -> str:
    """What a file is called where it is served."""
    return name + PACKED if name.endswith(".wasm") else name


def _kept(name: str) -> str:
    """What a file is called where it is kept."""
    return name + KEPT if name.endswith(".wasm") or name == NOTICES else name


def _holds(folder: Path, wanted: Mapping[str, str]) -> bool:
    return all(any((folder / form).is_file() for form in (_kept(name), _served(name))) for name in wanted)


def _from_folder(folder: Path) -> Files:
    """From an unpacked npm package, its `dist`, or what `vendor` wrote."""
    for place in (folder / "dist", folder / "package" / "dist", folder):
        files = {
            path.name: path.read_bytes()
            for name in (*WASM, *WEBGPU, NOTICES)
            for path in (place / name, place / (name + KEPT), place / (name + PACKED))
            if path.is_file()
        }
        if any(form in files for name in WASM for form in (name, _kept(name), _served(name))):
            return _checked(files, str(folder))
    raise DataError(
        f"{folder}: no onnxruntime-web {VERSION} is in it: give the folder of that npm package, unpacked, as `runtime`"
    )


def _from_npm() -> Files:
    """From npm, by its own program."""
    npm = shutil.which("npm")
    if npm is None:
        raise DataError(
            f"onnxruntime-web {VERSION} did not come with this impasto, and npm is not here to get it: install npm, or "
            "give that package, unpacked, as `runtime`"
        )
    with tempfile.TemporaryDirectory(prefix="impasto-") as folder:
        command, quiet = [npm, "pack", f"onnxruntime-web@{VERSION}"], os.environ | {"npm_config_loglevel": "error"}
        try:
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
                timeout=PATIENCE, env=quiet,
            )  # fmt: skip
            failed = done.returncode != 0
            told = (done.stderr.strip().splitlines() or ["it said nothing"])[0]
        except subprocess.TimeoutExpired:
            failed, told = True, f"nothing came in {PATIENCE} s"
        archives = list(Path(folder).glob("*.tgz"))
        if failed or not archives:
            raise DataError(
                f"npm could not get onnxruntime-web {VERSION} ({told}): give that package, unpacked, as `runtime`"
            )
        return _checked(_unpacked(archives[0]), f"onnxruntime-web {VERSION} from npm")


def _unpacked(archive: Path) -> Files:
    """What we need of npm's archive; nothing of it is written anywhere."""
    found = {}
    with tarfile.open(archive, "r:gz") as members:
        for member in members:
            name = member.name.removeprefix("package/dist/")
            if name in WASM or name in WEBGPU:
                content = members.extractfile(member)
                found[name] = content.read() if content is not None else b""
    return found


def _checked(files: Files, where: str) -> Files:
    """The files unpacked, if they are what they should be: WASM all, WEBGPU all or none."""
    found: Files = {}
    for wanted, needed in ((WASM, True), (WEBGPU, False)):
        part = {}
        for name, digest in wanted.items():
            content = _content(name, files, where)
            if content is None:
                break
            if hashlib.sha256(content).hexdigest() != digest:
                raise DataError(f"{where}: {name} is not that of onnxruntime-web {VERSION}: get that version")
            part[name] = content
        if len(part) == len(wanted):
            found |= part
        elif needed:
            missing = next(name for name in wanted if name not in part)
            raise DataError(f"{where}: {missing} of onnxruntime-web {VERSION} is missing: get that package whole")
    notices = _content(NOTICES, files, where) or _notices()
    return found | ({NOTICES: notices} if notices else {})


def _content(name: str, files: Files, where: str) -> bytes | None:
    """A file unpacked; None where there is none, in no form."""
    try:
        if name + KEPT in files and name not in files:
            return lzma.decompress(files[name + KEPT])
        if name + PACKED in files and name not in files:
            return gzip.decompress(files[name + PACKED])
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise DataError(f"{where}: onnxruntime-web is damaged ({error}): get version {VERSION} again") from error
    return files.get(name)


def _notices() -> bytes | None:
    """The licences of what the runtime is made of: npm's package lacks them, Python's onnxruntime brings them."""
    spec = find_spec("onnxruntime")
    path = None if spec is None or spec.origin is None else Path(spec.origin).parent / NOTICES
    return path.read_bytes() if path is not None and path.is_file() else None


def _store(files: Files, folder: Path) -> list[Path]:
    """Write files in the form in which they are kept; gives their paths."""
    paths = []
    for name, content in files.items():
        kept = _kept(name)
        with atomic_path(folder / kept, make_folders=True) as temporary:
            temporary.write_bytes(content if kept == name else lzma.compress(content, preset=9 | lzma.PRESET_EXTREME))
        for form in {name, name + PACKED} - {kept}:  # of earlier versions
            (folder / form).unlink(missing_ok=True)
        paths.append(folder / kept)
    return paths
