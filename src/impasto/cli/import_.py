"""``impasto import``: networks in other people's files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from impasto.cli.common import ForceOption, print_facts, print_table, show_note
from impasto.errors import OptionError, WeightsError, require

if TYPE_CHECKING:
    from impasto.light.foreign import ForeignGraph

__all__ = ["import_"]

_File = Annotated[Path, typer.Argument(metavar="FILE", help="A file of somebody else's; docs/import.md lists kinds.")]
_Output = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", metavar="FILE", help="Where it goes: .safetensors, or .onnx of ONNX.", show_default=False
    ),
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
_Values = Annotated[
    int | None, typer.Option("--values", metavar="1|255", help="What white is to an ONNX file.", show_default=False)
]

_Median = Annotated[bool, typer.Option("--median", help="Smooth what it paints by 3x3, as jcjohnson's program does.")]


def import_(
    file: _File,
    output: _Output = None,
    kind: _Kind = None,
    explain: _Explain = False,
    style_names: _Names = None,
    channels: _Channels = "",
    values: _Values = None,
    median: _Median = False,
    force: ForceOption = False,
) -> None:
    """Turn a network in somebody else's file into one of ours, which says of itself what it is.

    `impasto stylize --model FILE` paints with such a file as it is.
    """
    if output is None and not explain:
        raise OptionError("say where it goes by `output`, or ask for `explain`", "output")
    if values not in (None, 1, 255):
        raise OptionError(f"`values` is 1 or 255, got {values!r}", "values")
    names = tuple(name.strip() for name in style_names.split(",")) if style_names else ()
    given = {"style_names": names, "channels": channels, "values": values or 0, "median": median}
    if file.suffix.casefold() == ".tflite":
        _refuse("TensorFlow Lite's files are painted with as they are", given | {"kind": kind, "output": output})
        print_facts(_facts_of_graph(file, "TensorFlow Lite's files are run by LiteRT"))
    elif output is not None and output.suffix.casefold() == ".onnx":
        _refuse("an ONNX file stays as it is in an `output` .onnx", {"median": median, "kind": kind})
        _adopt(file, output, given, explain=explain, force=force)
    else:
        _rebuild(file, output, kind, given, explain=explain, force=force)


def _refuse(why: str, given: Mapping[str, Any]) -> None:
    """OptionError for the first of these that was given."""
    if idle := next((name for name, value in given.items() if value), None):
        raise OptionError(f"{why}: leave `{idle}` out", idle)


def _rebuild(
    file: Path, output: Path | None, kind: str | None, given: Mapping[str, Any], *, explain: bool, force: bool
) -> None:
    """A network of ours, told or written."""
    require("torch safetensors", "torch", "opening other people's networks")
    from impasto.light.graphs import is_foreign
    from impasto.networks.foreign.explaining import explain as look
    from impasto.networks.foreign.importing import import_network
    from impasto.networks.foreign.source import Options

    options = Options(**given)
    try:
        found = look(file, kind=kind, options=options) if explain else None
        description = None if output is None else import_network(file, output, kind=kind, options=options, force=force)
    except WeightsError as error:
        if not is_foreign(str(file)):
            raise
        facts = _facts_of_graph(file, str(error))
        if output is not None:
            raise WeightsError(
                f"{error}; it is painted with as it is, and an `output` .onnx is a copy that says what it takes"
            ) from error
        print_facts(facts)
        return
    if found is not None:
        print_facts(found.facts.items())
        print_table(("before", "convolution", "after"), found.layers, whole=("convolution",))
    if description is not None:
        styles = ", ".join(row["name"] for row in description["styles"]) or "any picture"
        show_note(f"{output}: {description['came_from']['kind']}, now {description['method']}: {styles}")


def _adopt(file: Path, output: Path, given: Mapping[str, Any], *, explain: bool, force: bool) -> None:
    """A graph of others that says what it takes."""
    from impasto.light.foreign import Declared, adopt
    from impasto.networks.foreign.places import no_file, place_of

    channels, values, names = given["channels"], given["values"], given["style_names"]
    if channels not in ("", "rgb", "bgr"):
        raise OptionError(f"`channels` is rgb or bgr, got {channels!r}", "channels")
    if not place_of(file).is_file():
        raise WeightsError(no_file(file))
    graph = adopt(file, output, Declared("bgr" if channels == "bgr" else "rgb", values, names), force=force)
    if explain:
        print_facts(_facts_of(graph, "an output .onnx keeps it as it is"))
    styles = ", ".join(row["name"] for row in graph.description["styles"]) or "any picture"
    show_note(f"{output}: a graph for onnxruntime, {graph.description['value_range']}: {styles}")


def _facts_of_graph(file: Path, why: str) -> list[tuple[str, str]]:
    """What there is to tell of a graph that is no chain of a known kind."""
    from impasto.light.foreign import ForeignGraph
    from impasto.networks.foreign.places import no_file

    if not file.is_file():
        raise WeightsError(no_file(file))
    return _facts_of(ForeignGraph(file), why)


def _facts_of(graph: ForeignGraph, why: str) -> list[tuple[str, str]]:
    told, file = graph.description, graph.path
    return [
        ("kind", f"{file.suffix[1:].casefold()}, run as it is"),
        ("why", why),
        ("takes", told["value_range"]),
        ("gives", f"{told['value_range']}, clamped"),
        ("styles", ", ".join(row["name"] for row in told["styles"]) or "any picture"),
        ("licence", told["licence"]),
        ("sizes", graph.note or "any"),
        ("can", "strength, masks; neither bands nor bfloat16"),
        (
            "becomes",
            "nothing else" if file.suffix == ".tflite" else "a copy that says what it takes, by an output .onnx",
        ),
    ]
