"""``impasto weights``: which backbones are here, and how to get those that are not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from impasto.cli.common import JsonOption, show_note
from impasto.cli.usage import Commands
from impasto.errors import WeightsError

if TYPE_CHECKING:
    from impasto.core.download import Progress

__all__ = ["weights_app"]

weights_app = typer.Typer(cls=Commands, help="List, fetch, verify and import backbones.", no_args_is_help=True)

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
    rows = _rows()
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        _show(rows)


@weights_app.command()
def fetch(name: _Name) -> None:
    """Download a backbone; run it again to go on with a transfer that stopped."""
    from impasto.core.weights import fetch, locate

    try:
        with closing(fetch(name)) as records:
            _follow(name, records)
    except KeyboardInterrupt:
        show_note("what arrived is kept: run the same command again to go on")
        raise
    typer.echo(locate(name))


@weights_app.command()
def verify(names: _Names = None) -> None:
    """Hash the files and compare them with the table; exit code 2 if one differs."""
    from impasto.core.weights import verify

    wrong, any_here = [], False
    for check in verify(names or ()):
        any_here = True
        typer.echo(f"{check.name}: {'right' if check.ok else 'WRONG'}: {check.path} (SHA-256 {check.sha256})")
        if not check.ok:
            wrong.append(check)
    if not any_here:
        show_note("no backbone is here: `impasto weights fetch NAME` brings one")
    if wrong:
        paths = ", ".join(str(check.path) for check in wrong)
        raise WeightsError(f"not what the table says: {paths}: get them again")


@weights_app.command("import")
def import_(path: _File, name: _Expected = None) -> None:
    """Copy a backbone's file to where the program looks for it; it is known by its SHA-256."""
    from impasto.core.weights import import_file

    row, target = import_file(path, name)
    typer.echo(f"{row.name}: {target}")


def _rows() -> list[dict[str, Any]]:
    """The table's rows and what is here of them, in types that JSON has."""
    from dataclasses import asdict

    from impasto.core.weights import BACKBONES, describe, locate

    rows = []
    for name, row in BACKBONES.items():
        path = locate(name)
        here = {"path": path and str(path), "bytes": path and path.stat().st_size}
        rows.append({**asdict(row), **describe(row), **here})
    return rows


def _show(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("name", "here", "size", "licence", "source"):
        table.add_column(heading, no_wrap=heading in ("name", "here", "size"), overflow="fold")
    for row in rows:
        size = row["megabytes"] if row["bytes"] is None else max(1, round(row["bytes"] / 1e6))
        here = "no" if row["path"] is None else "yes"
        table.add_row(row["name"], here, f"{size} MB", row["licence"], row["source"])
    console = Console(highlight=False, markup=False)
    console.print(table)
    for row in rows:
        if row["path"]:
            console.print(f"{row['name']}: {row['path']}", soft_wrap=True)


def _follow(name: str, records: Iterator[Progress]) -> None:
    """Draw a bar of the download while it goes on."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.progress import Progress as Bar

    first = next(records)  # before there is a bar: most of what can fail fails here
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Bar(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task(name, completed=first.done, total=first.total)
        for record in records:
            bar.update(task, completed=record.done, total=record.total)
