"""A decoded frame as upright sRGB bytes: by the film's own tags, brighter-than-white films tone-mapped."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from impasto.video.film import Bytes, load_av

__all__ = ["bit_depth", "exact", "is_hdr", "matrix_of", "matrix_of_side_data", "to_rgb", "upright"]

BT709, UNSPECIFIED, BT601, BT2020 = 1, 2, 5, 9  # of AVColorSpace
MATRICES: Final = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}  # as the converter knows them
PQ, HLG = 16, 18  # of AVColorTransferCharacteristic
FULL = 2  # of AVColorRange
HD: Final = 720  # rows from which a film without tags is taken for BT.709, as players do
WHITE: Final = 203.0  # cd/m² of diffuse white, ITU-R BT.2408
WIDE_TO_SRGB: Final = np.array(  # BT.2020 -> BT.709 primaries, ITU-R BT.2407
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
)


def matrix_of(frame: Any) -> int:
    """Which matrix a frame's colours were coded with, of AVColorSpace."""
    if frame.colorspace in MATRICES:
        return MATRICES[frame.colorspace]
    return BT709 if max(frame.height, frame.width * 9 // 16) >= HD else BT601


def is_hdr(frame: Any) -> bool:
    """Whether its transfer curve is PQ or HLG."""
    return frame.color_trc in (PQ, HLG)


def bit_depth(frame: Any) -> int:
    """Bits of each component."""
    return max(int(component.bits) for component in frame.format.components)


def to_rgb(frame: Any) -> Bytes:
    """(H, W, 3) of a decoded frame, not yet upright."""
    coded = {"src_colorspace": matrix_of(frame), "src_color_range": frame.color_range}
    if frame.format.is_rgb or frame.format.name.startswith("gray"):
        coded = {}
    if not is_hdr(frame):
        rgb: Bytes = frame.reformat(format="rgb24", interpolation=exact(), **coded).to_ndarray()
        return rgb
    deep = frame.reformat(format="rgb48le", interpolation=exact(), **coded).to_ndarray()
    return tone_mapped(deep, frame.color_trc)


@cache
def exact() -> Any:
    """How pixels are converted: bicubic, with every rounding right. Else all come out darker by 1 of 255."""
    kind = load_av().video.reformatter.Interpolation
    return kind.BICUBIC | kind.ACCURATE_RND | kind.FULL_CHR_H_INT


def tone_mapped(deep: NDArray[np.uint16], transfer: int) -> Bytes:
    """(H, W, 3) of 16 bits in PQ or HLG with BT.2020's primaries -> sRGB.

    What is up to three quarters of diffuse white stays as it is, what is brighter is pressed together.
    """
    light = _to_light(transfer)[deep >> 4]  # 1 is diffuse white
    light = np.maximum(light @ WIDE_TO_SRGB.T, 0)
    brightest = light.max(2, keepdims=True)
    # Below the knee as it is; above, towards 1 along Reinhard's curve, hue kept.
    knee = 0.75
    over = np.maximum(brightest - knee, 0)
    pressed = np.where(brightest > knee, knee + (1 - knee) * over / (over + (1 - knee)), brightest)
    light *= pressed / np.maximum(brightest, 1e-6)
    shown: Bytes = _to_srgb()[(light.clip(0, 1) * 4095 + 0.5).astype(np.uint16)]
    return shown


@cache
def _to_light(transfer: int) -> NDArray[np.float32]:
    """Code value (12 bits) -> light, in units of diffuse white."""
    value = np.arange(4096) / 4095
    if transfer == PQ:  # SMPTE ST 2084
        m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
        root = value ** (1 / m2)
        light = 10000 * (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1) / WHITE
    else:  # ARIB STD-B67: scene light; the display's gamma of 1.2 at 1000 cd/m² makes 75 % diffuse white
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        scene = np.where(value <= 0.5, value**2 / 3, (np.exp((value - c) / a) + b) / 12)
        light = 1000 * scene**1.2 / WHITE
    return light.astype(np.float32)


@cache
def _to_srgb() -> Bytes:
    """Light (12 bits of linear) -> sRGB bytes. Films of BT.709 are shown as they are, and so are sRGB's bytes."""
    light = np.arange(4096) / 4095
    encoded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return (encoded * 255 + 0.5).astype(np.uint8)


def upright(pixels: Bytes, matrix: tuple[int, ...] | None) -> Bytes:
    """(H, W, ...) as the nine numbers of a display matrix (16.16 fixed point, x' = a·x + c·y, y' = b·x + d·y) have it.

    Quarter turns and mirrored ones; a slanted film stays as it is.
    """
    if matrix is None:
        return pixels
    a, b, c, d = (round(matrix[place] / 65536) for place in (0, 1, 3, 4))
    if abs(b) == abs(c) == 1 and a == d == 0:
        pixels, across, down = pixels.swapaxes(0, 1), c, b
    elif abs(a) == abs(d) == 1 and b == c == 0:
        across, down = a, d
    else:
        return pixels
    pixels = pixels[:, ::-1] if across < 0 else pixels
    return np.ascontiguousarray(pixels[::-1] if down < 0 else pixels)


def matrix_of_side_data(frame: Any) -> tuple[int, ...] | None:
    """The frame's display matrix, row by row; None where it has none."""
    found = frame.side_data.get("DISPLAYMATRIX")
    return None if found is None else tuple(np.frombuffer(bytes(found), "<i4")[:9].tolist())
