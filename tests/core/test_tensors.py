"""Pictures as tensors and back."""

from __future__ import annotations

import numpy as np
import torch

from impasto.core.tensors import to_array, to_tensor


def test_there_and_back_without_a_copy() -> None:
    rows = np.random.default_rng(0).random((5, 7, 3), np.float32)
    tensor = to_tensor(rows)
    assert tensor.shape == (1, 3, 5, 7)
    assert tensor.is_contiguous(memory_format=torch.channels_last)
    assert tensor[0, 2, 4, 6] == rows[4, 6, 2]
    back = to_array(tensor)
    assert np.shares_memory(back, rows)
    assert np.array_equal(back, rows)
    assert to_tensor(rows[:, :, 0]).shape == (1, 1, 5, 7)


def test_what_cannot_be_shared_is_copied() -> None:
    rows = np.random.default_rng(0).random((5, 7, 3), np.float32)
    rows.flags.writeable = False  # of which torch would warn
    for given in (rows, rows[::-1, ::-1]):
        assert np.array_equal(to_array(to_tensor(given)), given)
    learned = torch.rand(1, 3, 4, 4, dtype=torch.float64).requires_grad_()
    assert to_array(learned).dtype == np.float32
    assert to_array(learned.bfloat16()).shape == (4, 4, 3)
