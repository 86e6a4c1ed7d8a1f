"""What is in somebody else's file, for people: its kind, what it becomes, its layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from impasto.core.host import in_our_settings
from impasto.networks.chain import ChainConv
from impasto.networks.checkpoint import load_model
from impasto.networks.foreign.source import Options
from impasto.networks.inference import SEEN, off_in_bfloat16
from impasto.networks.programs import Program
from impasto.networks.registry import Network, as_adain, as_operators, kind_of, painter_of
from impasto.networks.staged import Stage

__all__ = ["Explanation", "explain"]


@dataclass(frozen=True)
class Explanation:
    """What there is to tell.

    Attributes:
        facts: by name, in order.
        layers: of each: what comes before its convolution, the convolution's shape, what follows it.
    """

    facts: Mapping[str, str]
    layers: Sequence[tuple[str, str, str]]


@in_our_settings
def explain(path: Path, *, kind: str | None = None, options: Options | None = None) -> Explanation:
    """Look into a file; errors as of `load_model`."""
    network, description = load_model(path, kind=kind, options=options)
    came: Mapping[str, Any] = description.get("came_from", {})
    names = [str(row.get("name")) for row in description["styles"]]
    facts = {
        "kind": str(came.get("kind", "a model of impasto")),
        "takes": str(came.get("takes", description["value_range"])),
        "gives": str(came.get("gives", description["value_range"])),
        "styles": ", ".join(names) or "any picture",
        "licence": str(description["licence"]),
        "becomes": f"method {network.METHOD}, {sum(p.numel() for p in network.parameters()):,} numbers",
        "can": _abilities(network),
    }
    layers: list[tuple[str, str, str]] = []
    if (listed := as_operators(network)) is not None:
        facts["sizes"] = f"any; below {listed.SMALLEST} px it is continued by reflection"
        facts["precision"] = _precision(network)
        facts["numbers of a style"] = f"{listed.config.numbers:,}"
        for name, program in (("looks", listed.look), ("paints", listed.paint)):
            layers += [_operator(name, program, number) for number in range(1, len(program.rows) + 1)]
    elif as_adain(network) is None:
        staged = painter_of(network)
        facts["sizes"] = f"any; below {staged.SMALLEST} px it is continued by reflection"
        facts["precision"] = _precision(network)
        layers = [_layer(stage) for stage in staged.stages()]
    for number, note in enumerate(came.get("notes", ()), 1):
        facts[f"note {number}"] = str(note)
    return Explanation(facts, layers)


def _abilities(network: Network) -> str:
    kind = kind_of(network)
    able = ["any size in bands", "strength", "masks", "export to ONNX"]
    able += ["blends of styles"] if kind.blends else []
    able += ["resuming a painting"] if kind.resumable else []
    return ", ".join(able)


def _operator(part: str, program: Program, number: int) -> tuple[str, str, str]:
    """Of a list of operators: where it stands and what it takes; what it does; how many channels come out."""
    row, width = program.rows[number - 1], program.widths
    what = row.kind.replace("_", " ")
    if row.kind == "conv":
        border = f"{'reflection' if row.mode == 'reflect' else row.mode} by {row.padding[0]}"
        what = f"{row.kernel}x{row.kernel}, {width[row.of[0]]} to {row.channels}, {border}"
        what += f", every {row.stride}" if row.stride > 1 else ""
        what += f", {row.groups} groups" if row.groups > 1 else ""
    elif row.kind in ("nearest", "bilinear", "spread"):
        what += f" {row.factor}x"
    return f"{part} {number}, of {' and '.join(map(str, row.of))}", what, f"{width[number]} channels"


def _layer(stage: Stage) -> tuple[str, str, str]:
    conv = stage.conv.conv2d
    before = [f"reflection by {stage.extend}"] if stage.extend else []
    before += ["opens a residual block"] if stage.opens else []
    before += [f"each pixel {stage.upsample}x"] if stage.upsample > 1 else []
    before += [f"pixels in blocks of {stage.unshuffle}"] if stage.unshuffle > 1 else []
    how = f"{conv.kernel_size[0]}x{conv.kernel_size[1]}, {conv.in_channels} to {conv.out_channels}"
    how += f", every {conv.stride[0]}" if conv.stride[0] > 1 else ""
    how += f", transposed by {stage.spread}" if stage.spread > 1 else f", {_border(stage)}"
    after = ["ReLU"] if stage.relu_first else []
    if stage.norm is not None:
        after.append(f"instance norm, eps {getattr(stage.norm, 'eps', 1e-5):g}")
    after += ["ReLU"] if stage.relu else []
    after += [f"adds the block's input{f' less {stage.crop} px' if stage.crop else ''}"] if stage.closes else []
    after += ["ReLU"] if stage.relu_sum else []
    return "; ".join(before), how, "; ".join(after)


def _border(stage: Stage) -> str:
    conv = stage.conv
    if not isinstance(conv, ChainConv):
        return f"reflection by {conv.halo}"
    if conv.padding == "same":
        return "zeros as TensorFlow pads"
    before, after = conv.padding
    if not before and not after:
        return "no border"
    sides = str(before) if before == after else f"{before} and {after}"
    return f"{'reflection' if conv.mode == 'reflect' else conv.mode} by {sides}"


def _precision(network: Network) -> str:
    """How far bfloat16 is from float32, and what is chosen."""
    off = off_in_bfloat16(network)
    kept = off > SEEN and getattr(network, "FLOAT32_ALONE", False)
    chosen = "float32" if kept else "what the machine is fast in"
    return f"bfloat16 would differ by up to {off:.1f} of 255, so unless asked it is {chosen}"
