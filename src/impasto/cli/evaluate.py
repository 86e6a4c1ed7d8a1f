"""``impasto evaluate``: how close paintings are to photo and style.

The work is in `impasto.evaluation`, the tables in `scores`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from impasto.cli.common import (
    BackboneInputOption,
    DeviceOption,
    ForceOption,
    PrecisionOption,
    show_note,
)
from impasto.errors import OptionError

if TYPE_CHECKING:
    from impasto.core.weights import Input
    from impasto.evaluation import Contender, Judge, Painted
    from impasto.training.photos import PhotoSource
    from impasto.training.sources import StyleSource

__all__ = ["evaluate"]

_Photos = Annotated[
    list[str], typer.Option("--photos", metavar="DIR", help="Photos: a folder, archive or file; repeat it for more.")
]
_Styles = Annotated[
    list[str],
    typer.Option(
        "--styles",
        metavar="DIR",
        help="Style pictures: a folder or file; repeat it for more. A network that knows its styles is compared with "
        "the pictures named like them.",
    ),
]
_Models = Annotated[
    list[str] | None,
    typer.Option("--model", metavar="NAME|FILE", help="A trained network; repeat it to compare several."),
]
_Presets = Annotated[
    list[str] | None, typer.Option("--preset", metavar="NAME", help="A preset of `impasto stylize`; may be repeated.")
]
_Results = Annotated[
    list[Path] | None,
    typer.Option(
        "--results",
        metavar="DIR",
        help="Pictures named PHOTO--STYLE.png, painted by any other program; may be repeated.",
    ),
]
_Backbones = Annotated[
    list[str],
    typer.Option(
        "--backbone",
        metavar="NAME|PATH",
        help="Network that judges; repeat it for other eyes: results look better to the network that they were "
        "trained with.",
    ),
]
_Size = Annotated[
    int, typer.Option("--size", metavar="PX", min=32, help="Long side of photos and styles, enlarged if need be.")
]
_Only = Annotated[
    list[str] | None, typer.Option("--style", metavar="NAME", help="Only this style; repeat it for several.")
]
_Limit = Annotated[
    int, typer.Option("--limit", metavar="N", min=0, help="At most this many pairs, drawn by --seed; 0 is all.")
]
_Seed = Annotated[int, typer.Option("--seed", help="Draws the sample of --limit and the resamples of the intervals.")]
_Json = Annotated[
    str | None, typer.Option("--json", metavar="FILE|-", help="All numbers as JSON; - is standard output.")
]
_SheetFile = Annotated[
    Path | None, typer.Option("--sheet", metavar="PICTURE", help="A contact sheet: photos by styles, styles on top.")
]


def evaluate(
    photos: _Photos,
    styles: _Styles,
    model: _Models = None,
    preset: _Presets = None,
    results: _Results = None,
    backbone: _Backbones = ["compact"],  # noqa: B006  typer copies it
    backbone_input: BackboneInputOption = None,
    size: _Size = 512,
    style: _Only = None,
    limit: _Limit = 100,
    seed: _Seed = 0,
    json_file: _Json = None,
    sheet: _SheetFile = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    force: ForceOption = False,
) -> None:
    """Measure paintings: how much of the photo they keep, how much of the style they have.

    Content distance is relative to the photo's features, style distance to the style's Gram matrices; "style left"
    is the style distance as a share of the untouched photo's. Lower is better for all three, SSIM (structure, on
    luminance) is better the higher. Brackets hold 95 % intervals.

    No number means anything alone. The photo copied unchanged has a perfect content distance, and the style picture
    pasted over the photo a nearly perfect style distance: these two control rows show the range, and a good
    painting is low in both columns at once.
    """
    # Here, because torch takes a second that --help does not have.
    from impasto.cli.scores import Sheet, print_tables, write_json
    from impasto.core.precision import pick_device
    from impasto.evaluation import as_json, plan, summarise
    from impasto.evaluation import evaluate as run
    from impasto.imaging import write
    from impasto.training.photos import open_photos
    from impasto.training.sources import gather_styles

    if not (model or preset or results):
        raise OptionError("what should be evaluated? give --model, --preset or --results")
    offered, pictures = open_photos(photos), gather_styles(styles)
    _check_outputs([*photos, *styles, *(model or ()), *_files(offered, pictures)], json_file, sheet, force=force)
    judges = _judges(backbone, backbone_input, device)
    contenders = _contenders(model or (), preset or (), results or (), device=device, precision=precision)
    what = plan(offered, pictures, contenders, only=style or (), limit=limit or None, seed=seed)
    for note in what.notes:
        show_note(note)
    kept = Sheet(what, [c.name for c in contenders], size)
    scores = []
    with closing(run(what, contenders, judges, size=size, device=pick_device(device))) as records:
        for painted in _shown(records):
            scores.append(painted.score)
            kept.add(painted)
    rows = summarise(scores, judges, seed=seed)
    if json_file is not None:
        about = {"size": size, "seed": seed, "pairs": len(what.pairs), "possible_pairs": what.possible}
        write_json(as_json(rows, scores, judges, **about), json_file)
    if sheet is not None:
        write(kept.picture(), sheet, force=force)
    if json_file != "-":
        sample = f", a sample of {what.possible}" if len(what.pairs) < what.possible else ""
        print_tables(rows, judges, contenders, f"{len(what.pairs)} pairs{sample}, {size} px")


def _files(photos: PhotoSource, styles: Sequence[StyleSource]) -> Iterator[str]:
    yield from (photos.name(i) for i in range(len(photos)))
    yield from (str(style.file) for style in styles if style.file is not None)


def _check_outputs(inputs: Sequence[str], json_file: str | None, sheet: Path | None, *, force: bool) -> None:
    from impasto.imaging import check_output

    if sheet is not None:
        check_output(sheet, force=force, inputs=inputs)
    if json_file not in (None, "-"):
        check_output(json_file, force=force, inputs=inputs, format="png")  # any: it is the place that is checked


def _judges(backbones: Sequence[str], backbone_input: Input | None, device: str) -> list[Judge]:
    from impasto.core.precision import pick_device
    from impasto.core.weights import BACKBONES, load_backbone
    from impasto.evaluation import Judge

    judges = []
    for name in dict.fromkeys(backbones):
        network = load_backbone(name, input=None if name in BACKBONES else backbone_input, device=pick_device(device))
        judges.append(Judge(network.name, network))
    _check_names([judge.name for judge in judges])
    return judges


def _contenders(models: Sequence[str], presets: Sequence[str], results: Sequence[Path], **how: Any) -> list[Contender]:
    from impasto.evaluation import ModelContender, PresetContender, ResultsContender

    contenders: list[Contender] = [
        *(ModelContender(name, **how) for name in models),
        *(PresetContender(name, **how) for name in presets),
        *map(ResultsContender, results),
    ]
    _check_names([contender.name for contender in contenders])
    return contenders


def _check_names(names: Sequence[str]) -> None:
    """The report tells things by their names alone."""
    from impasto.evaluation import CONTROLS

    for name in names:
        if [*names, *(control.name for control in CONTROLS)].count(name) > 1:
            raise OptionError(f"two things are called {name!r} in this evaluation: leave one out or rename its file")


def _shown(pictures: Iterator[Painted]) -> Iterator[Painted]:
    """The same, with a bar on the terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(file=sys.stderr)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("evaluating", total=None)
        for painted in pictures:
            bar.update(task, completed=painted.done, total=painted.total, description=painted.score.method)
            yield painted
