"""Sizes of strokes, as factors and in per cent."""

from __future__ import annotations

import pytest

from impasto.errors import OptionError
from impasto.stylizer.strokes import factor_for_network, factor_for_optimisation, parse_scale


@pytest.mark.parametrize(
    ("scale", "parsed"), [(2, (2.0, False)), ("1.5", (1.5, False)), ("50%", (0.5, True)), (" 200 % ", (2.0, True))]
)
def test_factors_and_per_cents(scale: float | str, parsed: tuple[float, bool]) -> None:
    assert parse_scale(scale) == parsed


@pytest.mark.parametrize("scale", [0, -1, "0%", "9%", 101, "nan", "inf", "large", "%", ""])
def test_what_is_no_size_of_strokes(scale: float | str) -> None:
    with pytest.raises(OptionError, match=r"style scale is .*, need a number from 0\.1 to 100, such as 2, or per cent"):
        parse_scale(scale)


def test_per_cents_of_a_network_follow_the_painting() -> None:
    assert factor_for_network("100%", (384, 512)) == 1
    assert factor_for_network("100%", (4096, 3072)) == 8
    assert factor_for_network("25%", (4096, 3072)) == 2
    assert factor_for_network(3, (4096, 3072)) == 3


def test_a_style_picture_is_relative_to_the_painting_already() -> None:
    assert factor_for_optimisation("50%") == factor_for_optimisation(0.5) == 0.5
