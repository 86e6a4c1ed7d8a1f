"""``impasto weights``: which backbones are here, and how to get those that are not."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from impasto.cli.common import JsonOption, bar, print_json, print_table, show_note
from impasto.cli.usage import Commands
from impasto.errors import WeightsError, require

__all__ = ["weights_app"]

weights_app = typer.Typer(cls=Commands, help="List, fetch, verify and import backbones.", no_args_is_help=True)

_NEEDED = "torch safetensors", "torch", "what has to do with backbones"
_Name = Annotated[str, typer.Argument(metavar="NAME", help="A name of `impasto weights list`.")]
_Names = Annotated[
    list[str] | None, typer.Argument(metavar="[NAME]...", help="Names; without any, all that are present.")
]
_File = Annotated[Path, typer.Argument(metavar="PATH", help="A weights file that the table knows.")]
_Expected = Annotated[
    str | None, typer.Option("--name", metavar="NAME", help="Refuse the file if it is another backbone.")
]


@weights_app.command("list")
def list_(as_json: JsonOption = False) -> None:
    """List the backbones: which are here, their size, licence and source."""
    require(*_NEEDED)
    from impasto.core.weights import inventory

    rows = inventory()
    if as_json:
        print_json(rows)
        return
    cells = []
    for row in rows:
        absent = row["megabytes"] if row["package"] is None else row["package"]["megabytes"]
        size = absent if row["bytes"] is None else max(1, round(row["bytes"] / 1e6))
        cells.append((row["name"], "yes" if row["path"] else "no", f"{size} MB", row["licence"], row["source"]))
    print_table(("name", "here", "size", "licence", "source"), cells, whole=("name", "here", "size"))
    for row in rows:
        if row["path"]:
            typer.echo(f"{row['name']}: {row['path']}")


@weights_app.command()
def fetch(name: _Name) -> None:
    """Download a backbone; run it again to go on with a transfer that stopped."""
    require(*_NEEDED)
    from impasto.core.weights import fetch, locate

    try:
        with closing(fetch(name)) as records:
            first = next(records)  # before there is a bar: most of what can fail fails here
            with bar("bytes", stays=True) as show:
                show(first.done, first.total, name)
                for record in records:
                    show(record.done, record.total, name)
    except KeyboardInterrupt:
        show_note("what arrived is kept: run the same command again to go on")
        raise
    typer.echo(locate(name))


@weights_app.command()
def verify(names: _Names = None) -> None:
    """Hash the files and compare them with the table; exit code 2 if one differs."""
    require(*_NEEDED)
    from impasto.core.weights import verify

    wrong, check = [], None
    for check in verify(names or ()):
        typer.echo(f"{check.name}: {'right' if check.ok else 'WRONG'}: {check.path} (SHA-256 {check.sha256})")
        wrong += [] if check.ok else [str(check.path)]
    if check is None:
        show_note("no backbone is here: `impasto weights fetch NAME` brings one")
    if wrong:
        raise WeightsError(f"not what the table says: {', '.join(wrong)}: get them again")


@weights_app.command("import")
def import_(path: _File, name: _Expected = None) -> None:
    """Copy a backbone's file to where the program looks for it; it is known by its SHA-256."""
    require(*_NEEDED)
    from impasto.core.weights import import_file

    row, target = import_file(path, name)
    typer.echo(f"{row.name}: {target}")
