"""Whether a network runs in onnxruntime (light) or in torch."""

from __future__ import annotations

import math
import os
import sys
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from os import PathLike
from typing import TYPE_CHECKING, Final, Literal

from impasto.errors import MissingExtraError, OptionError
from impasto.imaging.reading import read_header
from impasto.light.graphs import graph_of, is_foreign
from impasto.stylizer.request import EngineName, StylizeRequest
from impasto.stylizer.sizes import sizes_of

if TYPE_CHECKING:
    from impasto.types import PictureSource

__all__ = ["TORCH_TAKES", "Choice", "has_torch"]

WORTH_STARTING: Final = 16e6
"""Pixels in all from which torch, which paints faster, has made up for the second and more of its start."""

TORCH_TAKES: Final = 350_000_000
"""Bytes without which torch paints nothing: the library, a network, and what a band of a small picture needs."""


@cache
def has_torch() -> bool:
    """Whether torch is installed; it is not loaded."""
    return "torch" in sys.modules or find_spec("torch") is not None


@dataclass(frozen=True)
class Choice:
    """What a request and a network leave to choose from.

    Attributes:
        asked: the request's own word.
        why_not_light: what onnxruntime cannot do of what is asked for; None where it can.
        only_light: whether the network is a graph, which torch cannot read.
        foreign: whether it is a graph of others, which torch reads if it is a chain of a known kind.
        request: what is to be painted, and how.
    """

    asked: EngineName
    why_not_light: str | None
    only_light: bool
    foreign: bool
    request: StylizeRequest

    @classmethod
    def of(cls, request: StylizeRequest, model: str | PathLike[str], *, keeps_run: bool = False) -> Choice:
        """What there is to choose from for a request that this network carries out."""
        foreign = is_foreign(os.fspath(model))
        graph = graph_of(os.fspath(model))
        if graph is None and not has_torch():
            from impasto.networks.shipped import find_model

            find_model(model)  # where there is no such file, that is what is wrong
        is_graph = os.fspath(model).casefold().endswith((".onnx", ".tflite")) and not foreign
        reasons = {
            f"has no graph of {os.fspath(model)}: write one with `impasto export onnx`": graph is None,
            "computes on the processor: leave out `device`": request.device not in ("auto", "cpu"),
            "computes in float32: leave out `precision`": request.precision == "bfloat16",
            "paints at once: leave out `tile`": request.tile is not None,
            "paints at once: leave out `statistics`": request.statistics is not None,
            "cannot keep a run: leave out `run`": keeps_run,
        }
        why_not = next((reason for reason, holds in reasons.items() if holds), None)
        return cls(request.engine, why_not, is_graph, foreign, request)

    @property
    def is_open(self) -> bool:
        """Whether both engines can do what is asked for, and neither is asked for."""
        return self.asked == "auto" and self.why_not_light is None and not self.only_light and has_torch()

    def check(self, engine: EngineName) -> None:
        """OptionError if this engine cannot do what is asked for."""
        if engine == "light" and self.why_not_light is not None:
            raise OptionError(f"`engine` light {self.why_not_light}", "engine")
        if engine == "torch" and not has_torch():
            raise MissingExtraError("torch", "torch", "`engine` torch")
        if engine == "torch" and self.only_light:
            raise OptionError("`engine` torch reads no .onnx: give the file that it was made from, or leave it out")

    def engine(self, photo: PictureSource, pictures: int = 1) -> Literal["light", "torch"]:
        """The engine: the one asked for, else the only one that can, else the quicker one.

        Args:
            photo: the first of what is to be painted.
            pictures: how many there are.

        Raises:
            OptionError: the one that was asked for cannot do it.
            MissingExtraError: only torch could, which is not installed.
        """
        if self.only_light and self.why_not_light is not None:
            raise OptionError(f"a network in a .onnx file {self.why_not_light}")
        self.check(self.asked)
        if self.asked != "auto":
            return self.asked
        if self.only_light:
            return "light"
        if not has_torch():
            if self.why_not_light is not None:
                raise MissingExtraError("torch", "torch", f"onnxruntime alone {self.why_not_light}, or else this")
            return "light"
        if self.why_not_light is not None or self.foreign:
            return "torch"
        if "torch" in sys.modules:
            return "torch"
        return "torch" if pictures * self._pixels(photo) > WORTH_STARTING else "light"

    def _pixels(self, photo: PictureSource) -> float:
        """Of a file, from its header; of others what is usual."""
        if isinstance(photo, str | PathLike):
            size = read_header(photo, max_megapixels=self.request.max_megapixels).size
            return float(sum(math.prod(one) for one in sizes_of(size, self.request, coarse_to_fine=True).all_seen))
        return 1e6
