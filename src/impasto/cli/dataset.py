"""``impasto dataset``: style pictures with their statistics in one file, made and shown."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from impasto.cli.common import BackboneInputOption, BackboneOption, ForceOption, JsonOption
from impasto.cli.usage import Commands

if TYPE_CHECKING:
    from collections.abc import Iterator

    from impasto.training.styles import StyleAdded, StyleSet

__all__ = ["dataset_app"]

dataset_app = typer.Typer(cls=Commands, help="Make and inspect data sets of styles.", no_args_is_help=True)

_Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of pictures, one per style.")]
_Out = Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The file to write.")]
_Size = Annotated[int, typer.Option("--size", min=32, help="Long side in px at which styles are looked at.")]
_File = Annotated[Path, typer.Argument(metavar="FILE", help="A file that `impasto dataset styles` wrote.")]


@dataset_app.command()
def styles(
    folder: _Folder,
    out: _Out = Path("styles.safetensors"),
    backbone: BackboneOption = "compact",
    backbone_input: BackboneInputOption = None,
    size: _Size = 512,
    force: ForceOption = False,
) -> None:
    """Gather style pictures, their names and their statistics at every layer in one file.

    Titles and artists are taken from styles.tsv (columns file, title, artist) or styles.json in the folder.
    """
    from impasto.core.weights import load_backbone
    from impasto.training.styles import build_styles

    network = load_backbone(backbone, input=backbone_input)
    with closing(build_styles(folder, out, network, size=size, force=force)) as records:
        _follow(records)
    typer.echo(out)


@dataset_app.command()
def inspect(file: _File, as_json: JsonOption = False) -> None:
    """Show the styles in a file, with which backbone and at which layers they were looked at."""
    from impasto.training.styles import StyleSet

    found = StyleSet.open(file)
    if as_json:
        typer.echo(json.dumps(_facts(found), indent=2, ensure_ascii=False))
    else:
        _show(found)


def _facts(found: StyleSet) -> dict[str, Any]:
    return {
        "backbone": {"name": found.backbone, "identity": found.backbone_identity},
        "size": found.size,
        "taps": list(found.taps),
        "styles": [asdict(style) for style in found.styles.values()],
    }


def _follow(records: Iterator[StyleAdded]) -> None:
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("styles", total=None)
        for record in records:
            bar.update(task, completed=record.done, total=record.total, description=record.name)


def _show(found: StyleSet) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, markup=False)
    table = Table(box=None, pad_edge=False)
    for heading in ("name", "picture", "title", "artist", "file"):
        table.add_column(heading, no_wrap=heading == "picture", overflow="fold")
    for style in found.styles.values():
        size = f"{style.width}x{style.height}"
        table.add_row(*map(Text, (style.name, size, style.title or "", style.artist or "", style.file)))
    console.print(table)
    console.print(f"backbone {found.backbone} ({found.backbone_identity[:12]}), long side at most {found.size} px")
    console.print(f"taps {' '.join(found.taps)}")
