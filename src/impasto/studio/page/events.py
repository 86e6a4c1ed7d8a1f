"""What happens when something is done on the page: a desk changes, and the page is told what to show.

The picture's part of the page gets one record, `view`, whole every time, so that nothing depends on the order in which
answers arrive: ``n`` grows, and the page leaves out what is older than what it has.
"""

from __future__ import annotations

import itertools
import logging
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from impasto.cli.options import Written
from impasto.errors import DataError, ImpastoError
from impasto.imaging.reading import read_header
from impasto.studio.page.controls import ALL, Controls, call_for, command_for, from_recipe, output_name
from impasto.studio.page.desk import Desk, Done
from impasto.studio.page.painting import FORMATS, Painter, Update
from impasto.stylizer.recipe import Recipe
from impasto.stylizer.request import StylizeRequest
from impasto.stylizer.route import gallery_styles

__all__ = ["Studio", "controls_of", "names_in_order", "request_without_masks"]

SAID: Final = Written(
    {"style": "style", "style_scale": "stroke size", "keep_colors": "keep the colours", "quality": "quality"}
    | {"size": "size", "mask": "mask", "strength": "strength"}
)
_numbers = itertools.count(1)
_log = logging.getLogger(__name__)


def controls_of(
    chosen: Any, strength: float, strokes: float, keep_colors: bool, quality: str, size: int | None
) -> Controls:
    """What the page's controls hold."""
    rows = chosen.get("chosen", []) if isinstance(chosen, Mapping) else []
    styles = tuple((str(row["id"]), max(0.01, float(row.get("weight", 1)))) for row in rows)
    return Controls(styles, float(strength), float(strokes), bool(keep_colors), quality, size)  # type: ignore[arg-type]


