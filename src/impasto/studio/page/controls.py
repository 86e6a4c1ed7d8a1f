"""What is chosen on the page, as a request; and back, from what a painted picture says of how it was made."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

from impasto.cli.options import flags
from impasto.errors import OptionError
from impasto.imaging.sizes import fit_long_side
from impasto.stylizer.recipe import ROLES, Recipe
from impasto.stylizer.request import Quality, StylizeRequest
from impasto.stylizer.route import gallery_styles
from impasto.stylizer.strokes import GROUND, PROOF, parse_scale
from impasto.stylizer.styles import Style

if TYPE_CHECKING:
    from impasto.studio.page.desk import Desk

__all__ = ["ALL", "FINEST_PREVIEW", "SIZES", "Controls", "call_for", "command_for", "from_recipe", "output_name"]

ALL: Final = "all"  # the mask of a mix as a whole
STROKES: Final = 50.0  # per cent of a proof's
FINEST_PREVIEW: Final = 35.0  # finer strokes would take longer than one waits for a preview
SIZES: Final = (512, 1024, 2048, 4096)
OWN: Final = ("style", "strength", "style_scale", "keep_colors", "quality", "size", "mask")
"""Options that the page has controls for."""
NOT_TAKEN: Final = ("engine", "method", "device", "precision", "max_memory", "max_megapixels", "tile")
"""Options of a recipe that say nothing of the picture, or that the page decides."""


@dataclass(frozen=True)
class Controls:
    """What is chosen.

    Attributes:
        styles: names of the gallery, or what the desk calls paintings, with their weights.
        strength: in per cent.
        strokes: their size in per cent of those of a proof of 512 px, see `style_scale`.
        keep_colors: whether the photo's colours stay.
        quality: of pictures as style.
        size: longest side in px, 0 for the photo's own; None leaves it to the method.
    """

    styles: tuple[tuple[str, float], ...] = ()
    strength: float = 100.0
    strokes: float = STROKES
    keep_colors: bool = False
    quality: Quality = "draft"
    size: int | None = None

    def options(self, desk: Desk) -> dict[str, Any]:
        """The options of a `StylizeRequest`, those that are not as they are anyway.

        OptionError where there is no style, or a painting that is not on the desk.
        """
        if not self.styles:
            raise OptionError("choose a style: one of the gallery, or a painting of your own")
        own = [key for key, _ in self.styles if key in desk.paintings]
        missing = [key for key, _ in self.styles if key not in desk.paintings and key not in names_of_gallery()]
        if missing:
            raise OptionError(f"the style {missing[0]!r} is not here any more: choose it again")
        options: dict[str, Any] = {**desk.further}
        options["style"] = [
            Style(desk.paintings[key].source if key in desk.paintings else key, weight) for key, weight in self.styles
        ]
        if self.size is not None:
            options["size"] = self.size
        if self.strength != 100:
            options["strength"] = round(self.strength / 100, 4)
        options["style_scale"] = f"{self.strokes:g}%"
        if self.keep_colors:
            options["keep_colors"] = True
        if own and self.quality != "draft" and "preset" not in options:
            options["quality"] = self.quality
        if masks := self._masks(desk):
            options["mask"] = masks
        return options

    def request(self, desk: Desk) -> StylizeRequest:
        """What is asked for at full size; errors as of `options` and `StylizeRequest.of`."""
        return StylizeRequest.of(**self.options(desk))

    def preview(self, desk: Desk) -> StylizeRequest:
        """The same in one pass, for a preview; what only optimisation obeys is left out."""
        options = {
            name: value
            for name, value in self.options(desk).items()
            if name in StylizeRequest.options and "network" in StylizeRequest.obeyed_by(name)
        }
        options.pop("quality", None)
        options.pop("size", None)
        options["style_scale"] = f"{max(self.strokes, FINEST_PREVIEW):g}%"
        return StylizeRequest.of(**options)

    def _masks(self, desk: Desk) -> list[Path]:
        """One for all, or one for each of several styles that have one."""
        keys = [key for key, _ in self.styles]
        if len(keys) > 1 and any(key in desk.masks for key in keys):
            return [desk.masks.get(key) or desk.white_mask() for key in keys]
        return [desk.masks[ALL]] if ALL in desk.masks else []


def names_of_gallery() -> tuple[str, ...]:
    """The styles that ship."""
    return tuple(record.name for record in gallery_styles())


def from_recipe(recipe: Recipe, desk: Desk) -> tuple[Controls, list[str]]:
    """The controls as a recipe has them, and sentences on what of it the page cannot set.

    Options that have no control are put on the desk, and are obeyed until they are taken away.
    """
    asked, notes = recipe.request, []
    styles: list[tuple[str, float]] = []
    for number, row in enumerate(_rows(asked.get("style")), 1):
        key, weight = _style_of(str(row.get("style", "")), recipe.used.get(f"style {number}"), desk), row.get("weight")
        if key is None:
            notes.append(f"its style was {row.get('style')}, a picture that is not here: add it, then take these again")
        else:
            styles.append((key, float(weight) if isinstance(weight, int | float) and weight > 0 else 1.0))
    further = {name: value for name, value in asked.items() if name not in (*OWN, *NOT_TAKEN, *ROLES)}
    desk.further = {name: value for name, value in further.items() if (name, value) != ("ground", GROUND)}
    for name in ROLES:
        if name in asked and name not in OWN:
            notes.append(f"its {name} {asked[name]} is not set here")
    if asked.get("mask"):
        notes.append("its mask is not here: brush one")
    strength, quality, size = asked.get("strength"), asked.get("quality"), asked.get("size")
    controls = Controls(
        styles=tuple(styles),
        strength=100 * float(strength) if isinstance(strength, int | float) else 100.0,
        strokes=_strokes(asked.get("style_scale"), "quality" in asked or "preset" in asked, size, desk),
        keep_colors=bool(asked.get("keep_colors", False)),
        quality=quality if quality is not None and quality in get_args(Quality) else "draft",
        size=size if isinstance(size, int) else None,
    )
    return controls, notes


def _rows(value: Any) -> Sequence[Mapping[str, Any]]:
    return [row for row in value if isinstance(row, Mapping)] if isinstance(value, list) else []


def _style_of(name: str, digest: str | None, desk: Desk) -> str | None:
    """What the page calls a recipe's style: that of the same hash, a name of the gallery, or None."""
    if digest is None:
        return name if name in names_of_gallery() else None
    return next((key for key, painting in desk.paintings.items() if painting.digest == digest), None)


