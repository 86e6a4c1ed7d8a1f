"""Several photos painted one after another, as is chosen, and put into a ZIP."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from impasto.errors import DataError, ImpastoError
from impasto.imaging.naming import is_photo
from impasto.studio.page.controls import output_name
from impasto.studio.page.desk import plain_name
from impasto.studio.page.events import names_in_order, request_without_masks

if TYPE_CHECKING:
    from impasto.studio.page.desk import Desk
    from impasto.studio.page.events import Studio

__all__ = ["paint_several"]

ARCHIVE: Final = "paintings.zip"
KEPT: Final = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff")  # formats that a painting gets from its photo


def paint_several(studio: Studio, desk: Desk, photos: Sequence[Any]) -> Iterator[dict[str, Any]]:
    """Paint files as is chosen on the desk; yields what is to be shown. What fails stops no other."""
    files = [Path(str(photo)) for photo in photos]
    rows = [{"name": plain_name(file.name), "state": "waits", "told": "waits"} for file in files]
    shown: dict[str, Any] = {"rows": rows, "status": "", "problem": ""}
    try:
        yield from _paint(studio, desk, files, shown)
    except Exception as error:  # noqa: BLE001  as in `blocks`: the page says so and goes on
        studio.told(desk, error)
        yield {**shown, "status": "", "problem": desk.view["problem"]}


def _paint(studio: Studio, desk: Desk, files: Sequence[Path], shown: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if not files:
        raise DataError("there are no photos yet: drop some, or add a folder")
    if desk.job is not None:
        raise DataError("something is being painted already: wait for it, or stop it")
    controls = desk.controls
    if controls is None:
        raise DataError("choose a style under Paint first")
    request, rows = request_without_masks(controls, desk), shown["rows"]
    names = names_in_order([_painted_name(file, controls, desk) for file in files])
    desk.stopping = False
    archive, painted = desk.place(ARCHIVE), 0
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as collected:
        for place, (file, name) in enumerate(zip(files, names, strict=True)):
            if desk.stopping:
                rows[place] |= {"state": "left", "told": "not painted"}
                continue
            for row in _one(studio, desk, file, name, request, collected):
                rows[place] |= row
                yield {**shown, "status": f"{painted} of {len(files)} painted"}
            painted += rows[place]["state"] == "done"
            yield {**shown, "status": f"{painted} of {len(files)} painted"}
    if not painted:
        shutil.rmtree(archive.parent)
        yield {**shown, "status": "Nothing was painted."}
        return
    what = "Stopped: " if desk.stopping else ""
    saved = {"file": str(archive), "name": ARCHIVE, "n": studio.number()}
    yield {**shown, "status": f"{what}{painted} of {len(files)} painted, in {ARCHIVE}.", "saved": saved}


def _one(
    studio: Studio, desk: Desk, file: Path, name: str, request: Any, collected: zipfile.ZipFile
) -> Iterator[dict[str, str]]:
    """Paint one into the archive; yields what to tell of it."""
    output = desk.place(name)
    try:
        if not is_photo(file.name):
            yield {"state": "failed", "told": "is no picture"}
            return
        for update in studio.painter.paint(desk, file, request, output):
            share = "" if update.share is None else f" {update.share:.0%}"
            yield {"state": "works", "told": f"{update.label}{share}"}
        if output.exists():
            collected.write(output, name)
            yield {"state": "done", "told": name}
        else:
            yield {"state": "left", "told": "stopped"}
    except ImpastoError as error:
        said = desk.plain(error).replace(f"{file.parent}/", "")
        yield {"state": "failed", "told": said}
    except RuntimeError:
        if not desk.stopping:  # a job that was closed before it began says so by this
            raise
        yield {"state": "left", "told": "stopped"}
    finally:
        shutil.rmtree(output.parent, ignore_errors=True)


def _painted_name(file: Path, controls: Any, desk: Desk) -> str:
    suffix = file.suffix.lower()
    return f"{output_name(plain_name(file.name), controls, desk)}{suffix if suffix in KEPT else '.png'}"
