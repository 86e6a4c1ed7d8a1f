"""3x3 convolutions with half the multiplications, for runtimes that multiply slowly, such as WebAssembly's.

Winograd's F(4, 3) along the columns (Lavin and Gray 2016, arXiv:1509.09308), at the points 0, 1, -1, 2, -2 and ∞, as
operators of the graph: of six rows of the input six others are made, each is convolved with a kernel of one row, and
the six results are mixed into four rows. Kernels are made of the weights as the graph is loaded, so a file holds the
same weights. Relative to the result some 1e-6 is lost, and features take twice the memory.
`core.winograd` does the same for tensors.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from impasto.export.graph import Graph

__all__ = ["Border", "Maps", "convolution", "suits"]

Floats = NDArray[np.float32]
Border = Literal["reflect", "edge"]
ROWS: Final = 4  # of the result, made of two more of the input
LEAST_CHANNELS: Final = 24  # moving rows costs as much as it saves where there are fewer
KERNELS: Final = np.array(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ],
    np.float32,
)
"""The six kernels of one row, of the three rows of one."""


def suits(weight: Floats, stride: int) -> bool:
    """Whether a convolution by `weight` (O, I, k, k) is worth being made so."""
    outputs, inputs, *sides = weight.shape
    return sides == [3, 3] and stride == 1 and min(outputs, inputs) >= LEAST_CHANNELS


class Maps:
    """The maps of one network, told apart by their height as a share of its input's.

    Args:
        multiple: of what number that input's height is a multiple; its maps have exact shares of it.
    """

    def __init__(self, multiple: int) -> None:
        self._multiple = multiple
        self._rows: dict[tuple[Fraction, Border], list[str]] = {}

    def are_whole(self, scale: Fraction) -> bool:
        """Whether heights of this scale are multiples of four rows."""
        return (self._multiple * scale) % ROWS == 0

    def rows(self, g: Graph, height: str, border: Border, scale: Fraction) -> list[str]:
        """Which rows of a map are first, second ... sixth of those that each four of the result are made of."""
        if (scale, border) not in self._rows:
            self._rows[scale, border] = _row_numbers(g, height, border)
        return self._rows[scale, border]


def convolution(
    g: Graph, x: str, weight: Floats, bias: Floats | None, border: Border, maps: Maps, scale: Fraction
) -> str:
    """(1, I, h, w) by (O, I, 3, 3) and (O,) -> (1, O, h, w); x is continued by one pixel, reflected or repeated."""
    height, width = g.side(x, 2), g.side(x, 3)
    wide = g.op("Pad", x, g.integers(0, 0, 0, 1, 0, 0, 0, 1), mode=border)
    rows = [g.op("Gather", wide, one, axis=2) for one in maps.rows(g, height, border, scale)]
    made = []
    for number, (row, kernel) in enumerate(zip(_mixed(g, rows), _kernels(g, weight), strict=True)):
        biases = [g.constant(bias)] if bias is not None and number == 1 else []  # of it all four rows have their share
        made.append(g.op("Conv", row, kernel, *biases, kernel_shape=[1, 3]))
    beside = g.op("Concat", *_unmixed(g, made), axis=3)  # each four rows behind one another are four rows of the result
    result = g.op("Reshape", beside, g.op("Concat", g.integers(1, len(weight), -1), width, axis=0))
    return result if maps.are_whole(scale) else g.op("Slice", result, g.integers(0), height, g.integers(2))


def _kernels(g: Graph, weight: Floats) -> list[str]:
    """(O, I, 3, 3) -> six of (O, I, 1, 3); one product of matrices, for many small ones take a runtime long."""
    by_rows = g.op("Reshape", g.op("Transpose", g.weight(weight), perm=[2, 0, 1, 3]), g.integers(3, -1))
    made = g.op("MatMul", g.constant(KERNELS), by_rows)
    return g.all_of("Split", ROWS + 2, g.op("Reshape", made, g.integers(-1, weight.shape[1], 1, 3)), axis=0)


def _row_numbers(g: Graph, height: str, border: Border) -> list[str]:
    one = g.integers(1)
    last = g.op("Sub", height, one)
    count = g.op("Div", g.op("Add", height, g.integers(ROWS - 1)), g.integers(ROWS))
    begins = g.op("Mul", g.op("Range", *map(g.scalar, (g.integers(0), count, one))), g.integers(ROWS))
    numbers = g.op("Add", begins, g.constant(np.arange(-1, ROWS + 1, dtype=np.int64)[:, None]))  # (6, count)
    if border == "reflect":
        there = g.op("Abs", numbers)
        numbers = g.op("Min", there, g.op("Sub", g.op("Mul", last, g.integers(2)), there))
    within = g.op("Min", g.op("Max", numbers, g.integers(0)), last)
    return [g.op("Squeeze", row, g.integers(0)) for row in g.all_of("Split", ROWS + 2, within, axis=0)]


def _mixed(g: Graph, d: list[str]) -> list[str]:
    """Six rows made of six."""
    two, four = g.number(2), g.number(4)
    even, odd = g.op("Sub", d[4], g.op("Mul", d[2], four)), g.op("Sub", d[3], g.op("Mul", d[1], four))
    outer, inner = g.op("Sub", d[4], d[2]), g.op("Sub", d[3], d[1])
    doubled = g.op("Mul", inner, two)
    return [
        g.op("Add", g.op("Mul", g.op("Sub", d[0], d[2]), four), outer),
        g.op("Add", even, odd),
        g.op("Sub", even, odd),
        g.op("Add", outer, doubled),
        g.op("Sub", outer, doubled),
        g.op("Sub", g.op("Sub", d[5], d[3]), g.op("Mul", inner, four)),
    ]


def _unmixed(g: Graph, m: list[str]) -> list[str]:
    """Four rows of the result, of six convolved."""
    near, far = g.op("Add", m[1], m[2]), g.op("Add", m[3], m[4])
    slope, steep = g.op("Sub", m[1], m[2]), g.op("Sub", m[3], m[4])
    return [
        g.op("Sum", m[0], near, far),
        g.op("Add", slope, g.op("Mul", steep, g.number(2))),
        g.op("Add", near, g.op("Mul", far, g.number(4))),
        g.op("Sum", slope, g.op("Mul", steep, g.number(8)), m[5]),
    ]
