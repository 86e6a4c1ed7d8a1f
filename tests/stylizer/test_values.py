"""What a given value means: of texts, of numbers of many libraries, and what means nothing of the kind."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from decimal import Decimal
from enum import IntEnum, StrEnum
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from impasto.stylizer.values import UnfitError, meant

Path_ = os.PathLike[str]
Pool = Literal["max", "average"]


class Word(StrEnum):
    MAX = "max"


class Five(IntEnum):
    FIVE = 5


class Text(str): ...


class Half:
    def __float__(self) -> float:
        return 2.5


class Index:
    def __index__(self) -> int:
        return 2


@pytest.mark.parametrize(
    ("value", "kinds", "found"),
    [
        *[(text, (bool,), True) for text in ("true", "TRUE", "Yes", "on", "t", "Y", "1", b"true", 1, 1.0, np.True_)],
        *[(text, (bool,), False) for text in ("false", "No", "OFF", "f", "n", "0", 0, 0.0, np.int8(0))],
        *[(text, (int,), 512) for text in ("512", " 512 ", "512.0", "5_12", "+512", b"512", 512.0, Decimal(512))],
        *[(number, (int,), 2) for number in (np.int64(2), np.float32(2), np.array(2), Fraction(2), Index())],
        (Five.FIVE, (int,), 5),
        (2**70, (int,), 2**70),
        (Decimal(2**60 + 1), (int,), 2**60 + 1),
        *[(text, (float,), 0.5) for text in ("0.5", ".5", " 5e-1", b"0.5", Decimal("0.5"), Fraction(1, 2))],
        *[(number, (float,), 0.5) for number in (np.float32(0.5), np.float64(0.5), np.array(0.5))],
        (Half(), (float,), 2.5),
        (3, (float,), 3.0),
        *[(text, (str,), "max") for text in ("max", Text("max"), np.str_("max"), b"max", Word.MAX)],
        *[(text, (Pool,), "max") for text in ("max", Text("max"), np.str_("max"), Word.MAX)],
        ("5", (float, str), "5"),
        (np.str_("5"), (float, str), "5"),
        (5, (float, str), 5.0),
        ("50%", (float, str), "50%"),
        ("5", (str, int), "5"),
        (5.0, (str, int), 5),
        (Path("a"), (str, Path_), Path("a")),
        ({"a": 1, "b": "2"}, (Mapping[str, float],), {"a": 1.0, "b": 2.0}),
        ({"a": [1], "b": True}, (Mapping[str, Any],), {"a": [1], "b": True}),
    ],
)
def test_what_a_value_means(value: Any, kinds: tuple[Any, ...], found: Any) -> None:
    value = meant(value, kinds)
    assert value == found
    assert type(value) is type(found)


@pytest.mark.parametrize(
    ("value", "kinds"),
    [
        *[(value, (bool,)) for value in ("", " on ", "2", 2, 0.5, None, [], np.array([1, 0]))],
        *[(value, (int,)) for value in (True, "", "5.5", "inf", "0x10", 1.5, 1e300, "1e300", math.inf, math.nan)],
        *[(value, (int,)) for value in (None, [1], {}, 1j, Half(), Decimal("2.5"), np.array(2.5), np.array([1, 2]))],
        *[(value, (float,)) for value in (True, "", "x", "1e400", "nan", "inf", math.inf, -math.inf, math.nan, 1j)],
        *[(value, (float,)) for value in (None, [1.0], 10**400, Decimal("NaN"), np.array([1.0, 2.0]))],
        *[(value, (str,)) for value in (5, None, Path("a"), b"\xff", True)],
        *[(value, (Pool,)) for value in ("min", b"max", 3, None, True, np.array(["max", "max"]))],
        *[(value, (str, Path_)) for value in (5, None, [])],
        *[(value, (Mapping[str, Any],)) for value in (5, [("a", 1)], "a")],
    ],
)
def test_what_means_nothing_of_the_kind(value: Any, kinds: tuple[Any, ...]) -> None:
    with pytest.raises(UnfitError) as caught:
        meant(value, kinds)
    assert caught.value.args[0] is value


def test_of_a_mapping_the_part_that_is_wrong_is_told() -> None:
    for wrong, part in (({1: 1}, 1), ({"a": "x"}, "x"), ({"a": math.inf}, math.inf), ({"a": True}, True)):
        with pytest.raises(UnfitError) as caught:
            meant(wrong, (Mapping[str, float],))
        assert caught.value.args[0] == part


def test_infinity_where_it_is_a_number() -> None:
    assert meant("inf", (float,), finite=False) == math.inf
    with pytest.raises(UnfitError):
        meant(math.nan, (float,), finite=False)
