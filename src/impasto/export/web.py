"""A folder of static files that paints in a browser: the page, our networks, their runtime. Any server can serve it."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from impasto.errors import OutputError, WeightsError
from impasto.export.runtime import PACKED, VERSION, WASM, WEBGPU, find_runtime
from impasto.files import at_home, check_named, output_error, shown
from impasto.imaging import noise
from impasto.light.graphs import Graph
from impasto.light.pieces import PIECES, join
from impasto.stylizer.strokes import GROUND

__all__ = ["FACTS", "WebFolder", "export_web", "policy"]

PAGE: Final = Path(__file__).resolve().parent / "page"
WEIGHTS: Final = Path(__file__).resolve().parents[1] / "weights"
NETWORKS: Final = {
    "gallery": WEIGHTS / f"gallery{PIECES}",
    "gallery-wasm": WEIGHTS / "web" / f"gallery{PIECES}",
    "universal": WEIGHTS / f"universal{PIECES}",
    "universal-wasm": WEIGHTS / "web" / f"universal{PIECES}",
    "universal-style": WEIGHTS / f"universal-style{PIECES}",
}
"""The graphs that the page has, and where: those for WebAssembly are made by `export.winograd`."""
FACTS: Final = "gallery.json"
GROUND_FILE: Final = "ground.json"
WORKER: Final = "sw.js"


class WebFolder(NamedTuple):
    """A folder that was written.

    Attributes:
        path: where it is.
        webgpu: whether it has what WebGPU needs.
        size: bytes of all files.
        visit: bytes of the files that a visit fetches which paints by WebAssembly in styles of the gallery.
    """

    path: Path
    webgpu: bool
    size: int
    visit: int


def export_web(
    output: str | os.PathLike[str], *, runtime: str | os.PathLike[str] | None = None, force: bool = False
) -> WebFolder:
    """Write the folder, whole or not at all.

    Args:
        output: the folder; it may be there if it is empty.
        runtime: where onnxruntime-web comes from, see `find_runtime`.
        force: replace a folder that this function wrote before.

    Raises:
        OutputError: the folder exists, or cannot be written.
        DataError: onnxruntime-web cannot be had.
        WeightsError: the package lacks a network.
    """
    check_named("output", output)
    target = Path(os.path.realpath(at_home(output)))
    _check_target(target, force=force)
    files = _content(find_runtime(runtime))
    with _new_folder(target) as folder:
        for name, content in files.items():
            place = folder / name
            place.parent.mkdir(exist_ok=True)
            place.write_bytes(content)
    facts = json.loads(files[FACTS])
    fetched = {name for name in files if name in facts["page"] or name in facts["gallery"]}
    sizes = {name: len(content) for name, content in files.items()}
    visit = sum(sizes[name] for name in fetched | {WORKER})
    return WebFolder(target, facts["webgpu"], sum(sizes.values()), visit)


def _check_target(target: Path, *, force: bool) -> None:
    name = shown(target)
    if not target.exists():
        return
    if not target.is_dir():
        raise OutputError(f"{name}: is a file, and the page is a folder: choose another name")
    if not any(target.iterdir()):
        return
    if not force:
        raise OutputError(f"{name} exists: choose another name, or say that it is to be replaced with `force`")
    if not (target / FACTS).is_file():
        raise OutputError(f"{name}: holds something else than this page, which is not replaced: choose another name")


@contextmanager
def _new_folder(target: Path) -> Iterator[Path]:
    """A folder beside the target, which takes its place when all went well."""
    made = target.with_name(f".impasto-{secrets.token_hex(8)}")
    old = made.with_name(f"{made.name}-old")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        made.mkdir()
        yield made
        if target.exists():
            target.rename(old)
        made.rename(target)
    except OSError as error:
        raise output_error(target, error) from error
    finally:
        if old.exists() and not target.exists():
            old.rename(target)
        for folder in (made, old):
            shutil.rmtree(folder, ignore_errors=True)


def _content(runtime: dict[str, bytes]) -> dict[str, bytes]:
    """All files: name within the folder -> content."""
    page = {path.name: path.read_bytes() for path in sorted(PAGE.iterdir()) if path.is_file()}
    worker = page.pop(WORKER).decode()
    page[GROUND_FILE] = json.dumps(_ground(), sort_keys=True).encode()
    networks = {f"networks/{name}.onnx": _network(path) for name, path in NETWORKS.items()}
    served = {f"runtime/{name}": content for name, content in runtime.items()}
    description = Graph(NETWORKS["gallery"]).description
    pictures = {f"styles/{row['name']}.jpg": _thumbnail(row["name"]) for row in description["styles"]}
    own = [f"runtime/{name}{PACKED if name.endswith('.wasm') else ''}" for name in WASM]
    facts = {
        "runtime": VERSION,
        "licence": description["licence"],
        "webgpu": all(f"runtime/{name}" in served for name in WEBGPU if name.endswith(".mjs")),
        "styles": [
            {key: row.get(key) for key in ("name", "title", "artist", "year")}
            | {"thumbnail": f"styles/{row['name']}.jpg", "licence": description["licence"]}
            for row in description["styles"]
        ],
        "page": sorted([*page, FACTS]),
        "gallery": sorted([*pictures, "networks/gallery-wasm.onnx", *own]),
        "keep": sorted([*pictures, *networks, *own]),
    }
    page[FACTS] = json.dumps(facts, indent=1, sort_keys=True, ensure_ascii=False).encode()
    files = page | networks | served | pictures
    version = _version({**files, WORKER: worker.encode()})
    listed = json.dumps(["./", *facts["page"]])
    filled = worker.replace("PAGE_FILES", listed).replace("VERSION", version).replace("POLICY", policy())
    files[WORKER] = filled.encode()
    return files


def _ground() -> dict[str, object]:
    """What the page lays photos on, as `impasto stylize` does if nothing is said."""
    return {
        "strength": GROUND,
        "deviation": noise.DEVIATION,
        "grain": noise.GRAIN,
        "cell": noise.CELL,
        "around": noise.AROUND,
        "flat": [noise.FLAT, noise.LIVELY],
        "field": noise.FIELD,
        "blots": base64.b64encode(noise.blots().astype("<f4").tobytes()).decode(),
    }


def policy() -> str:
    """What the page may fetch and run: its own files. As it stands in the page, for those who send it as a header."""
    page = (PAGE / "index.html").read_text("utf-8")
    found = re.search(r'"Content-Security-Policy" content="([^"]+)"', page)
    return found[1] if found else "default-src 'none'"


def _network(path: Path) -> bytes:
    if not path.is_file():
        raise WeightsError(f"{path.name} belongs to the package, but {path} is missing: install impasto again")
    return join(path)[0]


def _thumbnail(style: str) -> bytes:
    path = WEIGHTS / "gallery" / f"{style}-thumbnail.jpg"
    if not path.is_file():
        raise WeightsError(f"{path.name} belongs to the package, but {path} is missing: install impasto again")
    return path.read_bytes()


def _version(files: dict[str, bytes]) -> str:
    """Twelve hexadecimal digits that change with any file."""
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(f"{name}\0{len(files[name])}\0".encode() + files[name])
    return digest.hexdigest()[:12]
