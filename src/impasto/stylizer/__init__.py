"""The one door: a photo and styles in, a painting out, by whichever method."""

from __future__ import annotations

from impasto.stylizer.door import stylize
from impasto.stylizer.finishing import Finish, cover
from impasto.stylizer.model import Model, StyleRecord, load
from impasto.stylizer.painting import Painting, parse_layers, prepare, split_init
from impasto.stylizer.route import gallery_styles, paints_by_network
from impasto.stylizer.strips import StripPainting, Task, needs_strips
from impasto.stylizer.styles import Style, as_styles, parse_style

__all__ = [
    "Finish",
    "Model",
    "Painting",
    "StripPainting",
    "Style",
    "StyleRecord",
    "Task",
    "as_styles",
    "cover",
    "gallery_styles",
    "load",
    "needs_strips",
    "paints_by_network",
    "parse_layers",
    "parse_style",
    "prepare",
    "split_init",
    "stylize",
]
