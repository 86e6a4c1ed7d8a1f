"""Files of other people's formats, written from the formats' descriptions, and plain networks to compare with."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

CAFFE = torch.tensor([103.939, 116.779, 123.68]).view(1, 3, 1, 1)
SIZES = [(64, 64), (61, 83), (86, 50)]


def picture(height: int, width: int, seed: int = 0) -> Tensor:
    """Something with large shapes and noise."""
    draw = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 5, 6, generator=draw)
    return (F.interpolate(coarse, (height, width), mode="bilinear") + 0.1 * torch.rand(1, 3, height, width)).clamp(0, 1)


def random_weights(seed: int = 0) -> Callable[..., Tensor]:
    """A function from a shape to weights that keep values at about the same size."""
    draw = torch.Generator().manual_seed(seed)

    def make(*shape: int) -> Tensor:
        fan = max(1, int(np.prod(shape[1:])))
        return (
            torch.randn(*shape, generator=draw) * (2 / fan) ** 0.5
            if len(shape) > 1
            else torch.randn(shape[0], generator=draw)
        )

    return make


def instance(x: Tensor, gamma: Tensor, beta: Tensor, eps: float = 1e-5) -> Tensor:
    variance, mean = torch.var_mean(x.double(), (2, 3), correction=0, keepdim=True)
    return ((x.double() - mean) / (variance + eps).sqrt() * gamma.view(1, -1, 1, 1) + beta.view(1, -1, 1, 1)).float()


# -- Torch7 -----------------------------------------------------------------------------------------------------------


class Lua:
    """A Torch object: its class and its fields."""

    def __init__(self, kind: str, **fields: object) -> None:
        self.kind, self.fields = kind, fields


class Torch7Writer:
    """Objects as torch.save of Torch7 writes them, in binary or ASCII."""

    def __init__(self, *, as_text: bool = False) -> None:
        self.as_text, self.out, self.count = as_text, [], 0

    def bytes(self, value: object) -> bytes:
        self.value(value)
        return b"".join(self.out)

    def number(self, form: str, value: float) -> None:
        self.out.append(f"{value}\n".encode() if self.as_text else struct.pack(f"<{form}", value))

    def text(self, value: str) -> None:
        self.number("i", len(value))
        self.out.append(value.encode() + (b"\n" if self.as_text else b""))

    def index(self) -> None:
        self.count += 1
        self.number("i", self.count)

    def value(self, value: object) -> None:
        if value is None:
            self.number("i", 0)
        elif isinstance(value, bool):
            self.number("i", 5)
            self.number("i", int(value))
        elif isinstance(value, int | float):
            self.number("i", 1)
            self.number("d", value)
        elif isinstance(value, str):
            self.number("i", 2)
            self.text(value)
        elif isinstance(value, list):
            self.value(dict(enumerate(value, 1)))
        elif isinstance(value, Mapping):
            self.number("i", 3)
            self.index()
            self.number("i", len(value))
            for key, inner in value.items():
                self.value(key)
                self.value(inner)
        elif isinstance(value, Tensor):
            self.tensor(value)
        else:
            self.number("i", 4)
            self.index()
            self.text("V 1")
            self.text(value.kind)
            self.value(value.fields)

    def tensor(self, value: Tensor) -> None:
        kind = "Double" if value.dtype == torch.float64 else "Float"
        self.number("i", 4)
        self.index()
        self.text("V 1")
        self.text(f"torch.{kind}Tensor")
        self.number("i", value.ndim)
        if self.as_text:
            self.out.append(
                (" ".join(map(str, value.shape)) + "\n" + " ".join(map(str, value.stride())) + "\n").encode()
            )
        else:
            for number in (*value.shape, *value.stride()):
                self.number("q", number)
        self.number("q", 1)  # the offset, which Lua counts from 1
        self.number("i", 4)
        self.index()
        self.text("V 1")
        self.text(f"torch.{kind}Storage")
        self.number("q", value.numel())
        flat = value.contiguous().flatten()
        if self.as_text:
            self.out.append((" ".join(repr(float(number)) for number in flat) + "\n").encode())
        else:
            self.out.append(flat.numpy().tobytes())


class Johnson7:
    """jcjohnson's network at a small width: its modules as Lua has them, and plainly."""

    def __init__(self, *, start: bool = True, batch_norm: bool = False, double: bool = False, blocks: int = 2) -> None:
        self.start, self.batch_norm, self.blocks = start, batch_norm, blocks
        self.make = random_weights(7)
        self.double = double
        self.plain: list[Callable[[Tensor], Tensor]] = []
        self.modules = self.build()

    def t(self, value: Tensor) -> Tensor:
        return value.double() if self.double else value

    def conv(self, into: int, out: int, kernel: int, stride: int, border: int, how: str) -> tuple[list[Lua], Callable]:
        weight, bias = self.make(out, into, kernel, kernel), self.make(out)
        if out == 3 and self.batch_norm:
            weight *= 0.02  # nothing has normalised these values, and tanh would tear them apart
        modules = []
        if how == "reflect" and border:
            modules.append(Lua("nn.SpatialReflectionPadding", pad_l=border, pad_r=border, pad_t=border, pad_b=border))
        own = border if how == "zeros" else 0
        modules.append(
            Lua(
                "nn.SpatialConvolution", nInputPlane=into, nOutputPlane=out, kW=kernel, kH=kernel, dW=stride, dH=stride,
                padW=own, padH=own, weight=self.t(weight), bias=self.t(bias), output=torch.ones(0),
            )
        )  # fmt: skip

        def run(x: Tensor) -> Tensor:
            x = F.pad(x, (border,) * 4, mode="reflect") if how == "reflect" else x
            return F.conv2d(x, weight, bias, stride, own)

        return modules, run

    def norm(self, channels: int) -> tuple[Lua, Callable]:
        gamma, beta = self.make(channels), self.make(channels)
        if not self.batch_norm:
            return (
                Lua("nn.InstanceNormalization", eps=1e-5, nOutput=channels, weight=self.t(gamma), bias=self.t(beta)),
                lambda x: instance(x, gamma, beta),
            )
        mean, variance = self.make(channels), self.make(channels).square() + 0.5
        lua = Lua(
            "nn.SpatialBatchNormalization", eps=1e-5, weight=self.t(gamma), bias=self.t(beta),
            running_mean=self.t(mean), running_var=self.t(variance), affine=True,
        )  # fmt: skip
        return lua, lambda x: F.batch_norm(x, mean, variance, gamma, beta, eps=1e-5)

    def build(self) -> Lua:
        modules: list[Lua] = []
        how = "zeros"
        if self.start:
            n = 8 * self.blocks
            modules.append(Lua("nn.SpatialReflectionPadding", pad_l=n, pad_r=n, pad_t=n, pad_b=n))
            self.plain.append(lambda x: F.pad(x, (n,) * 4, mode="reflect"))
        for into, out, kernel, stride in ((3, 4, 9, 1), (4, 6, 3, 2), (6, 8, 3, 2)):
            lua, run = self.conv(into, out, kernel, stride, kernel // 2, how)
            norm, normed = self.norm(out)
            modules += [*lua, norm, Lua("nn.ReLU", inplace=True)]
            self.plain += [run, normed, torch.relu]
        for _ in range(self.blocks):
            modules.append(self.block())
        for into, out in ((8, 6), (6, 4)):
            weight, bias = self.make(into, out, 3, 3), self.make(out)
            modules.append(
                Lua(
                    "nn.SpatialFullConvolution", nInputPlane=into, nOutputPlane=out, kW=3, kH=3, dW=2, dH=2, padW=1,
                    padH=1, adjW=1, adjH=1, weight=self.t(weight), bias=self.t(bias),
                )
            )  # fmt: skip
            norm, normed = self.norm(out)
            modules += [norm, Lua("nn.ReLU")]
            self.plain += [
                lambda x, w=weight, b=bias: F.conv_transpose2d(x, w, b, 2, 1, output_padding=1),
                normed,
                torch.relu,
            ]
        lua, run = self.conv(4, 3, 9, 1, 4, how)
        modules += [
            *lua,
            Lua("nn.Tanh"),
            Lua("nn.MulConstant", constant_scalar=150),
            Lua("nn.TotalVariation", strength=1e-6),
        ]
        self.plain += [run, lambda x: x.tanh() * 150]
        return Lua("nn.Sequential", modules=modules, train=False)

    def block(self) -> Lua:
        border = 0 if self.start else 1
        first, run_first = self.conv(8, 8, 3, 1, border, "zeros")
        second, run_second = self.conv(8, 8, 3, 1, border, "zeros")
        (norm_a, normed_a), (norm_b, normed_b) = self.norm(8), self.norm(8)
        inner = Lua("nn.Sequential", modules=[*first, norm_a, Lua("nn.ReLU"), *second, norm_b])
        skip = Lua("nn.ShaveImage", size=2) if self.start else Lua("nn.Identity")

        def run(x: Tensor) -> Tensor:
            y = normed_b(run_second(torch.relu(normed_a(run_first(x)))))
            return y + (x[:, :, 2:-2, 2:-2] if self.start else x)

        self.plain.append(run)
        return Lua("nn.Sequential", modules=[Lua("nn.ConcatTable", modules=[inner, skip]), Lua("nn.CAddTable")])

    def write(self, path: Path, *, as_text: bool = False, **opt: object) -> None:
        path.write_bytes(Torch7Writer(as_text=as_text).bytes({"opt": opt, "model": self.modules, "iterations": 12}))

    def __call__(self, image: Tensor) -> Tensor:
        x = image.flip(1) * 255 - CAFFE
        for layer in self.plain:
            x = layer(x)
        return ((x + CAFFE) / 255).flip(1).clamp(0, 1)[..., : image.shape[2], : image.shape[3]]


# -- lengstrom --------------------------------------------------------------------------------------------------------


class Lengstrom:
    """lengstrom's network at a small width: variables in TensorFlow's order, and plainly."""

    def __init__(self, width: int = 4, blocks: int = 2) -> None:
        make, a, b, c = random_weights(3), width, 2 * width, 4 * width
        rows = [(9, 3, a), (3, a, b), (3, b, c), *[(3, c, c)] * (2 * blocks), (3, b, c), (3, a, b), (9, a, 3)]
        self.blocks = blocks
        self.variables: list[Tensor] = []
        for kernel, into, out in rows:
            weight = make(out, into, kernel, kernel).permute(2, 3, 1, 0).contiguous()
            transposed = (kernel, into, out) in ((3, b, c), (3, a, b)) and len(self.variables) > 9
            channels = into if transposed else out
            self.variables += [weight, make(channels), make(channels)]

    def names(self) -> dict[str, Tensor]:
        return {f"Variable_{i}" if i else "Variable": value for i, value in enumerate(self.variables)}

    def write(self, folder: Path) -> None:
        folder.mkdir()
        rows = {}
        for name, value in self.names().items():
            (folder / name).write_bytes(value.numpy().astype("<f4").tobytes())
            rows[name] = {"filename": name, "shape": list(value.shape)}
        (folder / "manifest.json").write_text(json.dumps(rows))

    def __call__(self, image: Tensor) -> Tensor:
        v = self.variables
        x, i = image * 255, 0

        def normed(y: Tensor, relu: bool) -> Tensor:
            y = instance(y, v[i + 2], v[i + 1], 1e-3)
            return y.relu() if relu else y

        def conv(y: Tensor, stride: int = 1, relu: bool = True) -> Tensor:
            weight = v[i].permute(3, 2, 0, 1)
            y = F.pad(y, (*_same(y.shape[3], weight.shape[3], stride), *_same(y.shape[2], weight.shape[2], stride)))
            return normed(F.conv2d(y, weight, stride=stride), relu)

        for stride in (1, 2, 2):
            x, i = conv(x, stride), i + 3
        for _ in range(self.blocks):
            y, i = conv(x), i + 3
            y, i = conv(y, relu=False), i + 3
            x = x + y
        for _ in range(2):
            height, width = 2 * x.shape[2], 2 * x.shape[3]
            y = F.conv_transpose2d(x, v[i].permute(3, 2, 0, 1), stride=2)[:, :, :height, :width]
            x, i = normed(y, True), i + 3
        x = conv(x, relu=False)
        return ((x.tanh() * 150 + 127.5) / 255).clamp(0, 1)[..., : image.shape[2], : image.shape[3]]


def _same(side: int, kernel: int, stride: int) -> tuple[int, int]:
    total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
    return total // 2, total - total // 2


# -- TensorFlow's checkpoints -----------------------------------------------------------------------------------------


def write_checkpoint(prefix: Path, tensors: Mapping[str, Tensor], objects: Mapping[str, str] | None = None) -> None:
    """Index and data of a checkpoint, as its V2 writer lays them out: one shard, plain blocks.

    As TensorFlow 2 writes it, the keys of `objects` are those of `tensors`, and their values what they are called.
    """
    data, rows = b"", {b"": message(1, 1) + message(3, message(1, 1))}
    for name, value in sorted(tensors.items()):
        raw = value.numpy().astype("<f4").tobytes()
        entry = message(1, 1) + message(2, _shapemessage(value)) + message(4, len(data)) + message(5, len(raw))
        rows[name.encode()] = entry + b"\x35" + bytes(4)  # a checksum of four bytes, field 6
        data += raw
    if objects is not None:
        named = [message(1, b"VARIABLE_VALUE") + message(2, full.encode()) + message(3, key.encode())
                 for key, full in objects.items()]  # fmt: skip
        text = message(1, message(1, message(1, 1) + message(2, b"child"))) + b"".join(
            message(1, message(2, row)) for row in named
        )
        raw = varint(len(text)) + bytes(4) + text
        entry = message(1, 7) + message(2, b"") + message(4, len(data)) + message(5, len(raw))
        rows[b"_CHECKPOINTABLE_OBJECT_GRAPH"] = entry + b"\x35" + bytes(4)
        data += raw
    prefix.with_name(f"{prefix.name}.data-00000-of-00001").write_bytes(data)
    prefix.with_name(f"{prefix.name}.index").write_bytes(_table(rows))


def _table(rows: Mapping[bytes, bytes]) -> bytes:
    table, blocks, names = b"", [], sorted(rows)
    for i in range(0, len(names), 20):
        part = {name: rows[name] for name in names[i : i + 20]}
        block = _block(part)
        blocks.append((names[min(i + 19, len(names) - 1)], varint(len(table)) + varint(len(block))))
        table += block + bytes(5)
    meta = varint(len(table)) + varint(len(_block({})))
    table += _block({}) + bytes(5)
    index = _block(dict(blocks))
    footer = meta + varint(len(table)) + varint(len(index))
    table += index + bytes(5) + footer.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)
    return table


