"""Networks at toy size with random weights, as graphs in onnxruntime and as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import nn

from impasto.core.vgg import NORMALISATIONS, VGG
from impasto.export.graph import Graph
from impasto.export.networks import Part, parts_of
from impasto.networks.adain import AdaINConfig
from impasto.networks.brisk import BriskConfig
from impasto.networks.inference import bind
from impasto.networks.johnson import JohnsonConfig
from impasto.networks.multistyle import MultiStyleConfig
from impasto.networks.registry import Config, Network, as_encoded, as_universal, build, kind_of
from impasto.networks.universal import UniversalConfig

Array = NDArray[np.float32]
Weighted = list[tuple[Any, float]]

STYLES = ("a", "b", "c")
WINOGRAD = " by winograd"
NAMED: dict[str, Config] = {
    "johnson sigmoid": JohnsonConfig("sigmoid", width=8, blocks=2),
    "johnson linear": JohnsonConfig("linear", width=5, blocks=1),
    "johnson tanh": JohnsonConfig("tanh", width=6, blocks=3),
    "multistyle": MultiStyleConfig(STYLES, width=7, blocks=2),
    "multistyle of one": MultiStyleConfig(("a",), width=8, blocks=1),
    "brisk": BriskConfig(STYLES, channels=20, blocks=3, detail=24),  # so many that its last convolution comes sooner
    "brisk with reach": BriskConfig(STYLES, channels=20, blocks=3, detail=12, reach=24),
    "brisk with a margin": BriskConfig(STYLES, channels=20, blocks=1, detail=12, reach=24, margin=16),
    "brisk without a palette": BriskConfig(STYLES, channels=32, blocks=1, detail=16, palette=False),
    "johnson by winograd": JohnsonConfig("sigmoid", width=24, blocks=1),
    "brisk by winograd": BriskConfig(STYLES, channels=32, blocks=1, detail=24, reach=24, margin=16),
}
CONFIGS = (*NAMED, "adain", "adain, plain", "universal", "universal, caffe")


def encoder(*, factored: bool = False, **kind: Any) -> VGG:
    torch.manual_seed(0)
    ranks = {"conv1_1": 9, "conv2_1": 20, "conv3_2": 24} if factored else None
    vgg = VGG("vgg16", last="conv4_1", name="toy", ranks=ranks, **kind).requires_grad_(False)
    for value in vgg.parameters():
        if value.ndim == 4:
            nn.init.kaiming_normal_(value)
    return vgg


@cache
def network(name: str) -> Network:
    """One of `CONFIGS`, whose styles differ and whose every channel is shifted and scaled."""
    if name in NAMED:
        config, seen = NAMED[name], None
    elif name == "adain":
        config, seen = AdaINConfig("toy", width=1 / 16), encoder(factored=True, padding="replicate")
    elif name == "adain, plain":
        plain = encoder(pool="l2", normalisation=NORMALISATIONS["none"], rescale_pool=True)
        config, seen = AdaINConfig("toy", "zeros", width=1 / 64), plain
    elif name == "universal":
        config = UniversalConfig("toy", channels=24, blocks=2, detail=8, parts=6, hidden=10, reach=8)
        seen = encoder(factored=True, padding="replicate")
    else:
        config = UniversalConfig("toy", "zeros", channels=32, blocks=1, detail=16, parts=8, hidden=8)
        seen = encoder(pool="average", normalisation=NORMALISATIONS["caffe"])
    torch.manual_seed(1)
    made = build(config, seen).eval()
    with torch.no_grad():
        for key, value in made.named_parameters():
            if key.endswith(("gamma", "beta", "matrix", "offset")) or ".in" in key or key.startswith("in"):
                value.add_(0.3 * torch.randn_like(value))
        if (universal := as_universal(made)) is not None:
            several = torch.from_numpy(np.concatenate([texture((40, 40), seed) for seed in range(12)]))
            universal.predictor.learn_basis(universal.signature(several).features)
            nn.init.normal_(universal.predictor.rows.weight, std=0.3)
    return made


def model_bytes(part: Part) -> bytes:
    content: bytes = part.graph.model("toy", part.inputs, part.outputs, {}, "").SerializeToString()
    return content


def session(content: bytes, *, optimised: bool = True) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


@dataclass(frozen=True)
class Exported:
    """A network, and its graphs in onnxruntime."""

    network: Network
    files: tuple[bytes, ...]
    paint: onnxruntime.InferenceSession
    look: onnxruntime.InferenceSession | None = None

    def style(self, blend: Weighted) -> Mapping[str, Array]:
        """The input that stands for a blend of names or of pictures (1, 4, h, w)."""
        total = sum(weight for _, weight in blend)
        if self.look is not None:
            seen = [weight / total * self.look.run(None, {"style": picture})[0] for picture, weight in blend]
            return {"parameters": np.sum(seen, 0, dtype=np.float32)}
        if not self.network.styles:
            return {}
        shares = [sum(weight for one, weight in blend if one == name) / total for name in self.network.styles]
        return {"mix": np.array([shares], np.float32)}

    def painted(self, photo: Array, blend: Weighted, strength: float = 1.0, alpha: float = 1.0) -> Array:
        """By the graphs."""
        inputs = {"image": photo, "strength": np.array(strength, np.float32), **self.style(blend)}
        if kind_of(self.network).alpha:
            inputs["alpha"] = np.array(alpha, np.float32)
        out: Array = self.paint.run(None, inputs)[0]
        return out

    def wanted(self, photo: Array, blend: Weighted, strength: float = 1.0, alpha: float = 1.0) -> Array:
        """By the network."""
        if as_encoded(self.network) is not None:
            blend = [(torch.from_numpy(picture), weight) for picture, weight in blend]
        if not kind_of(self.network).alpha:
            alpha = 1.0
        bound = bind(self.network, blend if self.network.styles or as_encoded(self.network) else [])
        out: Array = bound(torch.from_numpy(photo), strength=strength, alpha=alpha).numpy()
        return out

    def apart(self, photo: Array, blend: Weighted, **options: float) -> float:
        """The largest difference, in steps of 255."""
        return float(np.abs(self.painted(photo, blend, **options) - self.wanted(photo, blend, **options)).max() * 255)


@cache
def exported(name: str) -> Exported:
    made = parts_of(network(name), partial(Graph, winograd=name.endswith(WINOGRAD)))
    files = tuple(model_bytes(part) for part in (made.paint, made.look) if part is not None)
    return Exported(network(name), files, *map(session, files))


def blend_for(one: Exported, weights: list[float], seed: int = 0) -> Weighted:
    """As many styles as there are weights, if it blends as many."""
    if one.look is None:
        return list(zip(one.network.styles, weights, strict=False))
    chance = np.random.default_rng(seed)
    sizes = chance.integers(1, 60, (len(weights), 2))
    pictures = [seen(texture((int(h), int(w)), seed + i), seed + i) for i, (h, w) in enumerate(sizes)]
    return list(zip(pictures, weights, strict=True))


def texture(size: tuple[int, int], seed: int = 0) -> Array:
    """A picture (1, 3, h, w) of 8 bits with structure at several scales."""
    chance, total = np.random.default_rng(seed), np.zeros((*size, 3), np.float32)
    for scale in (1, 3, 9, 27):
        small = chance.random((-(-size[0] // scale), -(-size[1] // scale), 3), np.float32)
        total += small.repeat(scale, 0).repeat(scale, 1)[: size[0], : size[1]] / 4
    return np.ascontiguousarray(total.transpose(2, 0, 1)[None] * 255).round() / np.float32(255)


def seen(picture: Array, seed: int | None = None) -> Array:
    """A style picture with its fourth channel: opaque, or with transparent and half-transparent pixels."""
    weights = np.ones_like(picture[:, :1])
    if seed is not None:
        weights = np.random.default_rng(seed).choice(np.float32([0, 0.5, 1]), weights.shape)
        weights[..., 0, 0] = 1  # at least one counts
    return np.concatenate([picture, weights], 1)
