"""Painting, optimising and training on a CUDA GPU give what the processor gives, up to rounding; skips without one.

The rest of the suite asks for `auto` in most places and so runs on the GPU as well where there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import impasto
from impasto.core.precision import choose_precision
from impasto.core.resizing import resize
from impasto.core.rows import Pool
from impasto.core.tensors import to_tensor
from impasto.core.vgg import VGG
from impasto.core.weights import load_backbone
from impasto.imaging import fit_long_side, read
from impasto.lab.inversion import Inversion, reconstruction
from impasto.optimize.blockwise import BlockObjective, Layout
from impasto.optimize.loop import Optimization
from impasto.optimize.objective import Objective
from impasto.optimize.presets import PRESETS, OptimizeSettings, preset
from impasto.training.loop import TrainProgress, train

from .training.training_samples import adain, johnson, multistyle, universal, workspace

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU is here")

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
STYLE = {"gallery": "great-wave", "universal": str(EXAMPLES / "styles" / "wave.jpg")}
GREY = 1 / 255
both = pytest.mark.parametrize("name", STYLE)


@pytest.fixture(autouse=True)
def exact_float32() -> Iterator[None]:
    """Without TF32, which cuDNN takes for float32 convolutions unless told otherwise."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


def picture(path: str, size: int) -> Tensor:
    image = to_tensor(read(EXAMPLES / path).rgb)
    return resize(image, fit_long_side((image.shape[2], image.shape[3]), size))


def photo(size: int = 96) -> Tensor:
    return picture("photos/chelsea.jpg", size)


def style() -> Tensor:
    return picture("styles/wave.jpg", 160)


def paint(name: str, device: str, precision: Any = "float32", **options: Any) -> Tensor:
    model = impasto.load(name, device=device, precision=precision)
    return to_tensor(model.paint(photo(224), STYLE[name], **options).rgb)


@both
def test_networks_paint_as_on_the_processor(name: str) -> None:
    assert (paint(name, "cuda") - paint(name, "cpu")).abs().max() <= GREY


@both
def test_in_bfloat16_too(name: str) -> None:
    assert choose_precision("cuda").dtype == torch.bfloat16
    assert (paint(name, "cuda", "auto") - paint(name, "cpu")).abs().mean() <= 2 * GREY


@both
@pytest.mark.parametrize(
    "options", [{"strength": 0.4}, {"style_scale": 0.5}, {"keep_colors": True}, {"tile": 96}, {"tile": 96, "size": 320}]
)
def test_controls(name: str, options: dict[str, Any]) -> None:
    assert (paint(name, "cuda", **options) - paint(name, "cpu", **options)).abs().max() <= 2 * GREY


def compact(device: str, settings: OptimizeSettings) -> VGG:
    precision = choose_precision(device, "float32")
    return load_backbone(
        "compact", pool=settings.pool, rescale_pool=settings.rescale_pool, precision=precision, device=device
    )


def small(name: str) -> OptimizeSettings:
    """A preset on `compact`, two steps a size, no deeper than it goes."""
    s = preset(name, backbone="compact", size=96, steps=2, later_steps=2)
    if "relu5_2" in s.content_layers:
        s = replace(s, content_layers={"relu5_1": 1.0})
    return replace(s, start=min(s.start, 64) if s.start else s.start)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_presets_begin_as_on_the_processor(name: str) -> None:
    s = small(name)
    images, losses = {}, {}
    for device in ("cpu", "cuda"):
        image = photo().to(device)
        start = image if s.init == "draft" else None
        painting = Optimization(
            image, [(style().to(device), 1.0)], s, compact(device, s), start, repaint=lambda picture: picture.flip(1)
        )
        losses[device] = [record.losses["total"] for record in painting.run()]
        images[device] = painting.image().float().cpu()
    assert losses["cuda"][0] == pytest.approx(losses["cpu"][0], rel=1e-3)
    # Quasi-Newton steps divide rounding by rounding: the second already goes another way.
    if s.optimizer == "adam":
        assert losses["cuda"] == pytest.approx(losses["cpu"], rel=1e-2)
        assert (images["cuda"] - images["cpu"]).abs().mean() <= GREY


@pytest.mark.parametrize("style_loss", ["gram", "wasserstein"])
def test_gradients(style_loss: Any) -> None:
    s = preset("quick", backbone="compact", style_loss=style_loss)
    gradients = []
    for device in ("cpu", "cuda"):
        network, image = compact(device, s), photo().to(device)
        styles = [(style().to(device), 1.0)]
        blocks = BlockObjective(
            network, image, styles, s, {}, layout=Layout(2, 2, 1, 0, 1.0), pool=Pool(10**9, device=network.device)
        )
        for objective in (Objective(network, image, styles, s), blocks):
            leaf = (image * 0.8 + 0.1).requires_grad_()
            objective(leaf).total.backward()
            gradients.append(leaf.grad.cpu())
    for gradient in gradients[1:]:
        assert (gradient - gradients[0]).norm() <= 2e-3 * gradients[0].norm()


def test_a_layer_is_inverted() -> None:
    network = load_backbone("compact", precision=choose_precision("cuda", "float32"), device="cuda")
    begun = Inversion(layer="relu2_1", steps=20, start=96).begin(photo().to("cuda"), network)
    before = reconstruction(begun).psnr
    list(begun.run())
    assert reconstruction(begun).psnr > before + 3


def totals(records: Iterator[TrainProgress]) -> list[float]:
    """The loss of every step."""
    return [record.losses["total"] for record in records if "total" in record.losses]


FAMILIES: dict[str, Callable[..., Any]] = {
    "johnson": johnson,
    "multistyle": multistyle,
    "adain": adain,
    "universal": universal,
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_training(family: str, precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if family == "universal":
        monkeypatch.setattr("impasto.training.universal_task.FIRST_CUTS", 16)
    root = workspace(tmp_path / "work")
    losses, tolerance = {}, 1e-3 if precision == "float32" else 0.05
    for device in ("cpu", "cuda"):
        settings = FAMILIES[family](root, device=device, precision=precision if device == "cuda" else "float32")
        losses[device] = totals(train(settings, root / device))
        assert (root / device / "model.safetensors").exists()
    assert losses["cuda"][:2] == pytest.approx(losses["cpu"][:2], rel=tolerance)
    assert losses["cuda"] == pytest.approx(losses["cpu"], rel=20 * tolerance)


def test_training_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = workspace(tmp_path / "work")
    settings = multistyle(root, device="cuda")
    whole = totals(train(settings, root / "whole"))
    with closing(train(settings, root / "part")) as records:
        while next(records).step < 4:
            pass
    assert totals(train(settings, root / "part", resume=True)) == pytest.approx(whole[4:], rel=1e-3)
