"""Several photos painted one after another, as is chosen, and put into a ZIP."""

from __future__ import annotations

import shutil
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from impasto.errors import DataError, ImpastoError
from impasto.imaging.naming import is_photo
from impasto.studio.page.controls import output_name
from impasto.studio.page.events import names_in_order, request_without_masks
from impasto.studio.page.painting import Update
from impasto.studio.service import BusyError

if TYPE_CHECKING:
    from impasto.studio.page.desk import Desk
    from impasto.studio.page.events import Studio

__all__ = ["paint_several", "waiting"]

ARCHIVE: Final = "paintings.zip"
LOOK: Final = 0.5  # seconds between looks whether to go on waiting
PATIENCE: Final = 5  # seconds at most before a server that is busy is asked again
KEPT: Final = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff")  # formats that a painting gets from its photo


def waiting(studio: Studio, desk: Desk, **shown: Any) -> dict[str, Any]:
    """What is to be shown of the photos that wait."""
    rows = [{"name": file.name, "state": "waits", "told": ""} for file in desk.waiting]
    return {"rows": rows, "status": "", "problem": "", "running": False, **shown, "n": studio.number()}


def paint_several(studio: Studio, desk: Desk) -> Iterator[dict[str, Any]]:
    """Paint the photos that wait as is chosen on the desk; yields what is to be shown. What fails stops no other."""
    shown = waiting(studio, desk)
    try:
        for changes in _paint(studio, desk, shown["rows"]):
            shown |= changes
            yield {**shown, "n": studio.number()}
    except Exception as error:  # noqa: BLE001  as in `blocks`: the page says so and goes on
        studio.told(desk, error)
        yield {**shown, "problem": desk.view["problem"], "running": False, "n": studio.number()}


def _paint(studio: Studio, desk: Desk, rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    files, controls = list(desk.waiting), desk.controls
    if not files:
        raise DataError("there are no photos yet: drop some, or choose a folder")
    if controls is None:
        raise DataError("choose a style under Paint first")
    if desk.stops is not None:
        raise DataError("something is being painted already: wait for it, or stop it")
    request = request_without_masks(controls, desk)
    names = names_in_order([_painted_name(file, controls, desk) for file in files])
    desk.stopping = False
    archive, painted = desk.new_archive(ARCHIVE), 0
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as collected:
        for row, file, name in zip(rows, files, names, strict=True):
            if desk.stopping:
                row |= {"state": "left", "told": "not painted"}
                continue
            for changes in _one(studio, desk, file, name, request, collected):
                row |= changes
                yield {"status": f"{painted} of {len(files)} painted", "running": True}
            painted += row["state"] == "done"
    what = "Stopped: " if desk.stopping else ""
    if not painted:
        yield {"status": "Stopped." if desk.stopping else "Nothing was painted.", "running": False}
        return
    saved = {"file": str(archive), "name": ARCHIVE, "n": studio.number()}
    yield {"status": f"{what}{painted} of {len(files)} painted, in {ARCHIVE}.", "saved": saved, "running": False}


def _one(
    studio: Studio, desk: Desk, file: Path, name: str, request: Any, collected: zipfile.ZipFile
) -> Iterator[dict[str, str]]:
    """Paint one into the archive; yields what to tell of it."""
    output = desk.place(name)
    try:
        if not is_photo(file.name):
            yield {"state": "failed", "told": "is no picture"}
            return
        for update in _patiently(studio, desk, file, request, output):
            share = "" if update.share is None else f" {update.share:.0%}"
            yield {"state": "works", "told": f"{update.label}{share}"}
        if output.exists():
            collected.write(output, name)
            yield {"state": "done", "told": name}
        else:
            yield {"state": "left", "told": "stopped"}
    except ImpastoError as error:
        yield {"state": "failed", "told": desk.plain(error)}
    finally:
        shutil.rmtree(output.parent, ignore_errors=True)


def _patiently(studio: Studio, desk: Desk, file: Path, request: Any, output: Path) -> Iterator[Update]:
    """As of `Painter.paint`, as soon as there is room: whoever leaves a list of photos alone wants all of them."""
    while not desk.stopping:
        try:
            yield from studio.painter.paint(desk, file, request, output)
            return
        except BusyError as error:
            if error.why == "stopping":
                raise
            by = time.monotonic() + min(error.retry_after, PATIENCE)
        while not desk.stopping and time.monotonic() < by:
            yield Update("Waiting: the server is busy")
            time.sleep(LOOK)


def _painted_name(file: Path, controls: Any, desk: Desk) -> str:
    suffix = file.suffix.lower()
    return f"{output_name(file.name, controls, desk)}{suffix if suffix in KEPT else '.png'}"
