"""Networks of any style as their authors' descriptions have them, with random weights, written as they save them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from .foreign_samples import random_weights

State = dict[str, Tensor]


def reflected(x: Tensor, state: Mapping[str, Tensor], name: str, *, stride: int = 1, groups: int = 1) -> Tensor:
    weight = state[f"{name}.weight"]
    border = weight.shape[-1] // 2
    return F.conv2d(F.pad(x, (border,) * 4, "reflect"), weight, state[f"{name}.bias"], stride, groups=groups)


def moments(x: Tensor, unbiased: bool = True) -> tuple[Tensor, Tensor]:
    variance, mean = torch.var_mean(x.double(), (2, 3), correction=int(unbiased), keepdim=True)
    return mean.float(), (variance + 1e-5).sqrt().float()


def adain(x: Tensor, style: tuple[Tensor, Tensor]) -> Tensor:
    mean, deviation = moments(x)
    return (x - mean) / deviation * style[1] + style[0]


class MicroAST:
    """16, 32 and 64 channels, divided by `slim`."""

    def __init__(self, slim: int = 4) -> None:
        self.make, self.slim = random_weights(3), slim
        a, b, c = 16 // slim, 32 // slim, 64 // slim
        self.encoders: dict[str, State] = {}
        for role in ("content_encoder", "style_encoder"):
            state: State = {}
            rows = ((0, a, 3, 9), (2, b, 1, 3), (4, b, b, 1), (6, c, 1, 3), (8, c, c, 1))
            for number, out, into, kernel in rows:
                self.layer(state, f"enc1.{number}", out, into, kernel)
            for name in ("enc1.10.conv1", "enc1.10.conv2", "enc2.0.conv1", "enc2.0.conv2"):
                self.layer(state, name, c, c, 3)
            self.encoders[role] = state
        self.modulator: State = {}
        for name in ("weight1", "bias1", "weight2", "bias2"):
            self.layer(self.modulator, f"{name}.0", c, 1, 3)
        self.decoder: State = {}
        for name in ("dec1.conv1", "dec1.conv2", "dec2.conv1", "dec2.conv2"):
            self.layer(self.decoder, name, c, c, 3)
        for number, out, into, kernel in ((1, b, 2, 3), (3, b, b, 1), (6, a, 2, 3), (8, a, a, 1), (10, 3, a, 9)):
            self.layer(self.decoder, f"dec3.{number}", out, into, kernel)
        self.decoder["dec3.10.conv_layer.bias"] += 0.5

    def layer(self, state: State, name: str, out: int, into: int, kernel: int) -> None:
        state[f"{name}.conv_layer.weight"] = self.make(out, into, kernel, kernel)
        state[f"{name}.conv_layer.bias"] = 0.1 * self.make(out)

    def write(self, folder: Path) -> Path:
        folder.mkdir(exist_ok=True)
        for role, state in {**self.encoders, "modulator": self.modulator, "decoder": self.decoder}.items():
            torch.save(state, folder / f"{role}_iter_5.pth.tar")
        return folder

    def encode(self, x: Tensor, state: State) -> tuple[Tensor, Tensor]:
        a, b = 16 // self.slim, 32 // self.slim
        for number, stride, groups in ((0, 1, 1), (2, 2, a), (4, 1, 1), (6, 2, b), (8, 1, 1)):
            x = F.relu(reflected(x, state, f"enc1.{number}.conv_layer", stride=stride, groups=groups))
        out = []
        for name in ("enc1.10", "enc2.0"):
            inner = F.relu(reflected(x, state, f"{name}.conv1.conv_layer"))
            x = x + reflected(inner, state, f"{name}.conv2.conv_layer")
            out.append(x)
        return out[0], out[1]

    def __call__(self, photo: Tensor, style: Tensor) -> Tensor:
        a, b, c = 16 // self.slim, 32 // self.slim, 64 // self.slim
        first, second = self.encode(style, self.encoders["style_encoder"])

        def signal(name: str, x: Tensor) -> Tensor:
            return reflected(x, self.modulator, f"{name}.0.conv_layer", groups=c).mean((2, 3), keepdim=True)

        x = self.encode(photo, self.encoders["content_encoder"])[1]
        for name, seen, number in (("dec1", second, 2), ("dec2", first, 1)):
            x = adain(x, moments(seen))
            w, bias = signal(f"weight{number}", seen), signal(f"bias{number}", seen)
            inner = F.relu(w * reflected(x, self.decoder, f"{name}.conv1.conv_layer") + bias * x)
            x = x + w * reflected(inner, self.decoder, f"{name}.conv2.conv_layer") + bias * inner
        for number, groups in ((1, b), (3, 1), (6, a), (8, 1), (10, 1)):
            if number in (1, 6):
                x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = reflected(x, self.decoder, f"dec3.{number}.conv_layer", groups=groups)
            x = F.relu(x) if number < 10 else x
        return x.clamp(0, 1)[..., : photo.shape[2], : photo.shape[3]]


class Naoto:
    """pytorch-AdaIN's decoder and encoder, a sixteenth as wide."""

    encoder_rows = ((0, 3, 3, 1), (2, 4, 3, 3), (5, 4, 4, 3), (9, 8, 4, 3), (12, 8, 8, 3), (16, 16, 8, 3),
                    (19, 16, 16, 3), (22, 16, 16, 3), (25, 16, 16, 3), (29, 32, 16, 3), (32, 32, 32, 3))  # fmt: skip
    decoder_rows = ((1, 16, 32), (5, 16, 16), (8, 16, 16), (11, 16, 16), (14, 8, 16), (18, 8, 8), (21, 4, 8),
                    (25, 4, 4), (28, 3, 4))  # fmt: skip

    def __init__(self) -> None:
        make = random_weights(4)
        self.encoder, self.decoder = {}, {}
        for number, out, into, kernel in self.encoder_rows:
            self.encoder |= {f"{number}.weight": make(out, into, kernel, kernel), f"{number}.bias": 0.1 * make(out)}
        for number, out, into in self.decoder_rows:
            self.decoder |= {f"{number}.weight": make(out, into, 3, 3), f"{number}.bias": 0.1 * make(out)}
        self.decoder["28.bias"] += 0.5

    def write(self, folder: Path) -> Path:
        folder.mkdir(exist_ok=True)
        torch.save(self.encoder, folder / "vgg_normalised.pth")
        torch.save(self.decoder, folder / "decoder.pth")
        return folder

    def encode(self, x: Tensor) -> Tensor:
        for number, *_ in self.encoder_rows[:-1]:
            x = reflected(x, self.encoder, str(number))
            x = x if number == 0 else F.relu(x)
            x = F.max_pool2d(x, 2, ceil_mode=True) if number in (5, 12, 25) else x
        return x

    def __call__(self, photo: Tensor, style: Tensor) -> Tensor:
        x = adain(self.encode(photo), moments(self.encode(style)))
        for number, *_ in self.decoder_rows:
            x = reflected(x, self.decoder, str(number))
            x = x if number == 28 else F.relu(x)
            x = F.interpolate(x, scale_factor=2) if number in (1, 14, 21) else x
        return x.clamp(0, 1)[..., : photo.shape[2], : photo.shape[3]]


