"""Painting by optimisation on tiny pictures and a truncated VGG of random weights."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st
from torch import Tensor, nn

from impasto.core.colour import luminance
from impasto.core.vgg import NORMALISATIONS, VGG
from impasto.errors import DivergenceError, LayerError, OptionError
from impasto.optimize import loop as optimize
from impasto.optimize.loop import Optimization, StepProgress, scales_of
from impasto.optimize.objective import Objective, Terms
from impasto.optimize.parameterisation import Pixels, Pyramid
from impasto.optimize.presets import PRESETS, OptimizeSettings, preset

pytestmark = pytest.mark.usefixtures("one_thread")

LAYERS: dict[str, Any] = {"content_layers": {"relu2_1": 1.0}, "style_layers": {"conv1_1": 0.3, "relu2_1": 0.7}}
WAYS: dict[str, dict[str, Any]] = {
    "pixels, adam": {"parameterisation": "pixels", "start": 20, "factor": 1.5, "clamp": True, "averaging": 0.8},
    "pixels, lbfgs": {"parameterisation": "pixels", "optimizer": "lbfgs", "lr": 1.0, "start": 20, "averaging": 0.5},
    "pyramid, adam": {"parameterisation": "pyramid", "start": 16, "averaging": 0.9},
    "pyramid, lbfgs": {"parameterisation": "pyramid", "optimizer": "lbfgs", "lr": 1.0, "start": 16},
    "fourier, adam": {"parameterisation": "fourier", "lr": 0.05, "init": "noise", "averaging": 0.7},
    "fourier, lbfgs": {"parameterisation": "fourier", "optimizer": "lbfgs", "lr": 1.0, "history": 2},
}


def settings(way: str = "pixels, adam", **changes: Any) -> OptimizeSettings:
    return OptimizeSettings(**{"steps": 4, "later_steps": 3, **LAYERS, **WAYS[way], **changes})


def plain(**changes: Any) -> OptimizeSettings:
    """One scale of pixels, and nothing else."""
    return OptimizeSettings(**{"parameterisation": "pixels", "lr": 0.02, "steps": 5, **LAYERS, **changes})


def picture(seed: int, h: int = 34, w: int = 43) -> Tensor:
    """Blotches of muted colours with some grain."""
    draw = torch.Generator().manual_seed(seed)
    blotches = nn.functional.interpolate(torch.rand(1, 3, 6, 7, generator=draw), size=(h, w), mode="bilinear")
    return 0.15 + 0.6 * blotches + 0.1 * torch.rand(1, 3, h, w, generator=draw)


RANKS = {"conv1_2": 8, "conv2_1": 16}


@pytest.fixture(scope="module")
def toy() -> VGG:
    torch.manual_seed(0)
    vgg = VGG("vgg16", NORMALISATIONS["none"], last="conv2_1", name="toy", ranks=RANKS)
    for module in vgg.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=(2 / (module.kernel_size[0] ** 2 * module.in_channels)) ** 0.5)
            nn.init.normal_(module.bias, std=0.1)
    return vgg.requires_grad_(False)


PHOTO, STYLE, OTHER = picture(1), picture(2, 40, 32), picture(3, 33, 36)


class Watched(nn.Module):
    """The toy, with every evaluation of the picture counted from `calls` on, kept, and spoilt where told.

    `spoil` maps the number of an evaluation to what becomes of its features.
    """

    def __init__(self, vgg: VGG, spoil: dict[int, Any] | None = None, calls: int = 0) -> None:
        super().__init__()
        self.vgg, self.spoil, self.calls = vgg, spoil or {}, calls
        self.seen: list[Tensor] = []
        self.targets: list[tuple[int, int]] = []

    @property
    def name(self) -> str:
        return self.vgg.name

    @property
    def device(self) -> torch.device:
        return self.vgg.device

    def check(self, taps: Iterable[str]) -> tuple[str, ...]:
        return self.vgg.check(taps)

    def forward(self, image: Tensor, taps: Iterable[str]) -> dict[str, Tensor]:
        features = self.vgg(image, taps)
        if not image.requires_grad:
            self.targets.append((image.shape[2], image.shape[3]))
            return features
        self.calls += 1
        self.seen.append(image.detach().clone())
        change = self.spoil.get(self.calls)
        return {tap: change(f) for tap, f in features.items()} if change else features

    def each(self, image: Tensor, taps: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
        yield from self(image, taps).items()


def nan(f: Tensor) -> Tensor:
    return f * math.nan


def huge(f: Tensor) -> Tensor:
    return f * 1e4


def nan_gradient(f: Tensor) -> Tensor:
    """As it is on the way forward; on the way back nothing but NaN."""
    f = f.clone()
    f.register_hook(nan)
    return f


def stored(state: dict[str, Any]) -> dict[str, Any]:
    """Through a file and back, without code."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    loaded: dict[str, Any] = torch.load(file, weights_only=True)
    return loaded


def is_picture(x: Tensor, like: Tensor = PHOTO) -> bool:
    return x.shape == like.shape and x.dtype == torch.float32 and bool(((x >= 0) & (x <= 1)).all())


def paint(s: OptimizeSettings, backbone: nn.Module, **given: Any) -> tuple[Optimization, list[StepProgress]]:
    photo = given.pop("photo", PHOTO)
    if s.init == "draft":  # which whoever calls has painted
        given.setdefault("start", photo.flip(1))
    if s.second_backbone is not None:
        given.setdefault("second", backbone)
    given.setdefault("repaint", lambda image: 1 - image)
    optimization = Optimization(photo, given.pop("styles", [(STYLE, 1.0)]), s, backbone, **given)
    return optimization, list(optimization.run())


