"""A decoded frame as upright sRGB bytes: by the film's own tags, brighter-than-white films tone-mapped."""

from __future__ import annotations

import itertools
from fractions import Fraction
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from impasto.video.film import Bytes, load_av

__all__ = [
    "Converter",
    "ToRgb",
    "bit_depth",
    "exact",
    "is_hdr",
    "matrix_of",
    "matrix_of_side_data",
    "upright",
]

MATRICES: Final = {1: "bt709", 4: "fcc", 5: "bt601", 6: "bt601", 7: "smpte240m", 9: "bt2020", 10: "bt2020"}
"""AVColorSpace -> the filter's name."""
CENTRED: Final = frozenset({"mjpeg", "mpeg1video"})  # whose colours of half size lie in the middle of their pixels
PQ, HLG = 16, 18  # of AVColorTransferCharacteristic
FULL = 2  # of AVColorRange
HD: Final = 720  # rows from which a film without tags is taken for BT.709, as players do
WHITE: Final = 203.0  # cd/m² of diffuse white, ITU-R BT.2408
WIDE_TO_SRGB: Final = np.array(  # BT.2020 -> BT.709 primaries, ITU-R BT.2407
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
)


def matrix_of(frame: Any) -> str:
    """Which matrix a frame's colours were coded with."""
    if frame.colorspace in MATRICES:
        return MATRICES[frame.colorspace]
    return "bt709" if max(frame.height, frame.width * 9 // 16) >= HD else "bt601"


def is_hdr(frame: Any) -> bool:
    """Whether its transfer curve is PQ or HLG."""
    return frame.color_trc in (PQ, HLG)


def bit_depth(frame: Any) -> int:
    """Bits of each component."""
    return max(int(component.bits) for component in frame.format.components)


class Converter:
    """From one coding of pixels to another, with every rounding right, by FFmpeg's `scale` filter.

    `VideoFrame.reformat` has no word for where colours of half size lie: it takes them to be in the middle of their
    pixels, where decoders take them to be on the left (findings/ffmpeg-film-colours.sh).

    Args:
        size: (height, width).
        before, after: formats as FFmpeg names them.
        how: which matrix, range and place of colours, as the filter has them.
    """

    def __init__(self, size: tuple[int, int], before: str, after: str, how: str) -> None:
        graph = load_av().filter.Graph()
        steps = [
            graph.add_buffer(width=size[1], height=size[0], format=before, time_base=Fraction(1, 1000)),
            graph.add("scale", f"{how}:flags=bicubic+accurate_rnd+full_chroma_int"),
            graph.add("format", after),
            graph.add("buffersink"),
        ]
        for one, other in itertools.pairwise(steps):
            one.link_to(other)
        graph.configure()
        self._into, self._out, self._graph = steps[0], steps[-1], graph

    def __call__(self, frame: Any) -> Any:
        """The frame in the other coding."""
        self._into.push(frame)
        return self._out.pull()


class ToRgb:
    """Decoded frames of one film as RGB, not yet upright.

    Args:
        codec: that the film is coded with.
    """

    def __init__(self, codec: str) -> None:
        self._place = "center" if codec in CENTRED else "left"
        self._made_for: tuple[Any, ...] | None = None
        self._converter: Converter | None = None

    def __call__(self, frame: Any) -> Bytes:
        """(H, W, 3)."""
        hdr = is_hdr(frame)
        if frame.format.is_rgb or frame.format.name.startswith(("gray", "pal")):
            rgb: Bytes = frame.reformat(format="rgb24", interpolation=exact()).to_ndarray()
            return rgb
        full = frame.color_range == FULL or frame.format.name.startswith("yuvj")
        size, form = (frame.height, frame.width), frame.format.name
        how = f"in_color_matrix={matrix_of(frame)}:in_range={'pc' if full else 'tv'}:in_chroma_loc={self._place}"
        wanted = (size, form, "rgb48le" if hdr else "rgb24", how)
        if self._converter is None or wanted != self._made_for:
            self._made_for, self._converter = wanted, Converter(*wanted)
        pixels = self._converter(frame).to_ndarray()
        return tone_mapped(pixels, frame.color_trc) if hdr else pixels


@cache
def exact() -> Any:
    """How `VideoFrame.reformat` rounds right. Else all comes out darker by 1 of 255."""
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