class Studio:
    """Does what the page asks for. Methods change a desk and give back what is to be shown."""

    def __init__(self, painter: Painter) -> None:
        self.painter = painter

    # -- what is shown --------------------------------------------------------------------------------------

    def view(self, desk: Desk, **changes: Any) -> dict[str, Any]:
        """The whole of what the picture's part of the page shows, with these changes, which stay."""
        with desk.lock:
            desk.view.update(changes)
            photo = desk.photo
            return {
                "photo": photo and {
                    "file": str(photo.shown), "name": photo.name, "width": photo.size[1], "height": photo.size[0],
                    "painted": photo.recipe is not None,
                },
                "after": None, "status": "", "problem": "", "progress": None, "saved": None,
                **desk.view,
                "targets": _targets(desk), "brushed": [*desk.masks, *_parts(desk)],
                "ready": desk.current is not None, "running": _is_running(desk),
                "further": _said(desk.further),
                "n": next(_numbers),
            }  # fmt: skip

    def palette(self, desk: Desk, controls: Controls) -> dict[str, Any]:
        """What the styles' part of the page shows."""
        own = [
            {"id": key, "title": painting.title, "file": str(painting.shown)}
            for key, painting in desk.paintings.items()
        ]
        chosen = [{"id": key, "weight": weight} for key, weight in controls.styles]
        return {"chosen": chosen, "own": own, "n": next(_numbers)}

    def history(self, desk: Desk) -> dict[str, Any]:
        """What the history shows."""
        rows = [
            {
                "title": done.title,
                "thumbnail": str(done.thumbnail),
                "told": f"{done.size[1]} \N{MULTIPLICATION SIGN} {done.size[0]} px, {done.seconds:.1f} s",
            }
            for done in desk.done
        ]
        return {"rows": rows}

    def number(self) -> int:
        """A number above all before."""
        return next(_numbers)

    def copies(self, desk: Desk) -> tuple[str, str]:
        """The command line and the Python call for what is chosen; empty while something is missing."""
        if desk.photo is None or desk.controls is None or not desk.controls.styles:
            return "", ""
        try:
            request = desk.controls.request(desk)
        except ImpastoError:
            return "", ""
        output = f"{output_name(desk.photo.name, desk.controls, desk)}.png"
        return command_for(request, desk.photo.name, output), call_for(request, desk.photo.name, output)

    # -- what is done ---------------------------------------------------------------------------------------

    def take_photo(self, desk: Desk, upload: Path, name: str) -> None:
        """A photo was dropped, pasted or chosen."""
        desk.stop()
        photo = desk.take_photo(upload, name)
        height, width = photo.size
        told = f"{photo.name}, {width} \N{MULTIPLICATION SIGN} {height} px."
        self._changed(desk, after=None, status=told, problem="", saved=None)

    def take_painting(self, desk: Desk, upload: Path, name: str, controls: Controls, *, mix: bool) -> Controls:
        """A painting was dropped as style; gives the controls with it."""
        key = desk.take_painting(upload, name)
        others = tuple(row for row in controls.styles if row[0] in desk.paintings and row[0] != key) if mix else ()
        found = Controls(**{**vars(controls), "styles": (*others, (key, 1.0))})
        self._changed(desk, problem="")
        return found

    def brush(self, desk: Desk, target: str, data_url: str) -> None:
        """A mask was brushed."""
        desk.set_mask(target, data_url)
        self._changed(desk, problem="")

    def choose(self, desk: Desk, controls: Controls) -> None:
        """Controls were moved."""
        if controls != desk.controls:
            desk.controls = controls
            self._changed(desk, problem="")

    def preview(self, desk: Desk, told: str = "") -> None:
        """Paint what is chosen, small, unless it is being painted at full size or was changed meanwhile.

        `told` is said before what there is to say of it.
        """
        photo, controls, number = desk.photo, desk.controls, desk.changes
        if photo is None or controls is None or not controls.styles or desk.stops is not None:
            return
        began = time.perf_counter()
        output = desk.place("preview.png")
        try:
            notes = self.painter.preview(desk, photo.small, controls.preview(desk), output)
        except BaseException:
            shutil.rmtree(output.parent, ignore_errors=True)
            raise
        desk.keep_preview(output)
        if number != desk.changes or desk.stops is not None:
            return
        took, (height, width) = time.perf_counter() - began, read_header(output).size
        status = f"Preview, {width} \N{MULTIPLICATION SIGN} {height} px in {took:.2f} s."
        if controls.quality != "draft" and any(key in desk.paintings for key, _ in controls.styles):
            status += f" Quality {controls.quality} shows when it is painted at full size."
        self.view(
            desk,
            after=str(output),
            status=" ".join(filter(None, [told, status, *notes])),
            problem="",
        )

    def paint(self, desk: Desk) -> Iterator[None]:
        """Paint at full size; the view changes at each step."""
        photo, controls, number = desk.photo, desk.controls, desk.changes
        if photo is None or controls is None:
            raise DataError("there is no photo yet: drop one, or choose a file")
        if _is_running(desk):
            return
        request = controls.request(desk)
        name = output_name(photo.name, controls, desk)
        output, began = desk.place(f"{name}.png"), time.monotonic()
        desk.stopping = False
        notes: list[str] = []
        self.view(desk, problem="", saved=None, progress={"label": "Getting ready", "share": None, "left": None})
        try:
            yield
            for update in self.painter.paint(desk, photo.path, request, output):
                notes += [update.note] if update.note and update.note not in notes else []
                self._progress(desk, update)
                yield
        finally:
            self.view(desk, progress=None)
            if not output.exists():
                shutil.rmtree(output.parent, ignore_errors=True)
        if not output.exists():
            self.view(desk, status="Stopped.")
            if number != desk.changes:
                self.preview(desk)
            return
        self._finish(desk, output, Done(output, name, output, photo.size, time.monotonic() - began, controls), number)
        self.view(desk, status=" ".join([desk.view["status"], *notes]))

    def save(self, desk: Desk, format: str, place: int | None = None) -> None:  # noqa: A002
        """Make a file for download: the painting of what is chosen, or one of the history; or a mask, or a part."""
        if format in FORMATS:
            done = desk.current if place is None else desk.done[place]
            if done is None:
                raise DataError("nothing is painted at full size yet: paint it first")
            file = done.path.with_suffix(f".{FORMATS[format]}")  # beside it, and goes with it
            if not file.exists():
                desk.act("convert", path=str(done.path), output=str(file))
        else:
            file = _brushed_file(desk, format)
        self.view(desk, saved={"file": str(file), "name": file.name, "n": next(_numbers)}, problem="")

    def take_settings(self, desk: Desk, recipe: Recipe) -> str:
        """Set the controls as a painted picture's recipe has them; gives a sentence on how far that went."""
        controls, notes = from_recipe(recipe, desk)
        desk.controls = controls
        self._changed(desk, problem="")
        missing = "; ".join(notes)
        told = f"The settings are set, but {missing}." if notes else "The settings of that painting are set."
        self.view(desk, status=told)
        return told

    def settings_of(self, desk: Desk, upload: Path, name: str) -> Recipe:
        """The recipe of a painted picture that was dropped to get its settings."""
        path = desk.place(name)
        upload.rename(path)
        try:
            return Recipe.from_text(desk.act("recipe_of", path=str(path)), path.name)
        finally:
            shutil.rmtree(path.parent, ignore_errors=True)

    def layers(self, desk: Desk, network: str) -> list[str]:
        """The layers of a network that can be looked into."""
        found = desk.act("find_layers", network=network, **_chosen(desk))
        return [str(layer) for layer in found]

    def look_inside(self, desk: Desk, network: str, layer: str) -> Path:
        """The sheet of a layer's strongest channels. DataError without a photo."""
        if desk.photo is None:
            raise DataError("there is no photo yet: open one under Paint first")
        sheet, photo = desk.place("activations.png"), desk.photo
        desk.act(
            "look_inside", photo=str(photo.small), title=photo.name, network=network, layer=layer, output=str(sheet),
            **_chosen(desk),
        )  # fmt: skip
        return sheet

    def leave_out(self, desk: Desk) -> None:
        """Forget options that came with a recipe and that have no control."""
        desk.further = {}
        self._changed(desk, problem="")

    def told(self, desk: Desk, error: Exception) -> None:
        """Say what went wrong: a sentence of ours as it is, anything else by its kind, with a record in the log."""
        if isinstance(error, ImpastoError):
            said = SAID(desk.plain(error))
        else:
            _log.exception("the page could not do what was asked", exc_info=error)
            said = f"this could not be done ({type(error).__name__}); the server's log says more"
        self.view(desk, problem=_sentence(said), progress=None)

    # -- how ------------------------------------------------------------------------------------------------

    def _changed(self, desk: Desk, **view: Any) -> None:
        with desk.lock:
            desk.changes += 1
            desk.current = None
        self.view(desk, **view)

    def _progress(self, desk: Desk, update: Update) -> None:
        changes: dict[str, Any] = {
            "progress": {"label": update.label, "share": update.share, "left": update.left, "at": time.time()}
        }
        if update.picture is not None:
            changes["after"] = str(desk.keep_preview(update.picture))
        if update.note:
            changes["status"] = update.note
        self.view(desk, **changes)

    def _finish(self, desk: Desk, output: Path, done: Done, number: int) -> None:
        size, shown, thumbnail = desk.look_at_painting(output)
        kept = Done(output, done.title, thumbnail, size, done.seconds, done.controls)
        desk.keep(kept)
        status = f"Painted at {size[1]} \N{MULTIPLICATION SIGN} {size[0]} px in {done.seconds:.1f} s."
        if number == desk.changes:
            desk.current = kept
            self.view(desk, after=str(shown), status=status)
        else:
            self.view(desk, status=f"{status} It is in the history; what is chosen has changed since.")