class Over:
    """Paints pictures white, and remembers their sizes."""

    def __init__(self) -> None:
        self.sizes: list[tuple[int, int]] = []

    def __call__(self, image: Tensor) -> Tensor:
        self.sizes.append((image.shape[2], image.shape[3]))
        return torch.ones_like(image)


# -- it paints ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_losses_fall_at_every_scale(toy, way) -> None:
    optimization, records = paint(settings(way, steps=12, later_steps=8), toy)
    assert optimization.restarts == 0
    for size in {record.scale for record in records}:
        totals = [record.losses["total"] for record in records if record.scale == size]
        assert totals[-1] < 0.95 * totals[0]
    assert records[-1].losses["total"] < 0.3 * records[0].losses["total"]
    # Style leaves the photo, which was where most of them began.
    assert (optimization.image() - PHOTO).abs().mean() > 0.01
    assert is_picture(optimization.image())


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_paints(toy, name) -> None:
    s = preset(name, **LAYERS, total_steps=12)
    if s.start is not None:
        s = replace(s, start=17)
    optimization, records = paint(s, toy)
    assert records[-1].step == 12
    assert is_picture(optimization.image())
    assert not torch.equal(optimization.image(), PHOTO)
    if s.tv_weight == 0:  # on random features the tutorials' total variation outweighs all else
        assert records[-1].losses["total"] < records[0].losses["total"]


@pytest.mark.parametrize("name", PRESETS)
def test_a_photo_that_is_its_own_style(toy, name) -> None:
    s = preset(name, **LAYERS, total_steps=12)
    if s.start is not None:
        s = replace(s, start=17)
    optimization, records = paint(s, toy, styles=[(PHOTO, 1.0)])
    assert records[-1].step == 12
    assert is_picture(optimization.image())
    if s.init == "content" and s.optimizer == "adam":
        assert (optimization.image() - PHOTO).abs().mean() < 0.15


@pytest.mark.parametrize("way", WAYS)
def test_nothing_to_do_leaves_the_photo(toy, way) -> None:
    # Adam makes steps of its rate even out of the rounding error of a gradient that is nothing.
    lr = WAYS[way].get("lr", 1.0) if "lbfgs" in way else 0.002
    optimization, _ = paint(settings(way, style_weight=0.0, range_weight=0.0, init="content", start=None, lr=lr), toy)
    assert (optimization.image() - PHOTO).abs().mean() < 0.02


def test_progress_tells_step_scale_terms_and_time(toy) -> None:
    optimization, records = paint(settings("pixels, adam", tv_weight=1e-3), toy)
    assert [record.step for record in records] == list(range(1, optimization.steps + 1))
    assert {record.steps for record in records} == {optimization.steps}
    assert [record.scale for record in records] == [size for size, n in optimization.scales for _ in range(n)]
    for record in records:
        assert [name for name in record.losses if name != "written"] == ["total", "content", "style", "tv", "range"]
        assert record.losses["total"] == pytest.approx(sum(record.losses.values()) - record.losses["total"], rel=1e-5)
        assert record.note is None
    assert records[0].seconds > 0
    assert all(a.seconds <= b.seconds for a, b in pairwise(records))


@pytest.mark.parametrize("way", WAYS)
def test_the_picture_is_whole_at_any_time(toy, way) -> None:
    optimization = Optimization(PHOTO, [(STYLE, 1.0)], settings(way), toy)
    assert is_picture(optimization.image())
    for _ in optimization.run():
        assert is_picture(optimization.image())


def test_closing_keeps_the_picture_and_running_again_goes_on(toy) -> None:
    whole, _ = paint(settings("pixels, lbfgs"), toy)
    for stop in range(1, whole.steps):
        optimization = Optimization(PHOTO, [(STYLE, 1.0)], settings("pixels, lbfgs"), toy)
        running = optimization.run()
        for _ in range(stop):
            next(running)
        before = optimization.image()
        running.close()
        assert torch.equal(optimization.image(), before)
        assert [record.step for record in optimization.run()] == list(range(stop + 1, whole.steps + 1))
        assert torch.equal(optimization.image(), whole.image())
        assert list(optimization.run()) == []


def test_features_in_bfloat16(toy) -> None:
    half = VGG("vgg16", NORMALISATIONS["none"], last="conv2_1", name="half", ranks=RANKS)
    half.load_state_dict(toy.state_dict())
    half.requires_grad_(False).to(torch.bfloat16)
    exact, _ = paint(settings("pyramid, adam"), toy)
    near, records = paint(settings("pyramid, adam"), half)
    assert is_picture(near.image())
    assert (near.image() - exact.image()).abs().mean() < 0.02
    assert records[-1].losses["total"] < records[0].losses["total"]


# -- the same again, and resumed ----------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_the_same_seed_paints_the_same_picture(toy, way) -> None:
    first, second = (paint(settings(way, init="noise", seed=5), toy) for _ in range(2))
    assert torch.equal(first[0].image(), second[0].image())
    assert [r.losses for r in first[1]] == [r.losses for r in second[1]]
    other, _ = paint(settings(way, init="noise", seed=6), toy)
    assert not torch.equal(other.image(), first[0].image())


