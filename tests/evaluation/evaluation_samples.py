"""Photos, styles and judges of toy size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from impasto.core.vgg import NORMALISATIONS, VGG
from impasto.evaluation import Judge


def make_pictures(folder: Path, *names: str, size: tuple[int, int] = (44, 36)) -> str:
    """Blotches, different for each name, as PNG files of this width and height; the folder's path."""
    folder.mkdir(exist_ok=True)
    for name in names:
        blotches = np.random.default_rng(sum(map(ord, name))).integers(0, 256, (5, 6, 3), np.uint8)
        Image.fromarray(blotches).resize(size, Image.Resampling.BICUBIC).save(folder / f"{name}.png")
    return str(folder)


def toy_judge(seed: int = 0, name: str = "toy") -> Judge:
    """A VGG of random weights to conv2_1, judging by two layers of each kind."""
    torch.manual_seed(seed)
    network = VGG("vgg16", NORMALISATIONS["none"], last="conv2_1", name=name)
    for parameter in network.parameters():
        torch.nn.init.kaiming_normal_(parameter) if parameter.ndim == 4 else torch.nn.init.zeros_(parameter)
    return Judge(name, network.requires_grad_(False), ("relu1_2", "relu2_1"), ("relu1_1", "relu2_1"))