class MSGNet:
    """Blocks of four times 4, 3 and 2 channels, a few of them; every name twice, as the original saves it."""

    def __init__(self, blocks: int = 2) -> None:
        self.make, self.blocks = random_weights(5), blocks
        self.state: State = {}
        self.conv("model.0.0.conv2d", 6, 3, 7)
        self.block("model.0.3", 6, 2)
        self.block("model.0.4", 8, 3)
        width = 12
        self.state["model.1.weight"] = 3 * self.make(1, width, width)
        for number in range(2, 2 + blocks):
            self.block(f"model.{number}", width, 3, beside=False)
        self.block(f"model.{2 + blocks}", width, 2, up=True)
        self.block(f"model.{3 + blocks}", 8, 1, up=True)
        self.conv(f"model.{6 + blocks}.conv2d", 3, 4, 7, scale=60)
        self.state[f"model.{6 + blocks}.conv2d.bias"] += 120

    def conv(self, name: str, out: int, into: int, kernel: int, scale: float = 1) -> None:
        self.state[f"{name}.weight"] = scale * self.make(out, into, kernel, kernel)
        self.state[f"{name}.bias"] = 0.1 * self.make(out)

    def block(self, name: str, into: int, planes: int, *, beside: bool = True, up: bool = False) -> None:
        if beside:
            self.conv(f"{name}.residual_layer{'.conv2d' if up else ''}", 4 * planes, into, 1)
        self.conv(f"{name}.conv_block.2", planes, into, 1)
        self.conv(f"{name}.conv_block.5.conv2d", planes, planes, 3)
        self.conv(f"{name}.conv_block.8", 4 * planes, planes, 1)

    def write(self, path: Path) -> Path:
        twice = {key.replace("model.0.", "model1."): value for key, value in self.state.items() if "model.0." in key}
        torch.save({**twice, "ins.weight": self.state["model.1.weight"], **self.state}, path)
        return path

    def run(self, x: Tensor, name: str, stride: int = 1, enlarge: bool = False) -> Tensor:
        def active(x: Tensor) -> Tensor:
            mean, deviation = moments(x, unbiased=False)
            return F.relu((x - mean) / deviation)

        def larger(x: Tensor) -> Tensor:
            return F.interpolate(x, scale_factor=2) if enlarge else x

        beside = x
        for key in (f"{name}.residual_layer", f"{name}.residual_layer.conv2d"):
            if f"{key}.weight" in self.state:
                beside = reflected(larger(x), self.state, key, stride=stride)
        x = reflected(active(x), self.state, f"{name}.conv_block.2")
        x = reflected(larger(active(x)), self.state, f"{name}.conv_block.5.conv2d", stride=stride)
        return beside + reflected(active(x), self.state, f"{name}.conv_block.8")

    def begin(self, x: Tensor) -> Tensor:
        x = reflected(x.flip(1) * 255, self.state, "model.0.0.conv2d")
        mean, deviation = moments(x, unbiased=False)
        x = F.relu((x - mean) / deviation)
        return self.run(self.run(x, "model.0.3", 2), "model.0.4", 2)

    def __call__(self, photo: Tensor, style: Tensor) -> Tensor:
        seen = self.begin(style).flatten(2)[0]
        gram = seen @ seen.T / seen.numel()
        x = self.begin(photo)
        product = self.state["model.1.weight"][0] @ gram
        x = (product.T @ x.flatten(2)).view_as(x)
        for number in range(2, 4 + self.blocks):
            x = self.run(x, f"model.{number}", enlarge=number >= 2 + self.blocks)
        mean, deviation = moments(x, unbiased=False)
        x = reflected(F.relu((x - mean) / deviation), self.state, f"model.{6 + self.blocks}.conv2d")
        return (x.flip(1) / 255).clamp(0, 1)[..., : photo.shape[2], : photo.shape[3]]