def write_first_version(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """A checkpoint in one file, as TensorFlow wrote it until 2017."""
    meta = b"".join(
        message(1, message(1, name.encode()) + message(2, _shapemessage(value)) + message(3, 1))
        for name, value in tensors.items()
    )
    rows = {b"": message(1, meta)}
    for name, value in sorted(tensors.items()):
        numbers = message(5, value.numpy().astype("<f4").tobytes())
        rows[b"\0\1" + name.encode() + b"\0\1\x88"] = message(2, message(1, name.encode()) + message(3, numbers))
    path.write_bytes(_table(rows))


def _shapemessage(value: Tensor) -> bytes:
    return b"".join(message(2, message(1, side)) for side in value.shape)


def _block(rows: Mapping[bytes, bytes]) -> bytes:
    out, last, restarts = b"", b"", []
    for number, (key, value) in enumerate(rows.items()):
        shared = 0
        if number % 16 == 0:
            restarts.append(len(out))
        else:
            while shared < min(len(key), len(last)) and key[shared] == last[shared]:
                shared += 1
        out += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        last = key
    restarts = restarts or [0]
    return out + b"".join(struct.pack("<I", at) for at in restarts) + struct.pack("<I", len(restarts))


def message(field: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(field << 3) + varint(value)
    return varint(field << 3 | 2) + varint(len(value)) + value


def varint(value: int) -> bytes:
    out = b""
    while True:
        value, low = value >> 7, value & 127
        out += bytes([low | (128 if value else 0)])
        if not value:
            return out
