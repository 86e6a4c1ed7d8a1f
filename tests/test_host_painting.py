"""Whatever the program around us has set in torch: the same picture, bit for bit, and its settings as they were."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import impasto
from impasto.core.tensors import to_tensor
from impasto.core.vgg import VGG
from impasto.core.weights import load_backbone
from impasto.evaluation import measure
from impasto.lab.activations import activations
from impasto.lab.inversion import Inversion, reconstruction
from impasto.lab.layers import BackboneLayers
from impasto.optimize.loop import Optimization
from impasto.optimize.presets import preset
from impasto.stylizer.engine import Engine
from impasto.stylizer.request import StylizeRequest

from .host_samples import HOSTS, state

pytestmark = pytest.mark.usefixtures("one_thread")

INFERENCE = ("inference mode", "no gradients")


def picture(seed: int, height: int = 40, width: int = 48) -> Tensor:
    """Some blotches, (1, 3, H, W)."""
    draw = torch.Generator("cpu").manual_seed(seed)
    coarse = torch.rand(1, 3, 5, 6, generator=draw, dtype=torch.float32, device="cpu")
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")


PHOTO, STYLE = picture(0), picture(1)


def pixels(image: Any) -> bytes:
    return bytes(image.tobytes())


def by_gallery() -> bytes:
    return pixels(impasto.load("gallery").stylize(PHOTO, "great-wave", strength=0.8, keep_colors=True))


def in_bands() -> bytes:
    return pixels(impasto.load("gallery").stylize(PHOTO, "great-wave", tile=16, mask=STYLE))


def by_universal() -> bytes:
    return pixels(impasto.stylize(PHOTO, STYLE, style_scale=1.5))


def good() -> bytes:
    return pixels(impasto.stylize(PHOTO, STYLE, quality="good", steps=2))


def by_preset() -> bytes:
    return pixels(impasto.stylize(PHOTO, STYLE, preset="neural-style", backbone="compact", steps=2, init="noise"))


def by_blocks() -> bytes:
    return pixels(impasto.stylize(picture(0, 200, 200), STYLE, preset="quick", steps=1, backbone="compact"))


def seen() -> bytes:
    """Through the lab and the evaluation."""
    backbone = load_backbone("compact")
    maps = activations(BackboneLayers(backbone), PHOTO, ["relu2_1"])[0]
    optimization = Inversion(layer="relu2_1", steps=1).begin(PHOTO, backbone)
    for _ in optimization.run():
        pass
    found = reconstruction(optimization)
    distances = measure(backbone, PHOTO, STYLE, found.image)
    return maps.strengths.numpy().tobytes() + found.image.numpy().tobytes() + repr(distances).encode()


WAYS: dict[str, Callable[[], bytes]] = {
    "gallery": by_gallery,
    "bands": in_bands,
    "universal": by_universal,
    "good": good,
    "preset": by_preset,
    "larger": by_blocks,
}


@cache
def alone(way: Callable[[], bytes]) -> bytes:
    return way()


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("way", WAYS)
def test_the_same_picture(way: str, host: str) -> None:
    expected, random = alone(WAYS[way]), torch.get_rng_state()
    with HOSTS[host]():
        before = state()
        got = WAYS[way]()
        assert state() == before
    assert got == expected
    assert torch.equal(torch.get_rng_state(), random)


@pytest.mark.parametrize("host", ["inference mode", "float64", "autocast", "default device", "anomalies"])
def test_the_lab_and_the_evaluation_see_the_same(host: str) -> None:
    expected = alone(seen)
    with HOSTS[host]():
        got = seen()
    assert got == expected


def test_pictures_made_in_inference_mode_are_optimised() -> None:
    expected = alone(good)
    with torch.inference_mode():
        photo, style = PHOTO.clone(), STYLE.clone()
        inside = pixels(impasto.stylize(photo, style, quality="good", steps=2))
    assert inside == expected
    assert pixels(impasto.stylize(photo, style, quality="good", steps=2)) == expected


def test_what_a_network_painted_in_inference_mode_can_be_trained_on() -> None:
    with torch.inference_mode():
        model = impasto.load("universal")
        painted = model.paint(PHOTO, STYLE)
    (to_tensor(painted.rgb).requires_grad_() * 2).sum().backward()
    assert model.stylize(PHOTO, STYLE).tobytes() == impasto.load("universal").stylize(PHOTO, STYLE).tobytes()


def test_a_painting_is_stepped_through_in_the_hosts_settings() -> None:
    with HOSTS["float64"](), torch.inference_mode():
        before, told = state(), []
        request = StylizeRequest.of(style=STYLE, preset="quick", backbone="compact", steps=3)
        with Engine().job(PHOTO, request) as job:
            steps = job.run()
            for record in steps:
                assert state() == before
                told += [record.done] * (record.phase == "painting")
                if told[-1:] == [2]:
                    break
            steps.close()
            assert state() == before
            assert job.result().rgb.dtype == np.float32
    assert told == [1, 2]


def test_a_callback_is_called_in_the_hosts_settings() -> None:
    with HOSTS["float64"](), torch.inference_mode():
        before, told = state(), []
        impasto.stylize(
            PHOTO, STYLE, preset="quick", backbone="compact", steps=1, progress=lambda _: told.append(state())
        )
        impasto.load("gallery").stylize(PHOTO, "great-wave", tile=16, progress=lambda _: told.append(state()))
    assert len(told) > 2
    assert all(found == before for found in told)


def test_optimisation_alone_copies_what_has_no_gradients(tiny_backbone: Path) -> None:
    with torch.inference_mode():
        backbone: VGG = load_backbone(tiny_backbone, input="none")
        photo, style = PHOTO.clone(), STYLE.clone()
        layers = {"content_layers": {"relu1_1": 1.0}, "style_layers": {"relu2_1": 1.0}}
        settings = preset("quick", backbone="compact", total_steps=1, **layers)
        optimization = Optimization(photo, [(style, 1.0)], settings, backbone, start=photo)
        steps: Iterator[Any] = optimization.run()
        assert len(list(steps)) == 1
    assert not optimization.image().is_inference()
