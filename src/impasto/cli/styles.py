"""``impasto styles``: the styles that have names, listed, or all of them painted on one photo."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from impasto.cli.common import DeviceOption, ForceOption, JsonOption, MaxMegapixelsOption, PrecisionOption, show_note
from impasto.errors import OptionError

if TYPE_CHECKING:
    from impasto.core.precision import PrecisionName
    from impasto.stylizer.styles import StyleRecord

__all__ = ["styles"]

SHEET_SIZE = 320  # long side in px of a picture on a sheet
COLUMNS = 6


def styles(
    model: Annotated[
        str, typer.Option("--model", metavar="NAME|FILE", help="The trained network whose styles are meant.")
    ] = "gallery",
    sheet: Annotated[
        str | None, typer.Option("--sheet", metavar="PHOTO", help="Paint this photo in all styles, on one sheet.")
    ] = None,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", help="Where the sheet goes.", show_default=False)
    ] = None,
    size: Annotated[
        int, typer.Option("--size", metavar="PX", min=32, help="Long side of each picture on the sheet.")
    ] = SHEET_SIZE,
    force: ForceOption = False,
    as_json: JsonOption = False,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    max_megapixels: MaxMegapixelsOption = 200,
) -> None:
    """List the styles that `impasto stylize --style NAME` knows, or show them all on one photo."""
    from impasto.core.metadata import read_metadata
    from impasto.networks.shipped import find_model
    from impasto.stylizer.styles import records

    if (sheet is None) != (output is None):
        raise OptionError("a sheet needs a photo and a place: impasto styles --sheet PHOTO -o FILE")
    if sheet is not None and output is not None:
        _paint_sheet(model, sheet, output, size, device, precision, max_megapixels, force=force)
        return
    found = records(read_metadata(find_model(model)))
    if as_json:
        typer.echo(json.dumps([asdict(record) for record in found], indent=2, ensure_ascii=False))
    else:
        _show(found)


def _show(found: tuple[StyleRecord, ...]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("name", "title", "artist", "year"):
        table.add_column(heading, no_wrap=heading == "name")
    for record in found:
        table.add_row(record.name, record.title or "", record.artist or "", record.year or "")
    Console(highlight=False, markup=False).print(table)


def _paint_sheet(
    model: str,
    photo: str,
    output: str,
    size: int,
    device: str,
    precision: PrecisionName,
    max_megapixels: float,
    *,
    force: bool,
) -> None:
    from impasto.imaging import as_picture, check_output, write
    from impasto.imaging.sheets import Cell, contact_sheet
    from impasto.stylizer.api import load

    inputs = [photo, model]
    check_output(output, force=force, inputs=inputs)
    network = load(model, device=device, precision=precision)
    if not network.styles:
        raise OptionError(f"{model}: paints in any style and knows none by name: there is nothing to show")
    original = as_picture(photo, max_megapixels=max_megapixels)
    cells = [Cell(network.paint(original, network.styles[0].name, size=size, strength=0).rgb, "photo")]
    for record in network.styles:
        cells.append(Cell(network.paint(original, record.name, size=size).rgb, record.title or record.name))
    rows = [cells[i : i + COLUMNS] for i in range(0, len(cells), COLUMNS)]
    write(contact_sheet(rows, size), output, force=force, inputs=inputs)
    show_note(f"{output}: {len(network.styles)} styles of {model} on {photo}")
