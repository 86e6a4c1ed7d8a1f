"""ICC profiles made from numbers: primaries, white and a curve, also those that ITU-T H.273 gives code points."""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ADOBE_RGB",
    "BT709",
    "SRGB_CURVE",
    "Chromaticities",
    "Curve",
    "code_points_profile",
    "matrix_profile",
]

SDR_WHITE = 203.0  # cd/m2, ITU-R BT.2408: white paper in an HDR picture, and what the brightest of ours stands for
HDR_PEAK = 1000.0  # cd/m2, what most HDR pictures are made for (and HLG's nominal display, ITU-R BT.2100)
_TABLE = 4096  # entries of a curve that has no formula in ICC
_D50 = (0.9642, 1.0, 0.8249)


class Chromaticities(NamedTuple):
    """CIE x and y of the primaries and of white."""

    red_x: float
    red_y: float
    green_x: float
    green_y: float
    blue_x: float
    blue_y: float
    white_x: float
    white_y: float

    @property
    def possible(self) -> bool:
        """Whether they can be what three primaries are: none on a line, white inside."""
        points = np.array(self, np.float64).reshape(4, 2)
        if not np.isfinite(points).all() or np.abs(points).max() > 2 or self.white_y < 1e-4:
            return False
        corners = np.vstack([points[:3].T, np.ones(3)])  # columns: red, green, blue
        if abs(np.linalg.det(corners)) < 1e-3:
            return False
        return bool((np.linalg.solve(corners, [*points[3], 1.0]) > 0).all())


class Curve(NamedTuple):
    """How a channel's numbers in [0, 1] become light: a table, else sRGB's kind of formula, with b = 0 a power."""

    gamma: float = 1.0
    a: float = 1.0
    b: float = 0.0
    c: float = 0.0
    d: float = 0.0
    table: NDArray[np.float64] | None = None

    def light(self, value: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N,) in [0, 1] -> (N,), linear."""
        if self.table is not None:
            return np.interp(value, np.linspace(0, 1, len(self.table)), self.table)
        power = np.maximum(self.a * value + self.b, 0) ** self.gamma
        return np.where(value >= self.d, power, self.c * value)

    def tag(self) -> bytes:
        """As ICC writes it: parametricCurveType of four terms, or curveType."""
        if self.table is None:
            terms = (self.gamma, self.a, self.b, self.c, self.d)
            head = b"para\0\0\0\0\0\x03\0\0"
            return head + struct.pack(">5i", *(round(term * 65536) for term in terms))
        points = np.interp(np.linspace(0, 1, _TABLE), np.linspace(0, 1, len(self.table)), self.table)
        body: bytes = np.rint(points.clip(0, 1) * 65535).astype(">u2").tobytes()
        return b"curv\0\0\0\0" + struct.pack(">I", _TABLE) + body


BT709 = Chromaticities(0.64, 0.33, 0.30, 0.60, 0.15, 0.06, 0.3127, 0.3290)
SRGB_CURVE = Curve(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)  # IEC 61966-2-1
ADOBE_RGB = (Chromaticities(0.64, 0.33, 0.21, 0.71, 0.15, 0.06, 0.3127, 0.3290), Curve(563 / 256))

_PRIMARIES = {  # ITU-T H.273, table 2
    1: BT709,
    4: Chromaticities(0.67, 0.33, 0.21, 0.71, 0.14, 0.08, 0.310, 0.316),
    5: Chromaticities(0.64, 0.33, 0.29, 0.60, 0.15, 0.06, 0.3127, 0.3290),
    6: Chromaticities(0.630, 0.340, 0.310, 0.595, 0.155, 0.070, 0.3127, 0.3290),
    7: Chromaticities(0.630, 0.340, 0.310, 0.595, 0.155, 0.070, 0.3127, 0.3290),
    8: Chromaticities(0.681, 0.319, 0.243, 0.692, 0.145, 0.049, 0.310, 0.316),
    9: Chromaticities(0.708, 0.292, 0.170, 0.797, 0.131, 0.046, 0.3127, 0.3290),
    10: Chromaticities(1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1 / 3, 1 / 3),
    11: Chromaticities(0.680, 0.320, 0.265, 0.690, 0.150, 0.060, 0.314, 0.351),
    12: Chromaticities(0.680, 0.320, 0.265, 0.690, 0.150, 0.060, 0.3127, 0.3290),
    22: Chromaticities(0.630, 0.340, 0.295, 0.605, 0.155, 0.077, 0.3127, 0.3290),
}
_GAMMAS = {4: Curve(2.2), 5: Curve(2.8), 8: Curve(1.0), 17: Curve(2.6, (52.37 / 48) ** (1 / 2.6))}
_UNSPECIFIED = 2


@lru_cache(maxsize=64)
def code_points_profile(primaries: int, transfer: int, *, narrow: int | None = None) -> bytes | None:
    """The ICC profile of H.273's colour primaries and transfer characteristics; None where neither says anything.

    What is unspecified or reserved is taken as sRGB has it. So are the curves of video cameras (1, 6, 7, 11, 12, 14,
    15): they tell how light was recorded, while such pictures are made to look right on a screen, whose own curve
    is sRGB's within a few percent. PQ (16) and HLG (18) are brought to the range of a screen, see `_screen`.

    `narrow` is the bits per channel of an RGB picture whose black and white are 16 and 235 of 255.
    """
    if _UNSPECIFIED == primaries == transfer and narrow is None:
        return None
    curve = {16: _pq_curve, 18: _hlg_curve}.get(transfer, lambda: _GAMMAS.get(transfer, SRGB_CURVE))()
    if narrow is not None:
        unit = 2 ** (narrow - 8) / (2**narrow - 1)  # what one of 255 steps is
        values = ((np.linspace(0, 1, _TABLE) - 16 * unit) / (219 * unit)).clip(0, 1)
        curve = Curve(table=curve.light(values))
    return matrix_profile(_PRIMARIES.get(primaries, BT709), curve)


def _pq_curve() -> Curve:
    return Curve(table=_screen(_pq_light(np.linspace(0, 1, _TABLE))))


def _hlg_curve() -> Curve:
    """ITU-R BT.2100, table 5, for a display of 1000 cd/m2, whose gamma of 1.2 is applied to each channel by itself."""
    value, a, b, c = np.linspace(0, 1, _TABLE), 0.17883277, 0.28466892, 0.55991073
    scene = np.where(value <= 0.5, value**2 / 3, (np.exp((value - c) / a) + b) / 12)
    return Curve(table=_screen(HDR_PEAK * scene.clip(0, 1) ** 1.2))


_M1, _M2, _C1, _C2, _C3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128  # SMPTE ST 2084


def _pq_light(value: NDArray[Any]) -> NDArray[Any]:
    """PQ's numbers in [0, 1] -> cd/m2."""
    root = value ** (1 / _M2)
    result: NDArray[Any] = 10000 * (np.maximum(root - _C1, 0) / (_C2 - _C3 * root)) ** (1 / _M1)
    return result


