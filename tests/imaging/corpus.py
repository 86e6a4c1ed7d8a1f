"""Files of all kinds that the readers can meet, made at run time, each with the picture that it must be."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .imaging_samples import HEIGHT, WIDTH, gradient, gradient16, png16, ramp_alpha, saved, tiff, with_alpha

Array = NDArray[Any]
SIGN = np.array([0, 128, 128], np.uint8)


@dataclass(frozen=True, eq=False)
class Sample:
    """A file and its picture: (H, W, 3) and (H, W) or None, in [0, 1]; `near` is how far of 255 it may be off."""

    data: bytes
    colour: Array
    alpha: Array | None = None
    near: float = 0.01
    suffix: str = ".tif"


def lab_of(rgb: Array) -> Array:
    """(H, W, 3) L*, a*, b* for white D50, from sRGB in [0, 1] (Bradford-adapted matrix)."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    matrix = np.array(
        [[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169], [0.0139322, 0.0971045, 0.7141733]]
    )
    ratio = linear @ matrix.T / [0.9642, 1.0, 0.8249]
    f = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


def ycbcr_of(rgb: Array) -> Array:
    """(H, W, 3) uint8 of full range (ITU-R BT.601), from uint8."""
    y = rgb @ np.array([0.299, 0.587, 0.114])
    return np.rint(np.stack([y, 128 + (rgb[..., 2] - y) / 1.772, 128 + (rgb[..., 0] - y) / 1.402], -1)).astype(np.uint8)