def _is_running(desk: Desk) -> bool:
    return desk.stops is not None or desk.view.get("progress") is not None


def _targets(desk: Desk) -> list[dict[str, Any]]:
    """What a mask can be brushed for: the style, each of several, parts of paintings."""
    chosen = desk.controls.styles if desk.controls is not None else ()
    titles = {record.name: record.title or record.name for record in gallery_styles()}
    titles |= {key: painting.title for key, painting in desk.paintings.items()}
    rows: list[dict[str, Any]] = [{"id": ALL, "label": "Where the style goes"}]
    if len(chosen) > 1:
        rows = [{"id": ALL, "label": "Where the mix goes"}]
        rows += [{"id": key, "label": f"Where {titles.get(key, key)} goes"} for key, _ in chosen]
    return rows + [
        {"id": f"part:{key}", "label": f"Which part of {painting.title} is meant", "file": str(painting.shown)}
        for key, painting in desk.paintings.items()
        if key in dict(chosen)
    ]


def _parts(desk: Desk) -> list[str]:
    return [f"part:{key}" for key, painting in desk.paintings.items() if painting.part is not None]


def _brushed_file(desk: Desk, target: str) -> Path:
    if target.startswith("part:"):
        painting = desk.paintings.get(target.removeprefix("part:"))
        file = None if painting is None else painting.part
    else:
        file = desk.masks.get(target)
    if file is None:
        raise DataError("nothing is brushed there: brush first")
    return file


def _chosen(desk: Desk) -> dict[str, list[tuple[str, float]]]:
    """The styles that are chosen, names of the gallery and paintings, with their weights."""
    chosen = desk.controls.styles if desk.controls is not None else ()
    return {
        "names": [(key, weight) for key, weight in chosen if key not in desk.paintings],
        "pictures": [(str(desk.paintings[key].source), weight) for key, weight in chosen if key in desk.paintings],
    }


def _said(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in options.items())


def _sentence(said: str) -> str:
    """With a capital, unless it begins with the name of a file or an option."""
    plain = said.partition(" ")[0].isalpha()
    return said[:1].upper() + said[1:] if plain else said


def request_without_masks(controls: Controls, desk: Desk) -> StylizeRequest:
    """What is asked for of several photos: masks belong to one."""
    options = controls.options(desk)
    options.pop("mask", None)
    return StylizeRequest.of(**options)


def names_in_order(rows: Sequence[str]) -> list[str]:
    """Names of files, each once: what is called like another gets a number."""
    taken: set[str] = set()
    found = []
    for name in rows:
        stem, suffix = Path(name).stem, Path(name).suffix
        other = next(
            one
            for number in itertools.count(1)
            if (one := name if number == 1 else f"{stem}-{number}{suffix}") not in taken
        )
        taken.add(other)
        found.append(other)
    return found
