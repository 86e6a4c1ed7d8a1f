"""Runs that version 0.1 of this program began, whose descriptions had the names of its command line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from impasto.optimize.presets import OptimizeSettings
from impasto.stylizer.job import Output
from impasto.stylizer.request import OutputOptions, StylizeRequest
from impasto.stylizer.run_description import RunDescription, same_file, stored_settings
from impasto.stylizer.styles import Style, parse_style

__all__ = ["is_format_1", "upgraded"]

_OPTIMISATION = frozenset({"photo", "styles", "beginning", "backbone", "settings", "how", "keep", "output"})
_NETWORK = frozenset({"files", "photo", "look", "keep", "output", "force"})


def is_format_1(found: Mapping[str, Any]) -> bool:
    """Whether it is such a description."""
    return "format" not in found and any(found.keys() >= names for names in (_OPTIMISATION, _NETWORK))


def upgraded(found: Mapping[str, Any], folder: Path) -> RunDescription:
    """The same run as it is described now. A damaged description raises KeyError and the like."""
    return _network(found, folder) if "look" in found else _optimisation(found, folder)


def _network(found: Mapping[str, Any], folder: Path) -> RunDescription:
    for row in found["files"]:
        same_file(row, folder)
    look = dict(found["look"])
    style = [Style(*parse_style(text)) for text in look.pop("style")]
    alpha = look.pop("alpha")
    look["style_scale"] = look["style_scale"] or 1.0  # none of that time painted coarse to fine
    look.setdefault("ground", 0.0)
    request = StylizeRequest.of(**look, style=style or None, alpha=None if alpha == 1 else alpha)
    output = _output(found, force=bool(found["force"]))
    return RunDescription(found["photo"], request, output, files=tuple(found["files"]))


def _optimisation(found: Mapping[str, Any], folder: Path) -> RunDescription:
    settings: dict[str, Any] = dict(found["settings"])
    if found["backbone"]:
        settings["backbone"] = same_file(found["backbone"], folder)
    stored: OptimizeSettings = stored_settings(settings)
    mask, beginning = (found[name] and same_file(found[name], folder) for name in ("mask", "beginning"))
    request = StylizeRequest.of(
        **found["how"],
        style=[Style(same_file(row, folder), float(row["weight"])) for row in found["styles"]],
        mask=mask,
        method="optimize",
    )
    return RunDescription(
        same_file(found["photo"], folder),
        request,
        _output(found, force=False),
        stored,
        beginning,
        found["keep"]["save_every"],
    )


def _output(found: Mapping[str, Any], *, force: bool) -> Output:
    keep = found["keep"]
    options = OutputOptions.of(
        jpeg_quality=keep["quality"], png_compression=keep["compression"], keep_metadata=keep.get("metadata")
    )
    return Output(str(found["output"]), options, force=force)