def directory(tags: dict[int, tuple[int, list[int]]], strip: bytes, *, then: int = 0, at: int = 8) -> bytes:
    """A directory (types 3: 16 bits, 4: 32 bits, 5: fractions) with its strip, to stand at a place in a TIFF."""
    begin = at + 2 + 12 * (len(tags) + 2) + 4
    tags = {**tags, 279: (4, [len(strip)]), 273: (4, [0])}
    beyond = sum(len(values) * (2 if kind == 3 else 4) for kind, values in tags.values())
    tags[273] = (4, [begin + beyond])
    table, far = struct.pack("<H", len(tags)), b""
    for code, (kind, values) in sorted(tags.items()):
        packed = struct.pack(f"<{len(values)}{'H' if kind == 3 else 'I'}", *values)
        short = len(packed) <= 4
        table += struct.pack("<HHI", code, kind, len(values) // (2 if kind == 5 else 1))
        table += packed.ljust(4, b"\0") if short else struct.pack("<I", begin + len(far))
        far += b"" if short else packed
    return table + struct.pack("<I", then) + far.ljust(beyond, b"\0") + strip


def hand_made(kind: int, bits: list[int], strip: bytes, size: tuple[int, int] = (HEIGHT, WIDTH), **more: Any) -> bytes:
    """A TIFF of one strip without compression."""
    tags = {256: (4, [size[1]]), 257: (4, [size[0]]), 258: (3, bits), 259: (3, [1]), 262: (3, [kind])}
    tags |= {277: (3, [len(bits)]), 278: (4, [size[0]])} | {int(code[1:]): value for code, value in more.items()}
    return b"II*\0\x08\0\0\0" + directory(tags, strip)


def subsampled(across: int, down: int) -> tuple[bytes, Array]:
    """The strip of a YCbCr picture with so many pixels to a colour, and its picture."""
    ycc = ycbcr_of(gradient()).astype(float)
    blocks = ycc.reshape(HEIGHT // down, down, WIDTH // across, across, 3)
    chroma = np.rint(blocks[..., 1:].mean((1, 3)))  # (h, w, 2)
    luma = blocks[..., 0].transpose(0, 2, 1, 3).reshape(HEIGHT // down, WIDTH // across, -1)
    strip = np.concatenate([luma, chroma], -1).astype(np.uint8).tobytes()
    wide = chroma.repeat(down, 0).repeat(across, 1) - 128
    y, cb, cr = ycc[..., 0], wide[..., 0], wide[..., 1]
    rgb = np.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], -1)
    return strip, rgb.clip(0, 255) / 255


def _layouts() -> Iterator[tuple[str, Sample]]:
    ways: dict[str, dict[str, Any]] = {
        "strip": {"rowsperstrip": HEIGHT},
        "strips": {"rowsperstrip": 7},
        "tiles": {"tile": (16, 32)},
        "planes": {"planarconfig": "separate", "rowsperstrip": 5},
        "tiled planes": {"planarconfig": "separate", "tile": (16, 16)},
    }
    codings: dict[str, dict[str, Any]] = {
        "plain": {},
        "lzw": {"compression": "lzw", "predictor": True},
        "deflate": {"compression": "zlib", "predictor": True, "byteorder": ">"},
        "packbits": {"compression": "packbits", "bigtiff": True},
        "zstd": {"compression": "zstd"},
    }
    for (way, layout), (coding, options), array in product(ways.items(), codings.items(), (gradient(), gradient16())):
        stored = np.moveaxis(array, 2, 0).copy() if "planes" in way else array
        bits = 8 * array.itemsize
        yield f"rgb {bits} {way} {coding}", Sample(tiff(stored, **layout, **options), array / (2**bits - 1))


def _depths() -> Iterator[tuple[str, Sample]]:
    grey = gradient16()[:, :, 0]
    for bits in (1, 2, 4, 8, 12, 16, 32):
        values = grey.astype(np.uint32) >> (16 - bits) if bits <= 16 else grey.astype(np.uint32) * 65537
        kept = values.astype(np.uint8 if bits <= 8 else np.uint16 if bits <= 16 else np.uint32)
        light = np.repeat(values[:, :, None] / (2**bits - 1), 3, axis=2)
        plain = {"rowsperstrip": 9, "bitspersample": bits}
        if bits in (8, 12, 16, 32):
            yield f"grey {bits}", Sample(tiff(kept, photometric="minisblack", **plain), light)
            continue
        steps = np.unpackbits(kept[:, :, None], axis=2)[:, :, 8 - bits :].reshape(HEIGHT, -1)
        packed = np.packbits(steps, axis=1).tobytes()
        yield f"grey {bits}", Sample(hand_made(1, [bits], packed), light)
        yield f"white {bits}", Sample(hand_made(0, [bits], packed), 1 - light)
    for dtype, pred in product((np.float16, np.float32), (False, True)):
        values = (gradient16() / 65535).astype(dtype)
        options = {"compression": "lzw", "predictor": 3} if pred else {}
        yield f"float {values.itemsize * 8} {pred}", Sample(tiff(values, **options), values.astype(float))


def _inks_and_lights() -> Iterator[tuple[str, Sample]]:
    ink = np.dstack([gradient(), ramp_alpha() // 2])
    light = (1 - ink[:, :, :3] / 255) * (1 - ink[:, :, 3:] / 255)
    for coding in (None, "lzw", "zlib"):
        yield f"cmyk {coding}", Sample(tiff(ink, photometric="separated", compression=coding), light)
    soft = np.rint(gradient() * 0.5 + 64).astype(np.uint8) / 255  # which CIELab of 8 bits holds well
    for coding, tiled in product((None, "lzw", "zlib"), ({"rowsperstrip": 9}, {"tile": (16, 16)})):
        options = {"compression": coding, **tiled}
        lab = lab_of(soft)
        eight = np.rint(lab * [2.55, 1, 1]).astype(np.int16).astype(np.uint8)
        yield f"cielab 8 {options}", Sample(tiff(eight, photometric="cielab", **options), soft, near=4)
        yield f"icclab 8 {options}", Sample(tiff(eight ^ SIGN, photometric="icclab", **options), soft, near=4)
        deep = np.rint(lab * [655.35, 256, 256]).astype(np.int32).astype(np.uint16)
        yield f"cielab 16 {options}", Sample(tiff(deep, photometric="cielab", **options), soft, near=0.2)
        old = np.rint((lab + np.array([0, 128, 128])) * [652.8, 256, 256]).astype(np.uint16)
        yield f"icclab 16 {options}", Sample(tiff(old, photometric="icclab", **options), soft, near=0.2)
    for across, down in ((1, 1), (2, 1), (2, 2), (4, 2)):
        strip, rgb = subsampled(across, down)
        data = hand_made(6, [8, 8, 8], strip, t530=(3, [across, down]))
        yield f"ycbcr {across}x{down}", Sample(data, rgb, near=2.5)
    whole = ycbcr_of(gradient())
    for coding in ("tiff_lzw", "tiff_adobe_deflate", "packbits"):
        image = Image.frombytes("YCbCr", (WIDTH, HEIGHT), whole.tobytes())
        yield f"ycbcr {coding}", Sample(saved(image, "TIFF", compression=coding), gradient() / 255, near=3)


def _scans() -> Iterator[tuple[str, Sample]]:
    bits = gradient()[:, :, 0] > 100
    bits[::5, ::3] ^= True
    image, light = Image.fromarray(bits), np.repeat(bits[:, :, None].astype(float), 3, axis=2)
    for coding in ("group3", "group4", "tiff_ccitt", "tiff_lzw"):
        for white, order in product((0, 1), (1, 2)):
            info = {262: white, 266: order}
            data = saved(image, "TIFF", compression=coding, tiffinfo=info, strip_size=60)
            yield f"{coding} {white} {order}", Sample(data, light if _photometric(data) == white else 1 - light)


def _photometric(data: bytes) -> int:
    with Image.open(io.BytesIO(data)) as image:
        return int(image.tag_v2[262])  # type: ignore[attr-defined]


def _alphas() -> Iterator[tuple[str, Sample]]:
    for array in (gradient(), gradient16()):
        bits, top = 8 * array.itemsize, np.iinfo(array.dtype).max
        alpha, extra = ramp_alpha(array.dtype.type), array[:, :, :1]
        colour, cover = array / top, alpha / top
        layouts: list[dict[str, Any]] = [{}, {"compression": "lzw"}, {"tile": (16, 16)}]
        for number, options in enumerate(layouts):
            last = tiff(with_alpha(array), extrasamples=["unassalpha"], **options)
            yield f"alpha {bits} {number}", Sample(last, colour, cover)
            both = np.dstack([array, extra, alpha])
            second = tiff(both, extrasamples=["unspecified", "unassalpha"], **options)
            yield f"second alpha {bits} {number}", Sample(second, colour, cover)
            planes = tiff(np.moveaxis(both, 2, 0).copy(), extrasamples=[0, 2], planarconfig="separate", **options)
            yield f"second alpha in planes {bits} {number}", Sample(planes, colour, cover)
            grey = tiff(np.dstack([extra, alpha]), photometric="minisblack", extrasamples=["unassalpha"], **options)
            yield f"grey alpha {bits} {number}", Sample(grey, colour[:, :, :1].repeat(3, 2), cover)


def _pages() -> Iterator[tuple[str, Sample]]:
    small, full = gradient()[::-4, ::4].copy(), gradient()
    tags = {258: (3, [8, 8, 8]), 259: (3, [1]), 262: (3, [2]), 277: (3, [3])}
    sides = [{256: (4, [a.shape[1]]), 257: (4, [a.shape[0]]), 278: (4, [a.shape[0]])} for a in (small, full)]

    def two(first: dict[int, Any], second: dict[int, Any], *, sub: bool) -> bytes:
        length = len(directory({**tags, **sides[0], **first, **({330: (4, [0])} if sub else {})}, small.tobytes()))
        more = {330: (4, [8 + length])} if sub else {}
        one = directory({**tags, **sides[0], **first, **more}, small.tobytes(), then=0 if sub else 8 + length)
        return b"II*\0\x08\0\0\0" + one + directory({**tags, **sides[1], **second}, full.tobytes(), at=8 + length)

    reduced, whole = {254: (4, [1])}, {254: (4, [0])}
    for name, first, second, sub in (
        ("thumbnail, then the picture", reduced, whole, False),
        ("thumbnail, then a page", reduced, {254: (4, [2])}, False),
        ("thumbnail of the old kind", {255: (3, [2])}, {}, False),
        ("thumbnail with the picture in a SubIFD", reduced, whole, True),
        ("unmarked thumbnail with the picture in a SubIFD", {}, whole, True),
    ):
        yield name, Sample(two(first, second, sub=sub), full / 255)
    turned = two({254: (4, [1]), 274: (3, [3])}, whole, sub=True)
    yield "turned, as the first page says", Sample(turned, full[::-1, ::-1] / 255)


def bmp32(alpha: Array, *, header: int = 124, fields: bool = True) -> bytes:
    """A BMP of 32 bits whose fourth byte is `alpha`."""
    pixels = np.dstack([gradient()[:, :, ::-1], alpha])[::-1].tobytes()
    info = struct.pack("<IiiHHIIiiII", header, WIDTH, HEIGHT, 1, 32, 3 if fields else 0, len(pixels), 0, 0, 0, 0)
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000 if header > 40 else 0)
    info += masks + b"BGRs" if header > 40 else masks[:12] if fields else b""
    info = info[: max(header, 52 if fields else 40)].ljust(header, b"\0")
    return struct.pack("<2sIHHI", b"BM", 14 + len(info) + len(pixels), 0, 0, 14 + len(info)) + info + pixels


def _others() -> Iterator[tuple[str, Sample]]:
    colour, clear = gradient() / 255, np.zeros((HEIGHT, WIDTH), np.uint8)
    for header, fields in ((40, False), (40, True), (56, True), (108, True), (124, True)):
        yield (
            f"bmp {header} {fields}, all clear",
            Sample(bmp32(clear, header=header, fields=fields), colour, suffix=".bmp"),
        )
    yield "bmp with alpha", Sample(bmp32(ramp_alpha()), colour, ramp_alpha() / 255, suffix=".bmp")
    image, cover = Image.fromarray(with_alpha(gradient())), ramp_alpha() / 255
    for kind, suffix, options in (
        ("PNG", ".png", {}),
        ("WEBP", ".webp", {"lossless": True, "exact": True}),
    ):
        yield f"{kind} alpha", Sample(saved(image, kind, **options), colour, cover, suffix=suffix)
    yield "deep png", Sample(png16(gradient16()), gradient16() / 65535, suffix=".png")
    for kind, suffix in (("JPEG", ".jpg"), ("WEBP", ".webp"), ("AVIF", ".avif"), ("HEIC", ".heic")):
        sampling = {"subsampling": 0} if kind == "JPEG" else {"chroma": 444} if kind == "HEIC" else {}
        sampling = {"subsampling": "4:4:4"} if kind == "AVIF" else sampling
        data = saved(gradient(), kind, quality=98, **sampling)
        yield kind, Sample(data, colour, near=12, suffix=suffix)
    for mode, kind in product(("L", "P", "1"), ("PNG", "GIF", "BMP", "TIFF")):
        made = Image.fromarray(gradient()).convert(mode)
        seen = np.asarray(made.convert("RGB")) / 255
        yield f"{kind} {mode}", Sample(saved(made, kind), seen, suffix=f".{kind.lower()}")


CORPUS: dict[str, Sample] = dict(
    entry for part in (_layouts, _depths, _inks_and_lights, _scans, _alphas, _pages, _others) for entry in part()
)