def _pq_value(light: NDArray[Any]) -> NDArray[Any]:
    power = (light / 10000) ** _M1
    result: NDArray[Any] = ((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2
    return result


def _screen(light: NDArray[Any]) -> NDArray[Any]:
    """cd/m2 up to 1000 -> a screen's range [0, 1], whose white is 203 cd/m2.

    The EETF of ITU-R BT.2390 (5.4.1), channel by channel: what is darker than 93 cd/m2 stays as it is, what is
    brighter is pressed together more and more. Light above 1000 cd/m2 is white.
    """
    peak, white = (float(value) for value in _pq_value(np.array([HDR_PEAK, SDR_WHITE])))
    most = white / peak
    knee = 1.5 * most - 0.5
    value = _pq_value(light.clip(0, HDR_PEAK)) / peak
    t = (value - knee) / (1 - knee)
    bent = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (3 * t**2 - 2 * t**3) * most
    return (_pq_light(np.where(value < knee, value, bent) * peak) / SDR_WHITE).clip(0, 1)


def matrix_profile(places: Chromaticities, *curves: Curve) -> bytes:
    """An ICC profile (version 4) of an RGB display with these primaries and white, and one curve or three."""
    columns = _adapted(places).T  # of each primary its X, Y, Z
    each = curves if len(curves) == 3 else curves[:1] * 3
    tags = [
        (b"desc", _text("RGB")),
        (b"cprt", _text("none")),
        (b"wtpt", _xyz(_D50)),
        *((name, _xyz(column)) for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns, strict=True)),
        *((name, curve.tag()) for name, curve in zip((b"rTRC", b"gTRC", b"bTRC"), each, strict=True)),
    ]
    at, table, body = 128 + 4 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, data in tags:
        table += name + struct.pack(">II", at + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = struct.pack(">I4sI4s4s4s", at + len(body), bytes(4), 0x04200000, b"mntr", b"RGB ", b"XYZ ")
    head += struct.pack(">6H", 2000, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + _xyz(_D50)[8:]
    return head.ljust(128, b"\0") + table + body


def _adapted(places: Chromaticities) -> NDArray[np.float64]:
    """(3, 3), linear RGB to XYZ whose white is D50: Bradford's adaptation, as ICC demands."""
    xy = np.array(places, np.float64).reshape(4, 2)
    xyz = np.stack([xy[:, 0], xy[:, 1], 1 - xy.sum(1)])  # columns: red, green, blue, white
    white = xyz[:, 3] / xyz[1, 3]
    primaries = xyz[:, :3] * np.linalg.solve(xyz[:, :3], white)
    cones = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
    gains = (cones @ _D50) / (cones @ white)
    result: NDArray[np.float64] = np.linalg.inv(cones) @ (gains[:, None] * cones) @ primaries
    return result


def _xyz(values: Any) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(float(value) * 65536) for value in values))


def _text(words: str) -> bytes:
    data = words.encode("utf-16-be")
    return b"mluc\0\0\0\0" + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(data), 28) + data
