"""``impasto export``: networks for other programs, and as a page for browsers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from impasto.cli.common import ForceOption, print_table, show_note
from impasto.cli.usage import Commands
from impasto.cli.web import RuntimeOption
from impasto.errors import require
from impasto.types import Stored

__all__ = ["export_app"]

export_app = typer.Typer(cls=Commands, help="Take networks to other programs.", no_args_is_help=True)

_Model = Annotated[str, typer.Argument(metavar="NAME|FILE", help="gallery, universal, or what `impasto train` wrote.")]
_Output = Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Where it goes: .onnx.")]
_Folder = Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="The folder to write.")]
_Precision = Annotated[
    Stored, typer.Option(help="How weights are stored; float16 is half the size. Computed is in float32.")
]
_Winograd = Annotated[
    bool,
    typer.Option(
        "--winograd",
        help="3x3 convolutions with half the multiplications: quicker in WebAssembly, with more memory.",
    ),
]
_Check = Annotated[bool, typer.Option("--check", help="Paint with the network and with the file, and compare.")]


@export_app.command("onnx")
def onnx(
    model: _Model,
    output: _Output,
    precision: _Precision = "float32",
    winograd: _Winograd = False,
    check: _Check = False,
    force: ForceOption = False,
) -> None:
    """Write a trained network as ONNX: any size, styles and strength as inputs.

    A network of any style becomes two files: FILE paints, FILE-style looks at style pictures.
    """
    require("torch onnx", "onnx", "exporting a network")
    from impasto.export.check import differences
    from impasto.export.onnx_file import export_onnx

    files = export_onnx(model, output, stored=precision, winograd=winograd, force=force)
    for file in files:
        show_note(f"{file}: {file.stat().st_size / 1e6:.1f} MB")
    if check:
        rows = [
            (row.what, f"{row.largest:.4f}", f"{row.mean:.5f}", f"{row.share:.4%}") for row in differences(model, files)
        ]
        print_table(("painted", "largest", "mean", "by more than 1"), rows, title="Differences, in steps of 255")


@export_app.command("web")
def web(output: _Folder, runtime: RuntimeOption = None, force: ForceOption = False) -> None:
    """Write a page that paints in the browser, as a folder that any static server can serve.

    It works without a network after the first visit, and sends nothing anywhere. `impasto web` serves it here.
    """
    from impasto.export.web import export_web

    page = export_web(output, runtime=runtime, force=force)
    how = "WebGPU and WebAssembly" if page.webgpu else "WebAssembly"
    show_note(f"{page.path}: {page.size / 1e6:.1f} MB, of which a visit fetches {page.visit / 1e6:.1f} MB; by {how}")
