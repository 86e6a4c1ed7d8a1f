"""``impasto evaluate``: how close paintings are to photo and style. The work is in `impasto.evaluation`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from impasto.cli.common import (
    BackboneInputOption,
    DeviceOption,
    ForceOption,
    PrecisionOption,
    SeedOption,
    show_note,
)
from impasto.errors import OptionError

if TYPE_CHECKING:
    from rich.table import Table
    from torch import Tensor

    from impasto.core.weights import Input
    from impasto.evaluation import Contender, Estimate, Judge, Painted, Plan, Row
    from impasto.imaging import Picture
    from impasto.training.photos import PhotoSource
    from impasto.training.sources import StyleSource

__all__ = ["evaluate"]

SHEET_SIDE = 192  # px of a picture on the sheet, at most
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
    seed: SeedOption = 0,
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
    from impasto.core.precision import pick_device
    from impasto.evaluation import ModelContender, PresetContender, ResultsContender, as_json, plan, summarise
    from impasto.evaluation import evaluate as run
    from impasto.imaging import write
    from impasto.training.photos import open_photos
    from impasto.training.sources import gather_styles

    if not (model or preset or results):
        raise OptionError("what should be evaluated? give --model, --preset or --results")
    offered, pictures = open_photos(photos), gather_styles(styles)
    _check_outputs([*photos, *styles, *(model or ()), *_files(offered, pictures)], json_file, sheet, force=force)
    judges = _judges(backbone, backbone_input, device)
    how: dict[str, Any] = {"device": device, "precision": precision}
    contenders: list[Contender] = [
        *(ModelContender(name, **how) for name in model or ()),
        *(PresetContender(name, **how) for name in preset or ()),
        *map(ResultsContender, results or ()),
    ]
    _check_names([c.name for c in contenders])
    what = plan(offered, pictures, contenders, only=style or (), limit=limit or None, seed=seed)
    for note in what.notes:
        show_note(note)
    kept = _Sheet(what, [c.name for c in contenders], min(size, SHEET_SIDE)) if sheet is not None else None
    scores = []
    with closing(run(what, contenders, judges, size=size, device=pick_device(device))) as records:
        for painted in _shown(records):
            scores.append(painted.score)
            if kept is not None:
                kept.add(painted)
    rows = summarise(scores, judges, seed=seed)
    if json_file is not None:
        about = {"size": size, "seed": seed, "pairs": len(what.pairs), "possible_pairs": what.possible}
        _write_json(as_json(rows, scores, judges, **about), json_file)
    if kept is not None and sheet is not None:
        write(kept.picture(), sheet, force=force)
    if json_file != "-":
        sample = f", a sample of {what.possible}" if len(what.pairs) < what.possible else ""
        _print(rows, judges, contenders, f"{len(what.pairs)} pairs{sample}, {size} px")


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
    return judges


def _check_names(names: Sequence[str]) -> None:
    from impasto.evaluation import CONTROLS

    for name in names:
        if [*names, *(control.name for control in CONTROLS)].count(name) > 1:
            raise OptionError(f"two things to evaluate are called {name!r}: rename one of the files or folders")


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


def _write_json(facts: Mapping[str, Any], file: str) -> None:
    from impasto.files import atomic_path

    text = json.dumps(facts, indent=2, ensure_ascii=False, allow_nan=False)
    if file == "-":
        typer.echo(text)
        return
    with atomic_path(file) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


class _Sheet:
    """Photos by styles, the styles on top; for several methods, each photo has a row for each."""

    def __init__(self, what: Plan, methods: Sequence[str], side: int) -> None:
        self._what, self._methods, self._side = what, methods, side
        self._small: dict[tuple[str, str, str], Tensor] = {}
        self._photos: dict[str, Tensor] = {}

    def add(self, painted: Painted) -> None:
        from impasto.evaluation import Copied
        from impasto.imaging.sheets import thumbnail

        score = painted.score
        if score.method in self._methods:
            self._small[score.method, score.photo, score.style] = thumbnail(painted.picture, self._side)
        elif score.method == Copied.name and score.photo not in self._photos:
            self._photos[score.photo] = thumbnail(painted.picture, self._side)

    def picture(self) -> Picture:
        from impasto.imaging.sheets import Cell, contact_sheet

        styles = [self._what.styles[i] for i in sorted({pair.style for pair in self._what.pairs})]
        rows = [[Cell(), *(Cell(style.picture().rgb, style.name) for style in styles)]]
        for photo, image in self._photos.items():
            for number, method in enumerate(self._methods):
                label = method if len(self._methods) > 1 else ""
                first = Cell(image, photo) if number == 0 else Cell()
                found = [self._small.get((method, photo, style.name)) for style in styles]
                rows.append([first, *(Cell(picture, label if picture is not None else "") for picture in found)])
        return contact_sheet(rows, self._side)


def _print(rows: Sequence[Row], judges: Sequence[Judge], contenders: Sequence[Contender], about: str) -> None:
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    many = [c.name for c in contenders if c.styles is not None]
    for judge in judges:
        console.print(_table(f"{judge.name}: {about}", [row for row in rows if row.style is None], judge))
        console.print(_layers(judge, [row for row in rows if row.style is None]))
        for name in many:
            one_by_one = [row for row in rows if row.method == name and row.style is not None]
            if one_by_one:
                console.print(_table(f"{judge.name}: {name}, style by style", one_by_one, judge))


def _table(title: str, rows: Sequence[Row], judge: Judge) -> Table:
    table = _new_table(title, "", "content", "style distance", "style left", "SSIM", "pairs", "s")
    for i, row in enumerate(rows):
        verdict = row.verdicts[judge.name]
        cells = (
            row.style or row.method,
            _interval(verdict.content, "{:.3f}"),
            _interval(verdict.style, "{:.3f}"),
            _interval(verdict.share, "{:.1%}"),
            _interval(row.ssim, "{:.3f}"),
            str(row.pairs),
            "" if row.control else f"{row.seconds:.2f}",
        )
        controls_next = i + 1 < len(rows) and rows[i + 1].control and not row.control
        table.add_row(*cells, style="dim" if row.control else None, end_section=controls_next)
    return table


def _layers(judge: Judge, rows: Sequence[Row]) -> Table:
    left, content = [f"left: {tap}" for tap in judge.style], [f"content: {tap}" for tap in judge.content]
    table = _new_table(f"{judge.name}: layer by layer", "", *left, *content)
    for row in rows:
        verdict = row.verdicts[judge.name]
        cells = [f"{verdict.share_by_layer[tap].mean:.1%}" for tap in judge.style]
        cells += [f"{verdict.content_by_layer[tap].mean:.3f}" for tap in judge.content]
        table.add_row(row.method, *cells, style="dim" if row.control else None)
    return table


def _new_table(title: str, *columns: str) -> Table:
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", overflow="fold")
    return table


def _interval(estimate: Estimate, form: str) -> str:
    """``0.482 [0.440, 0.525]``."""
    if estimate.low is None or estimate.high is None:
        return form.format(estimate.mean)
    return f"{form.format(estimate.mean)} [{form.format(estimate.low)}, {form.format(estimate.high)}]"
