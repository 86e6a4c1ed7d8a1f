"""``impasto weights``: which backbones are here, and how to get those that are not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from impasto.cli.common import JsonOption
from impasto.errors import WeightsError

if TYPE_CHECKING:
    from impasto.core.download import Progress

__all__ = ["weights_app"]

weights_app = typer.Typer(help="List, fetch, verify and import backbones.", no_args_is_help=True)

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

    _follow(name, fetch(name))
    typer.echo(locate(name))


@weights_app.command()
def verify(names: _Names = None) -> None:
    """Hash the files and compare them with the table; exit code 2 if one differs."""
    from impasto.core.weights import verify

    wrong = []
    for check in verify(names or ()):
        typer.echo(f"{check.name}: {'right' if check.ok else 'WRONG'}: {check.path} (SHA-256 {check.sha256})")
        if not check.ok:
            wrong.append(check)
    if wrong:
        paths = ", ".join(str(check.path) for check in wrong)
        raise WeightsError(f"not what the table says: {paths}: remove and fetch or import again")


@weights_app.command("import")
def import_(path: _File, name: _Expected = None) -> None:
    """Copy a backbone's file to where the program looks for it; it is known by its SHA-256."""
    from impasto.core.weights import import_file

    row, target = import_file(path, name)
    typer.echo(f"{row.name}: {target}")


def _rows() -> list[dict[str, Any]]:
    from impasto.core.weights import BACKBONES, locate

    return [_fields(name, locate(name)) for name in BACKBONES]


def _fields(name: str, path: Path | None) -> dict[str, Any]:
    from impasto.core.weights import BACKBONES

    row = BACKBONES[name]
    return {
        "name": row.name,
        "path": None if path is None else str(path),
        "bytes": None if path is None else path.stat().st_size,
        "megabytes": row.megabytes,
        "topology": row.topology,
        "normalisation": row.normalisation,
        "keys": row.keys,
        "licence": row.licence,
        "source": row.source,
        "url": row.url,
        "sha256": list(row.sha256),
        "citation": row.citation,
    }


def _show(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("name", "here", "size", "licence", "source"):
        table.add_column(heading, no_wrap=heading in ("name", "here", "size"), overflow="fold")
    for row in rows:
        size = row["megabytes"] if row["bytes"] is None else max(1, round(row["bytes"] / 1e6))
        here = "no" if row["path"] is None else "yes"
        table.add_row(row["name"], here, f"{size} MB", row["licence"], row["url"] or row["source"])
    console = Console(highlight=False, markup=False)
    console.print(table)
    for path in sorted({str(Path(row["path"]).parent) for row in rows if row["path"]}):
        console.print(f"in {path}", soft_wrap=True)


def _follow(name: str, records: Iterator[Progress]) -> None:
    """Draw a bar of the download while it goes on; the first record alone means nothing was to be done."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Bar(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task(name, total=None)
        for record in records:
            bar.update(task, completed=record.done, total=record.total)
