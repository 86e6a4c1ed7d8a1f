"""Resizing by rows gives what resizing at once gives."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from impasto.core.resizing import resize
from impasto.tiling.photos import TensorPhoto
from impasto.tiling.resized import Resized

pytestmark = pytest.mark.usefixtures("one_thread")
sides = st.tuples(st.integers(1, 70), st.integers(1, 70))


@settings(max_examples=50, deadline=None)
@given(size=sides, wanted=sides, piece=st.integers(1, 80))
def test_any_size_in_any_pieces(size, wanted, piece) -> None:
    image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(piece))
    rows = Resized(TensorPhoto(image), wanted)
    out = torch.cat([rows.read(top, min(wanted[0], top + piece)) for top in range(0, wanted[0], piece)], 2)
    torch.testing.assert_close(out, resize(image, wanted), rtol=0, atol=1e-5)
