"""``impasto styles``: the styles that have names, listed, or all of them painted on one photo."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from impasto.cli.common import (
    DeviceOption,
    ForceOption,
    JsonOption,
    MaxMegapixelsOption,
    PrecisionOption,
    print_json,
    print_table,
    show_note,
)
from impasto.cli.options import takes
from impasto.errors import OptionError

__all__ = ["styles"]


@dataclass(frozen=True, kw_only=True)
class StylesOptions:
    """The options of ``impasto styles``."""

    model: Annotated[
        str, typer.Option("--model", metavar="NAME|FILE", help="The trained network whose styles are meant.")
    ] = "gallery"
    sheet: Annotated[
        str | None, typer.Option("--sheet", metavar="PHOTO", help="Paint this photo in all styles, on one sheet.")
    ] = None
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", help="Where the sheet goes.", show_default=False)
    ] = None
    size: Annotated[
        int, typer.Option("--size", metavar="PX", min=32, help="Long side of each picture on the sheet.")
    ] = 320
    force: ForceOption = False
    as_json: JsonOption = False
    device: DeviceOption = "auto"
    precision: PrecisionOption = "auto"
    max_megapixels: MaxMegapixelsOption = 200


@takes(StylesOptions)
def styles(options: StylesOptions) -> None:
    """List the styles that `impasto stylize --style NAME` knows, or show them all on one photo."""
    if (options.sheet is None) != (options.output is None):
        raise OptionError("a sheet needs a photo and a place: impasto styles --sheet PHOTO -o FILE")
    if options.sheet is not None and options.output is not None:
        _paint(options, options.sheet, options.output)
        return
    from impasto.core.metadata import read_metadata
    from impasto.networks.shipped import find_model
    from impasto.stylizer.styles import records

    found = records(read_metadata(find_model(options.model)))
    if options.as_json:
        print_json([asdict(record) for record in found])
        return
    rows = [(record.name, record.title or "", record.artist or "", record.year or "") for record in found]
    print_table(("name", "title", "artist", "year"), rows)


def _paint(options: StylesOptions, photo: str, output: str) -> None:
    from impasto.imaging import as_picture, check_output, write
    from impasto.stylizer.api import load
    from impasto.stylizer.style_sheet import style_sheet

    inputs = [photo, options.model]
    check_output(output, force=options.force, inputs=inputs)
    model = load(options.model, device=options.device, precision=options.precision)
    sheet = style_sheet(model, as_picture(photo, max_megapixels=options.max_megapixels), options.size)
    write(sheet, output, force=options.force, inputs=inputs)
    show_note(f"{output}: {len(model.styles)} styles of {options.model} on {photo}")