@effort(max_examples=6, deadline=None)
@given(st.data())
@pytest.mark.parametrize("way", WAYS)
def test_a_resumed_run_ends_in_the_same_picture(toy, way, data) -> None:
    keep = data.draw(st.sampled_from(["no", "luminance", "histogram"]))
    s = settings(way, init=data.draw(st.sampled_from(["content", "noise"])), keep_colors=keep)
    given_to_all = PHOTO, [(STYLE, 1.0), (OTHER, 0.5)], s, toy
    whole = Optimization(*given_to_all)
    state, losses = whole.state_dict(), []
    stop = data.draw(st.integers(0, whole.steps))
    for record in whole.run():
        losses.append(record.losses)
        if len(losses) == stop:
            state = whole.state_dict()
    state = stored(state)
    for _ in range(2):  # twice from the same state: going on must not change it
        resumed = Optimization(*given_to_all)
        resumed.load_state_dict(state)
        assert resumed.step == state["step"]
        assert [record.losses for record in resumed.run()] == losses[stop:]
        assert torch.equal(resumed.image(), whole.image())


@pytest.mark.parametrize("way", ["pixels, adam", "pyramid, adam", "pyramid, lbfgs"])
def test_what_is_there_is_painted_over_as_the_last_scale_begins(toy, way) -> None:
    over, s = Over(), settings(way, repaint=0.75, lr=1e-6, lr_end=0.5, content_weight=0.0)
    optimization, records = paint(s, toy, repaint=over)
    assert over.sizes == [(34, 43)]
    assert (optimization.image() > 0.74).all()
    plain, _ = paint(replace(s, repaint=0.0), toy)
    expected = torch.lerp(plain.image(), torch.ones(1), 0.75)
    torch.testing.assert_close(optimization.image(), expected, atol=0.01, rtol=0)
    assert len(records) == optimization.steps


def test_what_is_painted_over_stays_grey_where_luminance_is_painted(toy) -> None:
    tinted = torch.tensor([0.9, 0.5, 0.1]).view(1, 3, 1, 1)
    s = settings("pyramid, adam", repaint=0.75, keep_colors="luminance", lr=1e-6)
    optimization, _ = paint(s, toy, repaint=lambda image: tinted.expand_as(image))
    red, green, blue = optimization.canvas.whole()[0]
    torch.testing.assert_close(red, green, atol=1e-4, rtol=0)
    torch.testing.assert_close(red, blue, atol=1e-4, rtol=0)


def test_the_rate_begins_anew_on_what_is_painted_over(toy) -> None:
    s = settings("pyramid, adam", lr=0.05, lr_end=0.2, repaint=0.5)
    optimization = Optimization(PHOTO, [(STYLE, 1.0)], s, toy, repaint=Over())
    rates = [optimization.optimizer.param_groups[0]["lr"] for _ in optimization.run()]
    first = sum(steps for _, steps in optimization.scales[:-1])
    last = optimization.steps - first
    expected = [0.05 * (1 - 0.8 * i / n) for n in (first, last) for i in range(n)]
    assert rates == pytest.approx(expected)


def test_large_scales_are_painted_over_one_by_one(toy, monkeypatch) -> None:
    monkeypatch.setattr(optimize, "PAINTED_OVER", 22)
    over = Over()
    optimization, _ = paint(settings("pyramid, adam", start=11, repaint=0.5), toy, repaint=over)
    assert [size for size, _ in optimization.scales][-len(over.sizes) :] == over.sizes == [(17, 22), (34, 43)]


def test_what_is_given_to_begin_with_is_not_painted_over(toy) -> None:
    over, s = Over(), settings("pyramid, adam", repaint=0.5)
    paint(s, toy, repaint=over, start=PHOTO.flip(1))
    assert not over.sizes
    with pytest.raises(ValueError, match="`repaint`"):
        Optimization(PHOTO, [(STYLE, 1.0)], s, toy)


@pytest.mark.parametrize("stop", [3, 4, 6])
def test_a_run_that_is_painted_over_is_resumed_exactly(toy, stop) -> None:
    given_to_all: Any = (PHOTO, [(STYLE, 1.0)], settings("pyramid, adam", repaint=0.5), toy)
    whole = Optimization(*given_to_all, repaint=Over())
    steps = whole.run()
    for _ in range(stop):
        next(steps)
    resumed = Optimization(*given_to_all, repaint=Over())
    resumed.load_state_dict(stored(whole.state_dict()))
    for one in (steps, resumed.run()):
        list(one)
    assert torch.equal(resumed.image(), whole.image())


def test_a_state_stays_what_it_was_while_the_run_goes_on(toy) -> None:
    optimization = Optimization(PHOTO, [(STYLE, 1.0)], settings("pixels, adam", start=None, steps=8), toy)
    states, pictures = [], []
    for _ in optimization.run():
        states.append(optimization.state_dict())
        pictures.append(optimization.image())
    for state, expected in zip(states, pictures, strict=True):
        resumed = Optimization(PHOTO, [(STYLE, 1.0)], settings("pixels, adam", start=None, steps=8), toy)
        resumed.load_state_dict(state)
        assert torch.equal(resumed.image(), expected)


@pytest.mark.parametrize("way", ["pixels, adam", "pyramid, lbfgs"])
def test_a_run_that_restarts_is_resumed_exactly(toy, way) -> None:
    s, spoil = settings(way, steps=6, later_steps=4), {3: nan, 9: nan_gradient, 11: huge}
    whole = Optimization(PHOTO, [(STYLE, 1.0)], s, Watched(toy, spoil))
    points = []
    for _ in whole.run():
        points.append((whole.backbone.calls, stored(whole.state_dict())))
    assert whole.restarts == 3
    for calls, state in points[::2]:
        resumed = Optimization(PHOTO, [(STYLE, 1.0)], s, Watched(toy, spoil, calls))
        resumed.load_state_dict(state)
        list(resumed.run())
        assert torch.equal(resumed.image(), whole.image())


def test_the_state_of_another_painting_is_refused(toy) -> None:
    optimization, _ = paint(plain(), toy)
    other = Optimization(picture(1, 40, 40), [(STYLE, 1.0)], plain(), toy)
    with pytest.raises(ValueError, match="another size"):
        other.load_state_dict(optimization.state_dict())


