"""Noise under photos where they are flat, anew for each: see `imaging.noise`, whose field is always the same."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.core.tensors import to_array
from impasto.imaging.noise import COLOURED, DEVIATION, GRAIN, GroundNoise

__all__ = ["on_random_ground"]

GROUND = 6  # keeps these random numbers apart from those of `data`, `gram_task` and `universal_task`


def on_random_ground(photos: Tensor, strength: float, seed: int, first: int) -> Tensor:
    """Photos (B, 3, S, S) in [0, 1], numbers `first` and so on of a training; every other gets noise, up to `strength`.

    The blots have half to twice the size of `imaging.noise`'s, which begin anywhere.
    """
    return torch.stack([_grounded(photo, strength, (GROUND, seed, first + i)) for i, photo in enumerate(photos)])


def _grounded(photo: Tensor, strength: float, number: tuple[int, ...]) -> Tensor:
    draw = np.random.default_rng(number)
    if draw.random() < 0.5:
        return photo
    rows = to_array(photo[None])
    noise = GroundNoise((rows.shape[0], rows.shape[1]))
    noise.look(0, rows)
    flat = torch.from_numpy(noise.flatness(0, noise.height)).to(photo)
    grain, share = GRAIN * 2 ** draw.uniform(-1, 1), strength * DEVIATION * draw.random()
    count = [round(side / grain) + 4 for side in photo.shape[1:]]
    blots = draw.standard_normal((1, *count)) + COLOURED * draw.standard_normal((3, *count))
    field = F.interpolate(torch.from_numpy(blots[None]).to(photo), scale_factor=grain, mode="bicubic")[0]
    down, across = (int(draw.integers(int(grain))) for _ in range(2))
    field = field[:, down : down + photo.shape[1], across : across + photo.shape[2]]
    return (photo + share * flat * field / field.std()).clamp(0, 1)
