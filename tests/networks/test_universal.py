"""Universal with a toy encoder of random weights: what it looks at, what it makes of that, and what is saved."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from impasto.core.metadata import read_metadata, save
from impasto.core.precision import choose_precision
from impasto.core.vgg import VGG
from impasto.errors import LayerError, OptionError, WeightsError
from impasto.networks import universal
from impasto.networks.brisk import Brisk
from impasto.networks.checkpoint import load_model, save_model
from impasto.networks.encoded import TAPS
from impasto.networks.inference import bind, encode, ready
from impasto.networks.palette import colour_map
from impasto.networks.universal import Predictor, Signature, Universal, UniversalConfig
from impasto.tiling.bands import BandProgress
from impasto.tiling.fitting import paint
from impasto.tiling.plan import TilingOptions

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = UniversalConfig("toy", channels=8, blocks=1, detail=4, parts=8, hidden=8)


def toy_encoder(last: str = "conv4_1") -> VGG:
    torch.manual_seed(0)
    ranks = dict.fromkeys(VGG("vgg16", last=last).convolutions[1:], 8)
    vgg = VGG("vgg16", last=last, ranks=ranks, name="toy", padding="replicate").requires_grad_(False)
    for value in vgg.parameters():
        if value.ndim == 4:
            nn.init.kaiming_normal_(value)
    return vgg


def picture(height: int = 40, width: int = 48, seed: int = 0, count: int = 1) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 5, 6, generator=draw) * torch.rand(count, 3, 1, 1, generator=draw)
    return nn.functional.interpolate(coarse, (height, width), mode="bilinear")


def untrained() -> Universal:
    torch.manual_seed(1)
    return Universal(SMALL, toy_encoder()).eval()


def practised() -> Universal:
    """One whose looks differ from style to style, as after some training."""
    network = untrained()
    network.predictor.learn_basis(network.signature(picture(seed=50, count=40)).features)
    nn.init.normal_(network.predictor.rows.weight, std=0.5)
    return network


@pytest.fixture(scope="module")
def network() -> Universal:
    return practised()


# -- what it looks at -----------------------------------------------------------------------------------------


def test_a_signature_is_roots_of_moments_and_colours(network: Universal) -> None:
    style = picture(64, 48)
    seen = network.signature(style)
    expected = []
    for features in network.encoder(style, TAPS).values():
        expected += [features.mean((2, 3)), (features.var((2, 3), correction=0) + 1e-5).sqrt()]
    torch.testing.assert_close(seen.features, (torch.cat(expected, 1) + 1e-6).sqrt())
    matrix, offset = colour_map(style)
    assert torch.equal(seen.matrix, matrix[None])
    assert torch.equal(seen.offset, offset[None])


def test_features_that_are_known_need_no_second_look(network: Universal) -> None:
    styles = picture(64, 48, count=2)
    with torch.no_grad():
        known = network.signature(styles, network.encoder(styles, TAPS))
    for ours, theirs in zip(known, network.signature(styles), strict=True):
        assert torch.equal(ours, theirs)


# -- principal components -------------------------------------------------------------------------------------


def predictor(inputs: int = 12, parts: int = 6) -> Predictor:
    torch.manual_seed(0)
    base = {"palette.matrix": torch.zeros(1, 3, 3), "palette.offset": torch.zeros(1, 3), "gamma": torch.ones(1, 4)}
    return Predictor(inputs, parts, 8, base)


def skewed(count: int, inputs: int = 12) -> Tensor:
    """Features that mostly rise and fall together, with a large mean; what sets them apart is faint."""
    draw = torch.Generator().manual_seed(1)
    together = torch.randn(count, 1, generator=draw)
    return 7 + 3 * together + 0.3 * torch.randn(count, inputs, generator=draw)


def test_components_are_told_apart_and_have_a_variance_of_at_most_1() -> None:
    features, ours = skewed(500), predictor(parts=12)
    ours.learn_basis(features)
    parts = (features - ours.mean) @ ours.basis
    torch.testing.assert_close(parts.mean(0), torch.zeros(12), rtol=0, atol=1e-4)
    covariance = parts.T @ parts / len(parts)
    off_diagonal = covariance - covariance.diagonal().diag()
    assert off_diagonal.abs().max() < 1e-3
    variances = covariance.diagonal()
    assert variances.max() < 1
    assert (variances.diff() <= 1e-4).all()  # the strongest comes first


def test_faint_components_stay_faint() -> None:
    features, ours = skewed(500), predictor(parts=12)
    ours.learn_basis(features)
    variances = ((features - ours.mean) @ ours.basis).var(0, correction=0)
    # 12 standardised channels have a variance of 12 in all, 1 on the average: that of the strongest is nearly 12.
    standard = (features - features.mean(0)) / features.std(0)
    own = torch.linalg.eigvalsh(standard.T @ standard / len(standard)).flip(0)
    torch.testing.assert_close(variances, own / (own + own.mean()), rtol=1e-3, atol=1e-4)
    assert variances[0] > 0.9
    assert variances[-1] < 0.05


def test_fewer_styles_than_parts() -> None:
    features, ours = skewed(4), predictor()
    ours.learn_basis(features)
    assert ours.basis.isfinite().all()
    assert (ours.basis[:, 4:] == 0).all()
    assert (ours.basis[:, :3].norm(dim=0) > 0).all()


def test_styles_that_are_all_the_same_do_no_harm() -> None:
    ours = predictor()
    ours.learn_basis(torch.full((9, 12), 3.0))
    look = ours(Signature(torch.full((1, 12), 3.5), torch.zeros(1, 3, 3), torch.zeros(1, 3)))
    assert all(value.isfinite().all() for value in look.values())


def test_a_learned_basis_replaces_an_older_one() -> None:
    ours = predictor()
    ours.learn_basis(skewed(500))
    ours.learn_basis(skewed(4))
    again = predictor()
    again.learn_basis(skewed(4))
    assert torch.equal(ours.basis, again.basis)
    assert torch.equal(ours.mean, again.mean)


def test_a_style_unlike_any_other_is_taken_for_less(network: Universal) -> None:
    seen = network.signature(picture())
    looks = [network.predictor(seen._replace(features=seen.features + far)) for far in (1e4, 1e5)]
    for name, value in looks[0].items():
        assert torch.equal(value, looks[1][name])


# -- beginning with styles that have been learned ---------------------------------------------------------------


def signatures(count: int, inputs: int = 12) -> Signature:
    draw = torch.Generator().manual_seed(2)
    features = 7 + torch.randn(count, inputs, generator=draw)
    return Signature(features, torch.randn(count, 3, 3, generator=draw), torch.randn(count, 3, generator=draw))


def wanted_looks(count: int) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(3)
    shapes = {"gamma": (4,), "palette.matrix": (3, 3), "palette.offset": (3,)}
    return {name: 1 + torch.randn(count, *shape, generator=draw) for name, shape in shapes.items()}


@torch.no_grad()
def test_a_fit_is_ridge_regression() -> None:
    ours, seen, wanted = predictor(), signatures(20), wanted_looks(20)
    ours.learn_basis(skewed(500))
    ours.fit(seen, wanted)
    x = nn.functional.silu(ours.summary(((seen.features - ours.mean) @ ours.basis).clamp(-6, 6) / 6**0.5)) / 8**0.5
    y = (wanted["palette.matrix"] - seen.matrix).flatten(1)
    x, y = (x - x.mean(0)).double(), (y - y.mean(0)).double()
    size = x.square().sum(1).mean() * torch.eye(8)
    expected = torch.linalg.solve(x.T @ x + size, x.T @ y).T  # as it is usually written
    torch.testing.assert_close(ours.rows.weight[:9].double(), expected, rtol=1e-3, atol=1e-5)
    for name, value in ours(seen).items():
        torch.testing.assert_close(value.mean(0), wanted[name].mean(0), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_few_styles_could_be_learned_by_heart(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, seen, wanted = predictor(), signatures(5), wanted_looks(5)
    ours.learn_basis(skewed(500))
    monkeypatch.setattr(universal, "RIDGE", 1e-9)
    ours.fit(seen, wanted)
    for name, value in ours(seen).items():
        torch.testing.assert_close(value, wanted[name], rtol=0, atol=1e-2)


@torch.no_grad()
def test_one_style_is_what_all_have_in_common() -> None:
    ours, seen, wanted = predictor(), signatures(1), wanted_looks(1)
    ours.learn_basis(skewed(500))
    ours.fit(seen, wanted)
    assert not ours.rows.weight.any()
    for name, value in ours(seen).items():
        torch.testing.assert_close(value, wanted[name])


@torch.no_grad()
def test_a_network_of_several_styles_can_be_the_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    network, styles, photo = practised(), picture(seed=3, count=3), picture(44, 36, 4)
    trained = Brisk(SMALL.brisk(("a", "b", "c"))).eval()
    for parameter in trained.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    monkeypatch.setattr(universal, "RIDGE", 1e-9)
    network.begin_with(trained, network.signature(styles))
    assert torch.equal(network.painter.stem.conv2d.weight, trained.stem.conv2d.weight)
    assert network.painter.stem.conv2d.weight.data_ptr() != trained.stem.conv2d.weight.data_ptr()
    for i, name in enumerate("abc"):
        painted = bind(network, [(styles[i : i + 1], 1.0)])(photo)
        torch.testing.assert_close(painted, trained(photo, trained.mix(name)), rtol=0, atol=0.01)


def test_a_beginning_of_other_sizes_is_refused(network: Universal) -> None:
    trained = Brisk(replace(SMALL, channels=16).brisk(("a", "b", "c")))
    with pytest.raises(OptionError, match="of 16 channels, 1 blocks and detail 4 cannot begin one of 8, 1 and 4"):
        network.begin_with(trained, network.signature(picture(count=3)))


# -- parameters ----------------------------------------------------------------------------------------------------


def test_a_look_is_a_row_for_all_that_a_style_has_in_brisk(network: Universal) -> None:
    brisk = Brisk(SMALL.brisk(("a", "b")))
    of_styles = {id(getattr(module, name)) for module, name in brisk.rows}
    wanted = {name: (3, *value.shape[1:]) for name, value in brisk.named_parameters() if id(value) in of_styles}
    look = network.encode_style(picture(count=3))
    assert {name: tuple(value.shape) for name, value in look.items()} == wanted
    assert all(value.dtype == torch.float32 for value in look.values())


def test_untrained_it_knows_nothing_of_a_style_but_its_colours() -> None:
    network, styles = untrained(), picture(seed=3, count=2)
    look = network.encode_style(styles)
    matrices, offsets = zip(*(colour_map(style[None]) for style in styles), strict=True)
    assert torch.equal(look["palette.matrix"], torch.stack(matrices))
    assert torch.equal(look["palette.offset"], torch.stack(offsets))
    own = dict(network.painter.named_parameters())
    for name in look.keys() - {"palette.matrix", "palette.offset"}:
        assert torch.equal(look[name], own[name].expand_as(look[name]))


@torch.no_grad()
def test_untrained_it_is_a_brisk_bound_to_the_style() -> None:
    network, style, photo = untrained(), picture(seed=3), picture(44, 36, 4)
    brisk = Brisk(SMALL.brisk(("a",))).eval()
    brisk.load_state_dict(network.painter.state_dict())
    brisk.begin_style("a", style)
    expected = brisk(photo, brisk.mix("a"))
    torch.testing.assert_close(bind(network, [(style, 1.0)])(photo), expected, rtol=0, atol=1e-6)


def test_looks_differ_by_style_and_not_by_company(network: Universal) -> None:
    styles = picture(seed=3, count=3)
    together = network.encode_style(styles)
    for i in range(3):
        alone = network.encode_style(styles[i : i + 1])
        for name, value in together.items():
            torch.testing.assert_close(value[i : i + 1], alone[name], rtol=1e-4, atol=1e-4)
    assert all((value[0] - value[1]).abs().max() > 1e-3 for value in together.values())


# -- painting -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (61, 35), (32, 95), (7, 3)])
@torch.no_grad()
def test_a_batch_of_styles_is_each_photo_in_its_own(network: Universal, size: tuple[int, int]) -> None:
    photos, styles = picture(*size, seed=7, count=3), picture(seed=8, count=3)
    painted = network(photos, network.signature(styles))
    assert painted.shape == photos.shape
    assert painted.dtype == torch.float32
    for i in range(3):
        bound = network.bind_parameters([network.encode_style(styles[i : i + 1])])
        alone = bound(photos[i : i + 1], torch.ones(1, 1))
        torch.testing.assert_close(painted[i : i + 1], alone, rtol=0, atol=1e-5)
    assert (network(photos, network.signature(styles.flip(0))) - painted)[0].abs().max() > 1e-3


@torch.no_grad()
def test_style_pictures_of_any_size(network: Universal) -> None:
    for size in ((1, 1), (5, 70), (33, 47), (96, 32)):
        painted = bind(network, [(picture(*size, seed=2), 1.0)])(picture())
        assert painted.isfinite().all()


@torch.no_grad()
def test_several_styles_are_weighed(network: Universal) -> None:
    photo, looks = picture(), [encode(network, picture(seed=seed)) for seed in (3, 4)]
    one, other = (bind(network, [(look, 1.0)])(photo) for look in looks)
    blend = bind(network, [(looks[0], 1.0), (looks[1], 1.0)])(photo)
    torch.testing.assert_close(bind(network, [(looks[0], 0.3), (looks[0], 0.9)])(photo), one)
    torch.testing.assert_close(bind(network, [(looks[0], 0.0), (looks[1], 2.0)])(photo), other)
    torch.testing.assert_close(bind(network, [(looks[0], 3.0), (looks[1], 3.0)])(photo), blend)
    # Half-way in the look: each row is the mean of the two.
    mean = {name: (value + looks[1][name]) / 2 for name, value in looks[0].items()}
    torch.testing.assert_close(blend, bind(network, [(mean, 1.0)])(photo), rtol=0, atol=1e-5)
    assert (blend - one).abs().max() > 1e-3


@torch.no_grad()
def test_a_picture_and_what_was_kept_of_it_paint_alike(network: Universal) -> None:
    style = picture(seed=3)
    kept = bind(network, [(encode(network, style), 1.0)])(picture())
    assert torch.equal(bind(network, [(style, 1.0)])(picture()), kept)


@torch.no_grad()
def test_masks_give_each_style_its_region(network: Universal) -> None:
    photo, pictures = picture(), [(picture(seed=3), 1.0), (picture(seed=4), 1.0)]
    left = torch.zeros(1, 1, 40, 48)
    left[..., :24] = 1
    masked = bind(network, pictures)(photo, masks=[left, 1 - left])
    for i, part in ((0, slice(0, 24)), (1, slice(24, 48))):
        alone = bind(network, pictures[i : i + 1])(photo)
        torch.testing.assert_close(masked[..., part], alone[..., part], rtol=0, atol=1e-5)
    with pytest.raises(OptionError, match="2 styles with 1 mask:"):
        bind(network, pictures)(photo, masks=[left])


def test_strength_0_is_the_photo(network: Universal) -> None:
    photo = picture()
    full = bind(network, [(picture(seed=3), 1.0)])(photo)
    assert torch.equal(bind(network, [(picture(seed=3), 1.0)])(photo, strength=0), photo)
    half = bind(network, [(picture(seed=3), 1.0)])(photo, strength=0.5)
    torch.testing.assert_close(half, (photo + full) / 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"styles": [(picture(), 1.0)], "alpha": 0.5}, r"alpha is for networks that decode features \(adain\)"),
        ({"styles": [("wave", 1.0)]}, "any picture: give pictures as styles, not names"),
        ({"styles": [("wave", 1.0), (picture(), 1.0)]}, "any picture: give pictures as styles, not names"),
        ({}, "any picture: give one as `style`"),
        ({"styles": [(picture(), -1.0)]}, "weight of style '1' is -1.0, but must be 0 or more"),
        ({"styles": [(picture(), 0.0)]}, "no style has a weight above 0"),
    ],
)
def test_wrong_choices_are_refused(network: Universal, options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        bind(network, options.get("styles", []))(picture(), alpha=options.get("alpha", 1.0))


@pytest.mark.parametrize("tile", [16, 20, 64])
def test_bands_give_the_same_picture(network: Universal, tile: int) -> None:
    photo = picture(77, 45, 6)
    shown = [(picture(seed=3), 1.0), (picture(seed=4), 2.0)]
    painted: list[Tensor] = []

    def run() -> Iterator[BandProgress]:
        painted.append((yield from paint(bind(network, shown), photo, TilingOptions(tile=tile))))

    assert list(run())
    torch.testing.assert_close(painted[0], bind(network, shown)(photo), rtol=0, atol=1e-3)


def test_half_precision_is_close() -> None:
    exact, rough = practised(), ready(practised(), choose_precision("cpu", "bfloat16"))
    assert rough.encoder.dtype == torch.bfloat16
    painted = [bind(one, [(picture(seed=3), 1.0)])(picture(seed=2)) for one in (exact, rough)]
    assert painted[1].dtype == torch.float32
    assert 0 < (painted[0] - painted[1]).abs().mean() < 0.02


# -- learning -------------------------------------------------------------------------------------------------


def test_everything_that_learns_gets_a_gradient_and_nothing_else_does() -> None:
    network = practised().train()
    network(picture(count=2), network.signature(picture(seed=3, count=2))).square().sum().backward()
    learning = {name: value for name, value in network.named_parameters() if value.requires_grad}
    assert not [name for name, value in learning.items() if value.grad is None or not value.grad.abs().max() > 0]
    still = {name for name, value in network.named_parameters() if not value.requires_grad}
    assert still == {
        *(f"painter.{name}" for name in network.encode_style(picture())),
        *(f"encoder.{name}" for name, _ in network.encoder.named_parameters()),
    }
    assert not [name for name, value in network.named_parameters() if name in still and value.grad is not None]
    assert not network.encoder.training


def test_what_it_painted_with_before_does_not_change_what_it_learns() -> None:
    """To bind a network shares the weights; the rows of the one that learns stay what they were."""
    network = practised()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    bound = network.bind_parameters([network.encode_style(picture(seed=3)), network.encode_style(picture(seed=4))])
    assert bound.stem.conv2d.weight.data_ptr() == network.painter.stem.conv2d.weight.data_ptr()
    assert bound.styles == ("1", "2")
    assert network.painter.styles == ("style",)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


# -- files and configs ----------------------------------------------------------------------------------------


def test_a_file_holds_no_encoder_and_paints_the_same(network: Universal, tmp_path: Path) -> None:
    path = tmp_path / "universal.safetensors"
    save_model(path, network, recipe={"steps": 3}, licence="MIT")
    assert {key.split(".")[0] for key in safetensors.torch.load_file(path)} == {"painter", "predictor"}
    again, about = load_model(path, encoder=network.encoder)
    assert isinstance(again, Universal)
    assert (again.config, about["method"], about["styles"]) == (network.config, "universal", [])
    shown = [(picture(seed=3), 1.0)]
    torch.testing.assert_close(bind(again, shown)(picture()), bind(network, shown)(picture()), rtol=0, atol=1e-6)
    learning = [[name for name, p in one.named_parameters() if p.requires_grad] for one in (network, again)]
    assert learning[0] == learning[1]


def test_half_precision_in_a_file(network: Universal, tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    save_model(path, network, recipe={}, licence="MIT", dtype=torch.float16)
    again, _ = load_model(path, encoder=network.encoder)
    assert {value.dtype for value in again.state_dict().values()} == {torch.float32}
    shown = [(picture(seed=3), 1.0)]
    torch.testing.assert_close(bind(again, shown)(picture()), bind(network, shown)(picture()), rtol=0, atol=0.02)


def test_without_its_encoder_a_file_says_so(network: Universal, tmp_path: Path) -> None:
    path = tmp_path / "any.safetensors"
    save_model(path, network, recipe={}, licence="MIT")
    with pytest.raises(WeightsError, match="no backbone and no file is called 'toy'"):
        load_model(path)


def test_a_file_for_an_encoder_of_other_widths(network: Universal, tmp_path: Path) -> None:
    path = tmp_path / "any.safetensors"
    save_model(path, network, recipe={}, licence="MIT")
    tensors = safetensors.torch.load_file(path)
    tensors["predictor.mean"] = tensors["predictor.mean"][:-1].clone()
    save(path, tensors, read_metadata(path))
    with pytest.raises(WeightsError, match=r"predictor\.mean is \(1919,\), need \(1920,\)"):
        load_model(path, encoder=network.encoder)


def test_the_encoder_is_needed_and_named() -> None:
    with pytest.raises(LayerError, match="relu4_1"):
        Universal(SMALL, toy_encoder("conv3_1"))
    with pytest.raises(WeightsError, match="nowhere"):
        Universal(replace(SMALL, encoder="nowhere"))
    assert Universal(replace(SMALL, encoder="compact", padding="zeros"), toy_encoder()).config == SMALL


def test_what_ships_with_the_package_can_be_its_encoder() -> None:
    network = Universal(replace(SMALL, encoder="compact")).eval()
    assert network.encoder.name == "compact"
    assert bind(network, [(picture(seed=3), 1.0)])(picture()).isfinite().all()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"encoder": ""}, "encoder is the name of a backbone, got ''"),
        ({"encoder": 3}, "encoder is the name of a backbone, got 3"),
        ({"parts": 0}, "parts is a whole number from 1 to 8192, got 0"),
        ({"hidden": 1.5}, "hidden is a whole number from 1 to 8192, got 1.5"),
        ({"channels": -8}, "channels is a whole number"),
        ({"blocks": True}, "blocks is a whole number"),
        ({"detail": 10**9}, "detail is a whole number"),
    ],
)
def test_senseless_sizes_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        UniversalConfig(**values)
