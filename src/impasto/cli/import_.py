"""``impasto import``: networks in other people's files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from impasto.cli.common import ForceOption, print_facts, print_table, show_note
from impasto.errors import OptionError, require

__all__ = ["import_"]

_File = Annotated[Path, typer.Argument(metavar="FILE", help="A file of somebody else's; docs/import.md lists kinds.")]
_Output = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where it goes: .safetensors.", show_default=False)
]
_Kind = Annotated[
    str | None, typer.Option("--kind", metavar="NAME", help="Of the file, where its content cannot tell.")
]
_Explain = Annotated[bool, typer.Option("--explain", help="Tell what is in the file; nothing is written without -o.")]
_Names = Annotated[
    str | None,
    typer.Option("--style-names", metavar="A,B,...", help="Of a network of several styles, in its order."),
]

_Channels = Annotated[
    str, typer.Option("--channels", metavar="rgb|bgr", help="That an ONNX file takes, where it does not say.")
]
_Values = Annotated[int, typer.Option("--values", metavar="1|255", help="What white is to an ONNX file.")]


def import_(
    file: _File,
    output: _Output = None,
    kind: _Kind = None,
    explain: _Explain = False,
    style_names: _Names = None,
    channels: _Channels = "",
    values: _Values = 0,
    force: ForceOption = False,
) -> None:
    """Turn a network in somebody else's file into one of ours, which says of itself what it is.

    `impasto stylize --model FILE` paints with such a file as it is.
    """
    require("torch safetensors", "torch", "opening other people's networks")
    from impasto.networks.foreign.explaining import explain as look
    from impasto.networks.foreign.importing import import_network
    from impasto.networks.foreign.source import Options

    if output is None and not explain:
        raise OptionError("say where it goes by `output`, or ask for `explain`", "output")
    names = tuple(name.strip() for name in style_names.split(",")) if style_names else ()
    options = Options(names, channels, values)
    if explain:
        found = look(file, kind=kind, options=options)
        print_facts(found.facts.items())
        print_table(("before", "convolution", "after"), found.layers, whole=("convolution",))
    if output is not None:
        description = import_network(file, output, kind=kind, options=options, force=force)
        styles = ", ".join(row["name"] for row in description["styles"]) or "any picture"
        show_note(f"{output}: {description['came_from']['kind']}, now {description['method']}: {styles}")