def _strokes(scale: Any, optimised: bool, size: Any, desk: Desk) -> float:
    """A size of strokes in per cent of a proof's; what is not said is the method's own."""
    try:
        value, relative = parse_scale("1" if scale is None else scale)
    except OptionError:
        return STROKES
    if relative or optimised:
        return 100 * value
    own = max(desk.photo.size) if desk.photo is not None else PROOF
    long = max(fit_long_side((own, own), size)) if isinstance(size, int) and size > 0 else own
    return round(100 * value * PROOF / long, 1)


def output_name(photo: str, controls: Controls, desk: Desk) -> str:
    """What the painting's file is called, without its suffix: ``beach-great-wave``."""
    names = [desk.paintings[key].title if key in desk.paintings else key for key, _ in controls.styles]
    return f"{Path(photo).stem}-{'-'.join(names[:2])}"


def command_for(request: StylizeRequest, photo: str, output: str) -> str:
    """The command line that paints the same, with files by their names alone."""
    words = ["impasto", "stylize", _as_argument(photo)]
    for name in request.given:
        flag, value = flags(name)[0], getattr(request, name)
        if name == "style":
            for row in value:
                weight = "" if len(value) == 1 and row.weight == 1 else f":{row.weight:g}"
                words += [flag, f"{_named(row.image)}{weight}"]
        elif name == "mask":
            words += [word for mask in value for word in (flag, _named(mask))]
        elif name == "settings":
            continue  # Python's alone
        elif isinstance(value, bool):
            words += [flag] * value
        elif isinstance(value, Mapping):
            words += [flag, ",".join(f"{layer}:{weight:g}" for layer, weight in value.items())]
        else:
            words += [flag, f"{value:g}" if isinstance(value, float) else str(value)]
    return shlex.join([*words, "-o", output])


def call_for(request: StylizeRequest, photo: str, output: str) -> str:
    """The Python call that paints the same, with files by their names alone."""
    rows = [(_named(row.image), row.weight) for row in request.style]
    style: Any = rows[0][0] if len(rows) == 1 and rows[0][1] == 1 else rows
    lines = [repr(photo), repr(style)]
    for name in request.given:
        value = getattr(request, name)
        if name == "mask":
            masks = [_named(mask) for mask in value]
            lines.append(f"mask={masks[0] if len(masks) == 1 else masks!r}" if len(masks) > 1 else f"mask={masks[0]!r}")
        elif name == "settings":
            lines += [f"{key}={one!r}" for key, one in value.items()]
        elif name != "style":
            lines.append(f"{name}={dict(value) if isinstance(value, Mapping) else value!r}")
    lines.append(f"output={output!r}")
    body = "".join(f"    {line},\n" for line in lines)
    return f"import impasto\n\nimpasto.stylize(\n{body})"


def _named(value: Any) -> str:
    """A file's name without its folder, or a style's name."""
    return Path(value).name


def _as_argument(name: str) -> str:
    return f"./{name}" if name.startswith("-") else name
