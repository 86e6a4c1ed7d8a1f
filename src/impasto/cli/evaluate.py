"""``impasto evaluate``: how close paintings are to photo and style. The work is in `impasto.evaluation`."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

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
from impasto.errors import OptionError

__all__ = ["evaluate"]


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """The options of ``impasto evaluate``."""

    photos: Annotated[
        list[str],
        typer.Option("--photos", metavar="DIR", help="Photos: a folder, archive or file; repeat it for more."),
    ]
    styles: Annotated[
        list[str],
        typer.Option(
            "--styles",
            metavar="DIR",
            help="Style pictures: a folder or file; repeat it for more. A network that knows its styles is compared "
            "with the pictures named like them.",
        ),
    ]
    model: Annotated[
        list[str] | None,
        typer.Option("--model", metavar="NAME|FILE", help="A trained network; repeat it to compare several."),
    ] = None
    preset: Annotated[
        list[str] | None,
        typer.Option("--preset", metavar="NAME", help="A preset of `impasto stylize`; may be repeated."),
    ] = None
    results: Annotated[
        list[Path] | None,
        typer.Option(
            "--results",
            metavar="DIR",
            help="Pictures named PHOTO--STYLE.png, painted by any other program; may be repeated.",
        ),
    ] = None
    backbone: Annotated[
        list[str],
        typer.Option(
            "--backbone",
            metavar="NAME|PATH",
            help="Network that judges; repeat it for other eyes: results look better to the network that they were "
            "trained with.",
        ),
    ] = field(default_factory=lambda: ["compact"])
    backbone_input: BackboneInputOption = None
    size: Annotated[
        int, typer.Option("--size", metavar="PX", min=32, help="Long side of photos and styles, enlarged if need be.")
    ] = 512
    style: Annotated[
        list[str] | None, typer.Option("--style", metavar="NAME", help="Only this style; repeat it for several.")
    ] = None
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=0, help="At most this many pairs, drawn by --seed; 0 is all.")
    ] = 100
    seed: Annotated[
        int, typer.Option("--seed", help="Draws the sample of --limit and the resamples of the intervals.")
    ] = 0
    json: Annotated[
        str | None, typer.Option("--json", metavar="FILE|-", help="All numbers as JSON; - is standard output.")
    ] = None
    sheet: Annotated[
        Path | None,
        typer.Option("--sheet", metavar="PICTURE", help="A contact sheet: photos by styles, styles on top."),
    ] = None
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
    # Here, because torch takes a second that --help does not have.
    from impasto import evaluation
    from impasto.core.precision import pick_device
    from impasto.imaging import check_output, write
    from impasto.training.photos import open_photos
    from impasto.training.sources import gather_styles

    if not (options.model or options.preset or options.results):
        raise OptionError("what should be evaluated? give --model, --preset or --results")
    photos, pictures = open_photos(options.photos), gather_styles(options.styles)
    inputs = [*options.photos, *options.styles, *(options.model or ()), *map(photos.name, range(len(photos)))]
    inputs += [str(style.file) for style in pictures if style.file is not None]
    if options.sheet is not None:
        check_output(options.sheet, force=options.force, inputs=inputs)
    if options.json not in (None, "-"):  # any format: it is the place that is checked
        check_output(options.json, force=options.force, inputs=inputs, format="png")
    judges = evaluation.load_judges(options.backbone, options.backbone_input, options.device)
    contenders = evaluation.load_contenders(
        options.model or (), options.preset or (), options.results or (), options.device, options.precision
    )
    what = evaluation.plan(
        photos, pictures, contenders, only=options.style or (), limit=options.limit or None, seed=options.seed
    )
    for note in what.notes:
        show_note(note)
    sheet, scores = evaluation.EvaluationSheet(what, [c.name for c in contenders], options.size), []
    painting = evaluation.evaluate(what, contenders, judges, size=options.size, device=pick_device(options.device))
    with closing(painting) as records, bar() as show:
        for painted in records:
            show(painted.done, painted.total, painted.score.method)
            scores.append(painted.score)
            sheet.add(painted)
    rows = evaluation.summarise(scores, judges, seed=options.seed)
    about = {"size": options.size, "seed": options.seed, "pairs": len(what.pairs), "possible_pairs": what.possible}
    facts = evaluation.as_json(rows, scores, judges, **about)
    if options.sheet is not None:
        write(sheet.picture(), options.sheet, force=options.force)
    if options.json == "-":
        print_json(facts)
        return
    if options.json is not None:
        evaluation.write_json(facts, options.json)
    sample = f", a sample of {what.possible}" if len(what.pairs) < what.possible else ""
    title = f"{len(what.pairs)} pairs{sample}, {options.size} px"
    by_style = [c.name for c in contenders if c.styles is not None]
    for table in evaluation.score_tables(rows, judges, by_style, title):
        print_table(table.columns, table.rows, title=table.title, controls=table.controls)
