"""``impasto styles``: the styles that have names, listed, or all of them painted on one photo."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import typer

from impasto.cli.common import (
    DeviceOption,
    ForceOption,
    JsonOption,
    PrecisionOption,
    print_json,
    print_table,
    show_note,
)
from impasto.cli.options import takes
from impasto.errors import OptionError, counted
from impasto.types import MAX_MEGAPIXELS

__all__ = ["styles"]


@dataclass(frozen=True, kw_only=True)
class StylesOptions:
    """The options of ``impasto styles``."""

    model: str = typer.Option("gallery", metavar="NAME|FILE", help="The trained network whose styles are meant.")
    sheet: str | None = typer.Option(None, metavar="PHOTO", help="Paint this photo in all styles, on one sheet.")
    output: str | None = typer.Option(None, "--output", "-o", metavar="FILE", help="Where the sheet goes.")
    size: int = typer.Option(320, metavar="PX", min=32, help="Long side of each picture on the sheet.")
    force: ForceOption = False
    as_json: JsonOption = False
    device: DeviceOption = "auto"
    precision: PrecisionOption = "auto"
    max_megapixels: float = typer.Option(MAX_MEGAPIXELS, min=0, help="Refuse to read larger pictures than this.")


@takes(StylesOptions)
def styles(options: StylesOptions) -> None:
    """List the styles that `impasto stylize --style NAME` knows, or show them all on one photo."""
    if (options.sheet is None) != (options.output is None):
        raise OptionError("a sheet needs a photo and a place: impasto styles --sheet PHOTO -o FILE")
    if options.sheet is not None and options.output is not None:
        _paint(options, options.sheet, options.output)
        return
    from impasto.networks.shipped import find_model
    from impasto.stylizer.styles import records_in

    found = records_in(find_model(options.model))
    if options.as_json:
        print_json([asdict(record) for record in found])
    elif not found:
        show_note(f"{options.model} takes any picture as a style: --style PICTURE with `impasto stylize`")
    else:
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
    count = counted(len(model.styles), "style")
    on, into = ("standard input" if photo == "-" else photo), ("standard output" if output == "-" else output)
    show_note(f"{into}: {count} of {options.model} on {on}")
