"""``impasto dataset``: style pictures with their statistics in one file, made and shown."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from impasto.cli.common import (
    BackboneInputOption,
    BackboneOption,
    ForceOption,
    JsonOption,
    bar,
    print_json,
    print_table,
)
from impasto.cli.usage import Commands
from impasto.errors import require

__all__ = ["dataset_app"]

dataset_app = typer.Typer(cls=Commands, help="Make and inspect data sets of styles.", no_args_is_help=True)

_NEEDED = "torch safetensors", "torch", "a data set of styles"
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

    Titles and artists are taken from styles.tsv (columns file, name, title, artist, year) or styles.json in the folder.
    """
    require(*_NEEDED)
    from impasto.core.weights import load_backbone
    from impasto.training.styles import build_styles

    network = load_backbone(backbone, input=backbone_input)
    with closing(build_styles(folder, out, network, size=size, force=force)) as records, bar() as show:
        for record in records:
            show(record.done, record.total, record.name)
    typer.echo(out)


@dataset_app.command()
def inspect(file: _File, as_json: JsonOption = False) -> None:
    """Show the styles in a file, with which backbone and at which layers they were looked at."""
    require(*_NEEDED)
    from impasto.training.styles import StyleSet

    found = StyleSet.open(file)
    if as_json:
        print_json(found.facts())
        return
    rows = [
        (style.name, f"{style.width}x{style.height}", style.title or "", style.artist or "", style.file)
        for style in found.styles.values()
    ]
    print_table(("name", "picture", "title", "artist", "file"), rows, whole=("picture",))
    typer.echo(f"backbone {found.backbone} ({found.backbone_identity[:12]}), long side at most {found.size} px")
    typer.echo(f"taps {' '.join(found.taps)}")