# -- styles and beginnings ----------------------------------------------------------------------------------------


def test_only_the_proportions_of_style_weights_count(toy) -> None:
    one, same, other = (
        paint(plain(), toy, styles=[(STYLE, a), (OTHER, b)])[0].image() for a, b in ((1, 3), (0.25, 0.75), (3, 1))
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_a_second_style_pulls_towards_itself(toy) -> None:
    """Judged by the style loss against the second alone."""

    def distance(weight: float) -> float:
        styles = [(STYLE, 1.0)] if weight == 0 else [(STYLE, 1.0), (OTHER, weight)]
        optimization, _ = paint(plain(steps=15), toy, styles=styles)
        judge = optimize.Objective(toy, PHOTO, [(OTHER, 1.0)], plain())
        return float(judge(optimization.image()).style)

    alone, mixed, mostly = distance(0), distance(1), distance(20)
    assert alone > mixed > mostly


@pytest.mark.parametrize("styles", [[], [(STYLE, 0.0)], [(STYLE, 1.0), (OTHER, -1.0)], [(STYLE, math.nan)]])
def test_styles_without_a_proper_weight(toy, styles) -> None:
    with pytest.raises(OptionError, match="at least one style, each with a weight above 0"):
        Optimization(PHOTO, styles, plain(), toy)


def test_content_alone_needs_no_style(toy) -> None:
    *_, last = Optimization(PHOTO, [], plain(style_weight=0.0, init="noise"), toy).run()
    assert last.losses["content"] > 0 == last.losses["style"]


def test_a_layer_that_the_backbone_lacks_is_told_at_once(toy) -> None:
    with pytest.raises(LayerError, match="toy has no layer 'relu4_2'"):
        Optimization(PHOTO, [(STYLE, 1.0)], preset("multiscale"), toy)


@pytest.mark.parametrize(("style_scale", "expected"), [(1.0, (43, 34)), (0.5, (22, 18)), (2.0, (86, 69))])
def test_the_size_of_the_style(toy, style_scale, expected) -> None:
    """Its long side as a factor of the result's, enlarged where it must be."""
    watched = Watched(toy)
    paint(plain(steps=1, style_scale=style_scale), watched)
    assert watched.targets[:2] == [(34, 43), expected]  # and then the picture as it is written


def test_styles_follow_the_scales(toy) -> None:
    watched = Watched(toy)
    optimization, _ = paint(settings("pyramid, adam"), watched)
    assert [size for size, _ in optimization.scales] == [(17, 22), (34, 43)]
    written = [(17, 22), (34, 43)]  # is looked at as each scale ends
    assert watched.targets == [(17, 22), (22, 18), written[0], (34, 43), (43, 34), written[1]]


MEAN = torch.tensor([123.68, 116.779, 103.939]).view(1, 3, 1, 1) / 255


def beginning(toy, init: str, **changes: Any) -> Tensor:
    # Bounds are far away, so that image() shows it untouched where it is inside [0, 1].
    return Optimization(PHOTO, [(STYLE, 1.0)], plain(init=init, **changes), toy).image()


def test_beginnings(toy) -> None:
    assert torch.equal(beginning(toy, "content"), PHOTO)
    noise = beginning(toy, "noise")
    assert float(noise.mean()) == pytest.approx(0.5, abs=0.03)
    assert float(noise.std()) == pytest.approx(12**-0.5, abs=0.02)
    faint = (beginning(toy, "faint-noise") - MEAN) * 255
    assert float(faint.std()) == pytest.approx(1e-3, rel=0.1)
    assert abs(float(faint.mean())) < 1e-4
    # 0.6 U(-20, 20) on 0.4 of the mean-subtracted photo
    grain = (beginning(toy, "coursera") - MEAN - 0.4 * (PHOTO - MEAN)) * 255 / 0.6
    assert float(grain.min()) == pytest.approx(-20, abs=0.1)
    assert float(grain.max()) == pytest.approx(20, abs=0.1)
    assert float(grain.std()) == pytest.approx(40 * 12**-0.5, rel=0.05)


@pytest.mark.parametrize("init", ["noise", "faint-noise", "coursera"])
def test_noise_depends_on_the_seed_alone(toy, init) -> None:
    assert torch.equal(beginning(toy, init, seed=1), beginning(toy, init, seed=1))
    assert not torch.equal(beginning(toy, init, seed=1), beginning(toy, init, seed=2))


def test_a_picture_to_begin_with(toy) -> None:
    start = picture(9, 50, 70)
    optimization = Optimization(PHOTO, [(STYLE, 1.0)], plain(init="noise"), toy, start)
    assert optimization.image().shape == PHOTO.shape
    assert (optimization.image() - nn.functional.interpolate(start, PHOTO.shape[2:], mode="area")).abs().mean() < 0.03
    ready = Optimization(PHOTO, [(STYLE, 1.0)], plain(), toy, STYLE[..., :34, :].repeat(1, 1, 1, 2)[..., :43])
    assert torch.equal(ready.image(), STYLE[..., :34, :].repeat(1, 1, 1, 2)[..., :43])


# -- colours ------------------------------------------------------------------------------------------------------


def test_luminance_alone_is_painted(toy) -> None:
    optimization, _ = paint(plain(keep_colors="luminance", steps=10), toy)
    image = optimization.image()
    assert is_picture(image)
    before, after = PHOTO - luminance(PHOTO), image - luminance(image)
    # The photo's hue everywhere, paled where the cube of colours ends and nowhere else.
    share = (before * after).sum(1) / before.square().sum(1)
    torch.testing.assert_close(after, before * share[:, None], rtol=0, atol=1e-5)
    assert share.min() >= 0
    assert share.max() <= 1 + 1e-4
    inside = ((luminance(image) + before > 0.001) & (luminance(image) + before < 0.999)).all(1)
    assert inside.float().mean() > 0.9
    torch.testing.assert_close(share[inside], torch.ones_like(share[inside]), rtol=0, atol=1e-4)
    assert (luminance(image) - luminance(PHOTO)).abs().mean() > 0.01


def test_luminance_is_painted_from_grey_pictures(toy) -> None:
    watched = Watched(toy)
    optimization, _ = paint(plain(keep_colors="luminance", steps=2), watched)
    for grey in (optimization.content, *(style for style, _ in optimization.styles)):
        assert torch.equal(grey[:, 0], grey[:, 1])
        assert torch.equal(grey[:, 0], grey[:, 2])
    style, photo = luminance(optimization.styles[0][0]), luminance(PHOTO)
    assert float(style.mean()) == pytest.approx(float(photo.mean()), abs=0.01)
    assert float(style.std()) == pytest.approx(float(photo.std()), rel=0.05)


def test_a_style_in_the_photos_colours(toy) -> None:
    optimization, _ = paint(plain(keep_colors="histogram", steps=2), toy)
    got, wanted = optimization.styles[0][0][0].flatten(1), PHOTO[0].flatten(1)
    torch.testing.assert_close(got.mean(1), wanted.mean(1), rtol=0, atol=0.005)  # but for what left the cube
    torch.testing.assert_close(got.cov(correction=0), wanted.cov(correction=0), rtol=0, atol=0.002)
    assert torch.equal(optimization.content, PHOTO)
    assert optimization.styles[0][0].shape == STYLE.shape


@pytest.mark.parametrize("tint", [(1.0, 1.0, 1.0), (1.0, 0.85, 0.65)], ids=["grey", "sepia"])
@pytest.mark.parametrize("init", ["content", "noise"])
def test_no_painting_is_more_colourful_than_its_photo(toy, tint, init) -> None:
    photo = luminance(PHOTO) * torch.tensor(tint).view(1, 3, 1, 1)
    optimization = Optimization(photo, [(STYLE, 1.0)], plain(keep_colors="histogram", steps=12, init=init), toy)
    for _ in optimization.run():
        pass
    image = optimization.image()
    assert (image - photo).abs().mean() > 0.01
    # Every colour is one of the photo's, the tint at some brightness, or paler where the cube ends.
    hue = torch.tensor(tint).view(1, 3, 1, 1) / luminance(torch.tensor(tint).view(1, 3, 1, 1)) - 1
    chroma = image - luminance(image)
    share = (chroma * hue).sum(1, keepdim=True) / hue.square().sum().clamp_min(1e-9)
    torch.testing.assert_close(chroma, share * hue, rtol=0, atol=2e-3)
    assert (share >= -1e-3).all()
    assert (share <= luminance(image) + 1e-2).all()
    spread = [float((x.amax(1) - x.amin(1)).mean()) for x in (image, photo)]
    assert spread[0] <= spread[1] + 1e-6


@pytest.mark.parametrize("style_loss", ["gram", "wasserstein"])
def test_hidden_parts_of_a_style_do_not_count(toy, style_loss) -> None:
    hidden = [torch.cat([STYLE.clone(), torch.ones_like(STYLE[:, :1])], 1) for _ in range(2)]
    for style, colour in zip(hidden, (0.0, 1.0), strict=True):
        style[:, :3, :, 40:], style[:, 3:, :, 24:] = colour, 0
    losses = []
    for style in hidden:
        optimization = Optimization(PHOTO, [(style, 1.0)], plain(style_loss=style_loss, steps=1), toy)
        losses.append(next(optimization.run()).losses["style"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


# -- averages, bounds, rates, scales ------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_the_picture_is_the_average_of_the_iterates(toy, optimizer) -> None:
    optimization = Optimization(PHOTO, [(STYLE, 1.0)], plain(averaging=0.7, optimizer=optimizer, lr=0.05, steps=6), toy)
    iterates = []
    for _ in optimization.run():
        iterates.append(optimization.canvas.image().detach())
        weights = [0.7**age for age in reversed(range(len(iterates)))]
        expected = sum(w * x for w, x in zip(weights, iterates, strict=True)) / sum(weights)
        torch.testing.assert_close(optimization.image(), expected.clamp(0, 1), rtol=0, atol=1e-5)


@pytest.mark.parametrize("levels", [1.0, 255.0])
def test_clamped_pixels_stay_in_bounds(toy, levels) -> None:
    photo = ((PHOTO - 0.5) * 2 + 0.5).clamp(0, 1)
    for clamp in (True, False):
        s = plain(clamp=clamp, levels=levels, lr=0.05 * levels, range_weight=0.0, steps=3)
        optimization = Optimization(photo, [(STYLE, 1.0)], s, toy)
        inside = []
        for _ in optimization.run():
            image = optimization.canvas.image()
            inside.append(bool(((image >= 0) & (image <= 1)).all()))
        assert inside == [clamp] * 3


def test_the_log_tells_of_the_picture_that_is_written(toy, monkeypatch) -> None:
    monkeypatch.setattr(optimize, "JUDGED_EVERY", 4)
    photo = ((PHOTO - 0.5) * 2 + 0.5).clamp(0, 1)
    for clamp in (True, False):
        s = plain(clamp=clamp, lr=0.05, range_weight=0.0, steps=9)
        optimization, known = Optimization(photo, [(STYLE, 1.0)], s, toy), {}
        for record in optimization.run():
            if "written" in record.losses:
                written = optimization._objective((34, 43))(optimization.image())
                known[record.step] = record.losses["written"], float(written.total)
        assert list(known) == ([] if clamp else [4, 8, 9])
        for told, wanted in known.values():
            assert told == pytest.approx(wanted, rel=1e-4)


def test_lbfgs_sees_what_is_written(toy) -> None:
    """What is gained outside of [0, 1] is lost when the picture is clamped."""
    photo, style = (((x - 0.5) * 3 + 0.5).clamp(0, 1) for x in (PHOTO, STYLE))
    ended, losses = [], []
    for sees in (False, True):
        s = plain(sees_clamped=sees, optimizer="lbfgs", lr=1.0, steps=40, style_weight=100.0, range_weight=0.0)
        optimization = Optimization(photo, [(style, 1.0)], s, toy)
        losses = [record.losses for record in optimization.run()]
        ended.append(losses[-1]["written"])
    assert ended[1] < ended[0]
    assert losses[-1]["written"] <= 1.001 * losses[-1]["total"]  # it is the very number that was made smaller


def test_leaving_the_range_costs(toy) -> None:
    free, bound = (paint(plain(range_weight=w, lr=0.2, content_weight=0.1, steps=12), toy)[0] for w in (0.0, 1000.0))

    def outside(optimization: Optimization) -> float:
        image = optimization.canvas.image().detach()
        return float((image - image.clamp(0, 1)).abs().mean())

    assert outside(bound) < 0.5 * outside(free)


def test_grey_levels_are_only_another_unit(toy) -> None:
    """Adam at 255 times the rate on 255 times the values takes the same steps, in pixels as elsewhere."""
    for way in ("pixels, adam", "pyramid, adam", "fourier, adam"):
        small, _ = paint(settings(way, lr=0.01, levels=1.0, eps=1e-12), toy)
        large, _ = paint(settings(way, lr=2.55, levels=255.0, eps=1e-12), toy)
        torch.testing.assert_close(small.image(), large.image(), rtol=0, atol=1e-3)


@pytest.mark.parametrize("way", ["pixels, adam", "pyramid, lbfgs"])
def test_the_rate_falls_in_a_straight_line(toy, way) -> None:
    s = settings(way, lr=0.05, lr_end=0.2)
    optimization = Optimization(PHOTO, [(STYLE, 1.0)], s, toy)
    rates = [optimization.optimizer.param_groups[0]["lr"] for _ in optimization.run()]
    n = optimization.steps
    assert rates == pytest.approx([0.05 * (1 - 0.8 * i / n) for i in range(n)])


def test_scales_from_coarse_to_fine(toy) -> None:
    photo = picture(1, 48, 64)

    def scales(**changes: Any) -> list[tuple[tuple[int, int], int]]:
        return Optimization(photo, [(STYLE, 1.0)], plain(steps=10, later_steps=5, **changes), toy).scales

    assert scales() == [((48, 64), 10)]
    assert scales(start=32) == [((24, 32), 10), ((48, 64), 5)]
    assert scales(start=64) == scales(start=1000) == [((48, 64), 10)]
    root = scales(start=20, factor=2**0.5)
    assert root == [((17, 23), 10), ((24, 32), 5), ((34, 45), 5), ((48, 64), 5)]
    # A coarser one would be 12 px high: the deepest layers would see nothing of it.
    assert scales(start=1, factor=2**0.5) == root
    assert scales(start=10, parameterisation="pyramid") == [((24, 32), 10), ((48, 64), 5)]


@pytest.mark.parametrize("parameterisation", ["pyramid", "pixels"])
def test_large_scales_have_fewer_steps_where_they_fall(toy, parameterisation) -> None:
    def steps(falling: float, full: tuple[int, int] = (512, 2048), later: int = 16) -> list[int]:
        s = plain(start=256, steps=8, later_steps=later, falling=falling, parameterisation=parameterisation)
        return [count for _, count in scales_of(full, s)]

    assert steps(0.0) == [8, 16, 16, 16]
    assert steps(1.0) == [8, 16, 8, 4]
    assert steps(2.0) == [8, 16, 4, 1]
    assert steps(9.0) == [8, 16, 1, 1]  # never none where there were some
    assert steps(1.0, later=0) == [8, 0, 0, 0]
    assert steps(1.0, full=(512, 512)) == [8, 16]  # up to the size of a proof nothing falls


def test_a_pyramid_of_many_scales(toy) -> None:
    """More scales than a pyramid has levels otherwise."""
    photo = picture(1, 16, 16).repeat(1, 1, 65, 65)[..., :1025, :1030]
    optimization = Optimization(photo, [(STYLE, 1.0)], settings("pyramid, adam", start=16), toy)
    assert [size for size, _ in optimization.scales][:2] == [(17, 17), (33, 33)]
    assert len(optimization.scales) == 7
    assert isinstance(optimization.canvas, Pyramid)
    assert optimization.canvas.image().shape[2:] == (17, 17)


@effort(max_examples=25, deadline=None)
@given(st.integers(1, 60), st.integers(1, 9), st.integers(0, 9))
def test_total_steps_are_shared_in_proportion(toy, total, steps, later) -> None:
    s = settings("pixels, adam", steps=steps, later_steps=later, total_steps=total)
    optimization = Optimization(PHOTO, [(STYLE, 1.0)], s, toy)
    counts = [count for _, count in optimization.scales]
    assert len(counts) == 2
    assert optimization.steps == sum(counts) == total
    assert counts[0] == pytest.approx(total * steps / (steps + later), abs=0.5)


def test_a_scale_without_steps_is_passed_over(toy) -> None:
    s = settings("pixels, adam", steps=1, later_steps=4, total_steps=1, averaging=0.0)
    optimization = Optimization(PHOTO, [(STYLE, 1.0)], s, toy)
    assert [count for _, count in optimization.scales] == [0, 1]
    assert torch.equal(optimization.image(), PHOTO)  # and not the enlarged coarse one
    state = optimization.state_dict()
    records = list(optimization.run())
    assert [record.scale for record in records] == [(34, 43)]
    again = Optimization(PHOTO, [(STYLE, 1.0)], s, toy)
    again.load_state_dict(state)
    list(again.run())
    assert torch.equal(again.image(), optimization.image())


def test_adam_remembers_across_scales_and_lbfgs_begins_anew(toy) -> None:
    for way in ("pixels, adam", "pyramid, adam"):
        optimization, _ = paint(settings(way), toy)
        ages = [float(optimization.optimizer.state[p]["step"]) for p in optimization.canvas.parameters]
        # The pyramid's finest level joined in later.
        assert ages == [7.0] if way == "pixels, adam" else [3.0] + [7.0] * (len(ages) - 1)
        for p in optimization.canvas.parameters:
            assert optimization.optimizer.state[p]["exp_avg_sq"].shape == p.shape
            assert (optimization.optimizer.state[p]["exp_avg_sq"] >= 0).all()
    optimization, _ = paint(settings("pixels, lbfgs"), toy)
    assert optimization.optimizer.state_dict()["state"][0]["n_iter"] == 3


def test_the_next_scale_starts_from_the_average(toy) -> None:
    optimization = Optimization(PHOTO, [(STYLE, 1.0)], settings("pixels, adam", averaging=0.9), Watched(toy))
    running = optimization.run()
    for _ in range(4):
        next(running)
    average = optimization.image()
    next(running)
    assert isinstance(optimization.canvas, Pixels)
    first = optimization.backbone.seen[4]
    assert first.shape == PHOTO.shape
    assert (first - average).abs().max() < 1e-4  # image() enlarges in the same way, but clamps


# -- when it goes wrong -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", [nan, huge, nan_gradient])
@pytest.mark.parametrize("way", WAYS)
def test_a_bad_step_restarts_from_a_good_iterate_with_half_the_step(toy, way, change) -> None:
    watched = Watched(toy, {3: change})
    optimization = Optimization(PHOTO, [(STYLE, 1.0)], settings(way, lr_end=1.0), watched)
    records = []
    for record in optimization.run():
        records.append(record)
        assert is_picture(optimization.image())
    assert optimization.restarts == 1
    notes = [record.note for record in records if record.note]
    assert notes == ["the loss blew up at step 2: going on from before with half the step"]
    # Evaluations 1 to 3, then back to the first, which was the last to be copied.
    assert torch.equal(watched.seen[3], watched.seen[0])
    assert [record.step for record in records] == [1, 2, *range(1, optimization.steps + 1)]
    assert optimization.optimizer.param_groups[0]["lr"] == optimization.settings.lr / 2


def test_a_late_failure_costs_at_most_ten_steps(toy) -> None:
    watched = Watched(toy, {18: nan})
    optimization, records = paint(plain(steps=25), watched)
    assert torch.equal(watched.seen[18], watched.seen[10])
    assert [record.step for record in records] == [*range(1, 18), *range(11, 26)]
    assert optimization.restarts == 1


@pytest.mark.parametrize("spoilt", [{1: nan}, {5: nan}, {1: nan, 6: nan, 8: huge}, {2: nan, 3: nan, 4: nan}])
def test_failures_at_the_beginning_of_a_scale_and_one_after_the_other(toy, spoilt) -> None:
    optimization, records = paint(settings("pixels, adam"), Watched(toy, spoilt))
    assert optimization.restarts == len(spoilt)
    assert is_picture(optimization.image())
    assert records[-1].step == optimization.steps
    assert sum(record.note is not None for record in records) == 1  # said once


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("change", [nan, nan_gradient])
def test_a_hopeless_run_ends_with_an_error_and_a_picture(toy, way, change) -> None:
    watched = Watched(toy, dict.fromkeys(range(4, 1000), change))
    optimization = Optimization(PHOTO, [(STYLE, 1.0)], settings(way), watched)
    with pytest.raises(DivergenceError) as caught:
        list(optimization.run())
    assert str(caught.value).endswith("restarts with halved steps: lower `lr` or `style_weight`")  # float32 already
    assert "in spite of 6" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert is_picture(optimization.image())
    assert watched.calls < 30


def test_an_absurd_rate_is_halved_until_it_works(toy) -> None:
    optimization, _ = paint(settings("pixels, adam", lr=5.0, clamp=False, start=None, averaging=0.0, steps=12), toy)
    assert 1 <= optimization.restarts <= 6
    assert is_picture(optimization.image())
    assert float(optimization.canvas.image().detach().abs().max()) < 20


def test_the_average_forgets_what_was_taken_back(toy) -> None:
    """A step of a thousand grey levels must not stay in the average once it is taken back."""
    s = plain(averaging=0.95, steps=12, range_weight=0.0)
    calm = paint(s, toy)[0].image()
    optimization = Optimization(PHOTO, [(STYLE, 1.0)], s, toy)
    running = optimization.run()
    for _ in range(4):
        next(running)
    with torch.no_grad():  # what a blown-up step does
        optimization.canvas.parameters[0].add_(1e6)
    optimization._update_average()
    list(running)
    assert optimization.restarts == 1
    assert (optimization.image() - calm).abs().mean() < 0.1


# -- two networks in turns ------------------------------------------------------------------------------------------


def other_toy() -> VGG:
    torch.manual_seed(7)
    vgg = VGG("vgg16", NORMALISATIONS["caffe"], last="conv2_1", name="other").requires_grad_(False)
    for module in vgg.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=(2 / (9 * module.in_channels)) ** 0.5)
    return vgg


def in_turns(way: str = "pyramid, adam", **changes: Any) -> OptimizeSettings:
    return settings(way, **{"second_backbone": "compact", **changes})


@pytest.mark.parametrize(("every", "turns"), [(1, "2222222"), (2, "1212121"), (3, "1121121"), (9, "1111111")])
def test_two_networks_see_in_turns(toy, every, turns) -> None:
    first, second = Watched(toy), Watched(other_toy())
    order = []
    for number, eye in (("1", first), ("2", second)):
        eye.register_forward_pre_hook(lambda _, given, n=number: order.append(n) if given[0].requires_grad else None)
    optimization, records = paint(in_turns(second_every=every), first, second=second)
    assert "".join(order) == turns
    assert [record.seen_by for record in records] == [{"1": toy.name, "2": "other"}[number] for number in turns]
    assert optimization.restarts == 0
    # Each has looked at photo and style at every scale.
    assert set(first.targets) == set(second.targets)


def test_what_is_much_to_one_network_is_not_much_to_the_other(toy, monkeypatch) -> None:
    """What has blown up is told from what the same network saw before."""
    other, real = other_toy(), Optimization._objective

    def louder(self: Optimization, size: tuple[int, int], eye: VGG | None = None) -> Objective:
        objective = real(self, size, eye)
        if eye is other:
            forward = objective.forward
            objective.forward = lambda image: Terms(*(term * 1000 for term in forward(image)))  # type: ignore[method-assign]
        return objective

    monkeypatch.setattr(Optimization, "_objective", louder)
    optimization, seen = paint(in_turns(steps=6, later_steps=0), toy, second=other)
    losses = [record.losses["total"] for record in seen]
    assert min(losses[1::2]) > 50 * max(losses[::2])
    assert optimization.restarts == 0


def test_states_of_earlier_versions_have_one_number_for_both(toy) -> None:
    whole = Optimization(PHOTO, [(STYLE, 1.0)], in_turns(), toy, second=other_toy())
    steps = whole.run()
    next(steps)
    next(steps)
    before = whole.state_dict()
    before["good"] |= {"first": 3.0, "best": 2.0}
    whole.load_state_dict(before)
    assert (whole.good.first, whole.good.best) == ([3.0, 3.0], [2.0, 2.0])


def test_the_same_network_twice_is_that_network(toy) -> None:
    twice, _ = paint(in_turns(), toy, second=toy)
    once, records = paint(in_turns(second_backbone=None), toy)
    assert torch.equal(twice.image(), once.image())
    assert {record.seen_by for record in records} == {None}


def test_a_second_network_has_its_say(toy) -> None:
    other, steps = other_toy(), {"steps": 30, "later_steps": 30}
    alone, both = (
        paint(in_turns(second_backbone=name, **steps), toy, second=second)[0].image()
        for name, second in ((None, None), ("compact", other))
    )

    def style_left(image: Tensor) -> float:
        losses = Optimization(PHOTO, [(STYLE, 1.0)], plain(), other)._objective((34, 43))(image)
        return float(losses.style)

    assert style_left(both) < 0.8 * style_left(alone)


@pytest.mark.parametrize("done", [1, 4, 6])
def test_a_resumed_run_of_two_networks_ends_in_the_same_picture(toy, done) -> None:
    given_to_all: tuple[Any, ...] = (PHOTO, [(STYLE, 1.0)], in_turns(second_every=3), toy)
    other = other_toy()
    whole, states = Optimization(*given_to_all, second=other), []
    for _ in whole.run():
        states.append(stored(whole.state_dict()))
    resumed = Optimization(*given_to_all, second=other)
    resumed.load_state_dict(states[done - 1])
    list(resumed.run())
    assert torch.equal(resumed.image(), whole.image())


def test_settings_and_networks_must_agree(toy) -> None:
    for s, second in ((plain(), toy), (plain(second_backbone="compact"), None)):
        with pytest.raises(ValueError, match="exactly where the settings name one"):
            Optimization(PHOTO, [(STYLE, 1.0)], s, toy, second=second)
    shallow = VGG("vgg16", NORMALISATIONS["none"], last="conv1_2", name="shallow").requires_grad_(False)
    with pytest.raises(LayerError, match="shallow has no layer 'relu2_1'"):
        Optimization(PHOTO, [(STYLE, 1.0)], plain(second_backbone="compact"), toy, second=shallow)


# -- weights of another network -----------------------------------------------------------------------------------


def test_rescaled_weights_are_said_so_once(toy) -> None:
    optimization, records = paint(preset("coursera", **LAYERS, total_steps=3), toy)
    note = "weights are rescaled by layer, from the original Caffe VGG to the activations of toy"
    assert [record.note for record in records] == [note, None, None]
    assert set(optimization.multipliers) == {"relu2_1", "conv1_1"}
    _, records = paint(preset("gatys-paper", **LAYERS, activations="unit", total_steps=1), toy)
    assert records[0].note.startswith("weights are rescaled by layer, from a mean activation of 1 to")


def test_weights_on_their_own_network_stay(toy) -> None:
    original = VGG("vgg16", NORMALISATIONS["caffe"], last="conv2_1", name="vgg16-caffe").requires_grad_(False)
    optimization, records = paint(preset("coursera", **LAYERS, total_steps=1), original)
    assert optimization.multipliers == {}
    assert records[0].note is None
    assert Optimization(PHOTO, [(STYLE, 1.0)], plain(), toy).multipliers == {}
