"""``impasto evaluate``: how close paintings are to photo and style. The work is in `impasto.evaluation`."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from impasto.cli.common import (
    BackboneInputOption,
    DeviceOption,
    ForceOption,
    PrecisionOption,
    bar,
    print_json,
    print_table,
    show_note,
)
from impasto.cli.options import takes
from impasto.errors import OptionError, require

if TYPE_CHECKING:
    from impasto.training.sources import StyleSource

__all__ = ["evaluate"]


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """The options of ``impasto evaluate``."""

    photos: list[str] = typer.Option(metavar="DIR", help="Photos: a folder, archive or file; repeat it for more.")
    styles: list[str] = typer.Option(
        metavar="DIR",
        help="Style pictures: a folder or file; repeat it for more. A network that knows its styles is compared with "
        "the pictures named like them.",
    )
    model: list[str] = typer.Option([], metavar="NAME|FILE", help="A trained network; repeat it to compare several.")
    preset: list[str] = typer.Option([], metavar="NAME", help="A preset of `impasto stylize`; may be repeated.")
    results: list[Path] = typer.Option(
        [], metavar="DIR", help="Pictures named PHOTO--STYLE.png, painted by any other program; may be repeated."
    )
    backbone: list[str] = typer.Option(
        ["compact"],
        metavar="NAME|PATH",
        help="Network that judges; repeat it for other eyes: results look better to the network that they were "
        "trained with.",
    )
    backbone_input: BackboneInputOption = None
    size: int = typer.Option(512, metavar="PX", min=32, help="Long side of photos and styles, enlarged if need be.")
    style: list[str] = typer.Option([], metavar="NAME", help="Only this style; repeat it for several.")
    limit: int = typer.Option(100, metavar="N", min=0, help="At most this many pairs, drawn by --seed; 0 is all.")
    seed: int = typer.Option(0, help="Draws the sample of --limit and the resamples of the intervals.")
    json: str | None = typer.Option(None, metavar="FILE|-", help="All numbers as JSON; - is standard output.")
    sheet: Path | None = typer.Option(None, metavar="PICTURE", help="A contact sheet: photos by styles, styles on top.")
    device: DeviceOption = "auto"
    precision: PrecisionOption = "auto"
    force: ForceOption = False


@takes(EvaluateOptions)
def evaluate(options: EvaluateOptions) -> None:
    """Measure paintings: how much of the photo they keep, how much of the style they have.

    Content distance is relative to the photo's features, style distance to the style's Gram matrices; "style left"
    is the style distance as a share of the untouched photo's. Lower is better for all three, SSIM (structure, on
    luminance) is better the higher. Brackets hold 95 % intervals.

    No number means anything alone. The photo copied unchanged has a perfect content distance, and the style picture
    pasted over the photo a nearly perfect style distance: these two control rows show the range, and a good
    painting is low in both columns at once.
    """
    require("torch safetensors torchmetrics", "train", "evaluating")
    from impasto.training.photos import open_photos

    if not (options.model or options.preset or options.results):
        raise OptionError("what should be evaluated? give --model, --preset or --results")
    photos = open_photos(options.photos)
    # Here, because torch takes a second that --help does not have.
    from impasto import evaluation
    from impasto.imaging import check_output, write

    pictures = _styles(options.styles)
    inputs = [*options.photos, *options.styles, *options.model, *map(photos.name, range(len(photos)))]
    inputs += [str(style.file) for style in pictures if style.file is not None]
    if options.sheet is not None:
        check_output(options.sheet, force=options.force, inputs=inputs)
    if options.json not in (None, "-"):  # any format: it is the place that is checked
        check_output(options.json, force=options.force, inputs=inputs, format="png")
    comparison = evaluation.Comparison(
        photos,
        pictures,
        evaluation.load_contenders(options.model, options.preset, options.results, options.device, options.precision),
        evaluation.load_judges(options.backbone, options.backbone_input, options.device),
        evaluation.Sampling(options.style, options.limit or None, options.seed),
        options.size,
        options.device,
    )
    for note in comparison.plan.notes:
        show_note(note)
    with closing(comparison.run()) as records, bar() as show:
        for painted in records:
            show(painted.done, painted.total, painted.score.method)
    if options.sheet is not None:
        write(comparison.sheet.picture(), options.sheet, force=options.force)
    if options.json == "-":
        print_json(comparison.facts())
        return
    if options.json is not None:
        evaluation.write_json(comparison.facts(), options.json)
    for table in comparison.tables():
        print_table(table.columns, table.rows, title=table.title, controls=table.controls)


def _styles(places: list[str]) -> list[StyleSource]:
    """The style pictures that can be read; those that cannot are told."""
    from impasto.training.sources import gather_styles

    unreadable: list[str] = []
    pictures = gather_styles(places, unreadable=unreadable)
    for told in unreadable:
        show_note(f"{told}; left out")
    return pictures
