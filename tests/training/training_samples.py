"""A training at toy size: a few photos, two styles, and backbones with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from impasto.core.metadata import save
from impasto.core.vgg import VGG
from impasto.training.settings import AdaINSettings, JohnsonSettings, MultiStyleSettings, UniversalSettings

# Every field that makes it small; names are those of flags and of fields.
SMALL: dict[str, Any] = {
    "image_size": 32,
    "style_size": 48,
    "content_layer": "relu1_2",
    "style_layer": ["relu1_1", "relu2_1"],
    "batch_size": 2,
    "steps": 6,
    "save_every": 6,  # sheets and plots take longer than steps
    "lr": 1e-3,
    "workers": 0,
    "device": "cpu",
    "precision": "float32",
}
NETWORK = {"channels": 8, "blocks": 1, "detail": 4}


def paint_file(path: Path, number: int, size: tuple[int, int] = (48, 40)) -> Path:
    """A smooth coloured picture, different for every number."""
    rng = np.random.default_rng(number)
    coarse = rng.integers(0, 256, (5, 4, 3), np.uint8)
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(path)
    return path


def write_backbone(path: Path, last: str = "conv2_1", rank: int | None = None, seed: int = 0) -> Path:
    """A VGG-16 with random weights up to `last`, factored where a rank is given, in the format of our files."""
    torch.manual_seed(seed)
    names = VGG("vgg16", last=last).convolutions
    ranks = dict.fromkeys(names[1:], rank) if rank else None
    vgg = VGG("vgg16", last=last, ranks=ranks)
    weights = {name: value.contiguous() * 1.5 for name, value in vgg.state_dict().items()}
    about = {"kind": "backbone", "name": path.stem, "topology": "vgg16", "normalisation": "none", "padding": "zeros"}
    save(path, weights, about)
    return path


def workspace(root: Path, photos: int = 5) -> Path:
    """`root` with photos/, a.png, b.png, c.png (styles), tiny.safetensors and deep.safetensors (to relu4_1)."""
    (root / "photos").mkdir(parents=True)
    for number in range(photos):
        paint_file(root / "photos" / f"{number}.png", number)
    for number, name in enumerate("abc", 100):
        paint_file(root / f"{name}.png", number, (64, 56))
    write_backbone(root / "tiny.safetensors")
    write_backbone(root / "deep.safetensors", "conv4_1", rank=8)
    return root


def johnson(root: Path, **changes: Any) -> JohnsonSettings:
    given = {
        "photos": [str(root / "photos")],
        "style": [str(root / "a.png")],
        "backbone": str(root / "tiny.safetensors"),
    }
    return JohnsonSettings.from_values({**SMALL, **given, "width": 4, "blocks": 1, **changes})


def multistyle(root: Path, **changes: Any) -> MultiStyleSettings:
    given = {
        "photos": [str(root / "photos")],
        "style": [str(root / "a.png"), str(root / "b.png")],
        "backbone": str(root / "tiny.safetensors"),
    }
    return MultiStyleSettings.from_values({**SMALL, **given, **NETWORK, **changes})


def adain(root: Path, **changes: Any) -> AdaINSettings:
    small = {key: value for key, value in SMALL.items() if key not in ("style_size", "content_layer", "style_layer")}
    given = {
        "photos": [str(root / "photos")],
        "style": [str(root / "a.png"), str(root / "b.png")],
        "encoder": str(root / "deep.safetensors"),
        "decoder_width": 0.0625,
    }
    return AdaINSettings.from_values({**small, **given, **changes})


def universal(root: Path, **changes: Any) -> UniversalSettings:
    given = {
        "photos": [str(root / "photos")],
        "style": [str(root / "a.png"), str(root / "b.png")],
        "backbone": str(root / "tiny.safetensors"),
        "encoder": str(root / "deep.safetensors"),
    }
    small = {key: value for key, value in SMALL.items() if key != "style_size" or "begin_style" in changes}
    return UniversalSettings.from_values({**small, **given, **NETWORK, "parts": 8, "hidden": 8, **changes})


def flag(name: str) -> str:
    """The option of the command line that fills a field."""
    return "--" + name.replace("_", "-")


def flags(settings: Any) -> list[str]:
    """The settings as arguments of the command line."""
    words = []
    for name, value in settings.values().items():
        if value is True:
            words.append(flag(name))
        elif value is not False:
            for one in value if isinstance(value, tuple) else [value]:
                words += [flag(name), str(one)]
    return words
