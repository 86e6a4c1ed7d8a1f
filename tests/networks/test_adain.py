"""AdaIN with a toy encoder of random weights: moments, weights, masks, and what is saved."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from impasto.core import statistics
from impasto.core.vgg import VGG
from impasto.errors import LayerError, OptionError, WeightsError
from impasto.networks.adain import DECODER, AdaIN, AdaINConfig
from impasto.networks.encoded import FeatureMoments
from impasto.networks.restyling import region_moments


def toy_encoder(last: str = "conv4_1") -> VGG:
    torch.manual_seed(0)
    vgg = VGG("vgg16", last=last, name="toy")
    for value in vgg.parameters():
        if value.ndim == 4:
            nn.init.kaiming_normal_(value)
    return vgg


@pytest.fixture(scope="module")
def network() -> AdaIN:
    torch.manual_seed(1)
    return AdaIN(AdaINConfig(width=1 / 8), toy_encoder()).eval()


def picture(h: int, w: int, seed: int, b: int = 1) -> Tensor:
    coarse = torch.rand(b, 3, h // 8, w // 8, generator=torch.Generator().manual_seed(seed))
    return nn.functional.interpolate(coarse, (h, w), mode="bilinear")


@pytest.fixture(scope="module")
def features() -> Tensor:
    return torch.randn(2, 12, 10, 14, generator=torch.Generator().manual_seed(2)) * 2 + 1


@pytest.fixture(scope="module")
def styles() -> list[FeatureMoments]:
    draw = torch.Generator().manual_seed(3)
    return [
        FeatureMoments(torch.randn(1, 12, 1, 1, generator=draw), torch.rand(1, 12, 1, 1, generator=draw))
        for _ in range(3)
    ]


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_it_is_adain_between_encoder_and_decoder(network) -> None:
    photo, style = picture(48, 64, 1), picture(40, 56, 2)
    target = statistics.adain(network.encoder(photo, ["relu4_1"])["relu4_1"], network.encode(style))
    with torch.no_grad():
        close(network(photo, [style]), network.decode(target))
        close(network(photo, [network.encode_style(style)]), network.decode(target))


def test_alpha_goes_from_the_photo_to_the_style(network) -> None:
    x, style = network.encode(picture(48, 48, 1)), network.encode_style(picture(48, 48, 2))
    full = network.restyle(x, [style])
    assert torch.equal(network.restyle(x, [style], alpha=0), x)
    close(network.restyle(x, [style], alpha=0.25), 0.75 * x + 0.25 * full)


def test_weights_average_what_single_styles_give(network, features, styles) -> None:
    parts = [network.restyle(features, [style]) for style in styles]
    close(network.restyle(features, styles), sum(parts) / 3)
    close(network.restyle(features, styles, weights=[6, 0, 2]), 0.75 * parts[0] + 0.25 * parts[2])


def test_a_batch_of_styles_goes_with_a_batch_of_photos(network, features) -> None:
    draw = torch.Generator().manual_seed(4)
    batch = FeatureMoments(torch.randn(2, 12, 1, 1, generator=draw), torch.rand(2, 12, 1, 1, generator=draw))
    out = network.restyle(features, [batch])
    for i in range(2):
        one = FeatureMoments(batch.mean[i : i + 1], batch.std[i : i + 1])
        close(out[i : i + 1], network.restyle(features[i : i + 1], [one]))


def test_a_mask_of_ones_is_no_mask(network, features, styles) -> None:
    ones = torch.ones(1, 1, 10, 14)
    close(network.restyle(features, styles[:1], masks=[ones]), network.restyle(features, styles[:1]))
    weighted = network.restyle(features, styles[:2], weights=[1, 3], masks=[ones, ones])
    close(weighted, network.restyle(features, styles[:2], weights=[1, 3]))


def test_each_region_takes_the_moments_of_its_style(network, features, styles) -> None:
    left = torch.zeros(1, 1, 10, 14)
    left[..., :5] = 1
    out = network.restyle(features, styles[:2], weights=[0.1, 0.9], masks=[left, 1 - left])
    for part, style in ((out[..., :5], styles[0]), (out[..., 5:], styles[1])):
        close(part.mean((2, 3), keepdim=True), style.mean.expand(2, -1, 1, 1))
        torch.testing.assert_close(
            part.std((2, 3), correction=0, keepdim=True), style.std.expand(2, -1, 1, 1), rtol=1e-3, atol=1e-3
        )


def test_what_no_mask_covers_stays_the_photo(network, features, styles) -> None:
    masks = [torch.zeros(1, 1, 10, 14) for _ in range(2)]
    masks[0][..., :4, :] = 1
    masks[1][..., 3:6, :] = 1  # a row under both
    out = network.restyle(features, styles[:2], masks=masks)
    assert torch.equal(out[..., 6:, :], features[..., 6:, :])
    first, second = (
        network.restyle(features, [style], masks=[mask]) for style, mask in zip(styles, masks, strict=False)
    )
    close(out[..., 3, :], (first[..., 3, :] + second[..., 3, :]) / 2)
    half = network.restyle(features, styles[:1], masks=[masks[0] / 2])
    close(half[..., :4, :], (features[..., :4, :] + first[..., :4, :]) / 2)


def test_an_empty_mask_changes_nothing(network, features, styles) -> None:
    empty = torch.zeros(1, 1, 10, 14)
    assert torch.equal(network.restyle(features, styles[:1], masks=[empty]), features)
    close(
        network.restyle(features, styles[:2], masks=[empty, 1 - empty]),
        network.restyle(features, styles[1:2]),
    )


def test_moments_of_a_region_are_those_of_its_positions(features) -> None:
    inside = torch.rand(10, 14, generator=torch.Generator().manual_seed(5)) > 0.6
    mean, std = region_moments(features, inside.float()[None, None])
    close(mean[..., 0, 0], features[:, :, inside].mean(-1))
    close(std[..., 0, 0].square(), features[:, :, inside].var(-1, correction=0) + 1e-5)


def test_masks_of_any_size_lie_over_the_photo(network) -> None:
    photo, style = picture(72, 90, 1), picture(48, 48, 2)
    right = torch.zeros(1, 1, 20, 30)
    right[..., 20:] = 1
    plain, masked = (network.decode(network.encode(photo)), network(photo, [style], masks=[right]))
    assert masked.shape == photo.shape
    # The mask's edge, at 60 px, touches the features from 56 px on, and the decoder sees 30 px to each side.
    assert torch.equal(masked[..., :26], plain[..., :72, :26])
    assert (masked[..., 64:] - plain[..., :72, 64:90]).abs().mean() > 0.005


@pytest.mark.parametrize(
    "options",
    [
        {"weights": [1.0]},
        {"weights": [1.0, -1.0]},
        {"weights": [0.0, 0.0]},
        {"weights": [float("nan"), 1.0]},
        {"alpha": 1.5},
        {"alpha": float("nan")},
        {"masks": [torch.ones(1, 1, 32, 32)]},
        {"masks": [torch.ones(32, 32)] * 2},
    ],
)
def test_senseless_options_are_refused(network, options) -> None:
    photo = picture(32, 32, 1)
    with pytest.raises(OptionError):
        network(photo, [photo, photo], **options)


def test_no_style_is_refused(network) -> None:
    with pytest.raises(OptionError):
        network(picture(32, 32, 1), [])


def test_the_encoder_is_not_saved_and_not_trained(network) -> None:
    state = network.state_dict()
    assert state.keys() == {f"decoder.{name}.conv2d.{part}" for name, *_ in DECODER for part in ("weight", "bias")}
    again = AdaIN(network.config, network.encoder)
    again.load_state_dict(state)
    with pytest.raises(RuntimeError, match="Missing"):
        again.load_state_dict({key: value for key, value in state.items() if "conv3_2" not in key})
    assert {name.split(".")[0] for name, value in again.named_parameters() if value.requires_grad} == {"decoder"}
    wrapped = nn.ModuleDict({"network": network})
    assert all(key.startswith("network.decoder.") for key in wrapped.state_dict())
    wrapped.load_state_dict(wrapped.state_dict())


def test_the_encoder_moves_along() -> None:
    network = AdaIN(AdaINConfig(width=1 / 32), toy_encoder()).double()
    assert {value.dtype for value in network.parameters()} == {torch.float64}


def test_the_decoder_mirrors_the_encoder() -> None:
    with torch.device("meta"):
        full, half = (AdaIN(AdaINConfig(width=width), VGG("vgg19", name="toy")) for width in (1.0, 0.5))
    shapes = [tuple(full.decoder[name].conv2d.weight.shape[:2]) for name, *_ in DECODER]
    assert shapes == [
        (256, 512), (256, 256), (256, 256), (256, 256), (128, 256), (128, 128), (64, 128), (64, 64), (3, 64),
    ]  # fmt: skip
    narrow = [half.decoder[name].conv2d.in_channels for name, *_ in DECODER]
    assert narrow == [512, 128, 128, 128, 128, 64, 64, 32, 32]


def test_in_training_values_are_free(network) -> None:
    x = network.encode(picture(32, 32, 1)) * 30
    with torch.no_grad():
        free, shown = network.train().decode(x), network.eval().decode(x)
    assert free.min() < 0 or free.max() > 1
    assert torch.equal(shown, free.clamp(0, 1))
    assert not network.train().encoder.training
    network.eval()


def test_the_config_names_the_encoder_given() -> None:
    network = AdaIN(AdaINConfig("compact", width=1 / 16), toy_encoder())
    assert network.config == AdaINConfig("toy", padding="zeros", width=1 / 16)


def test_encoders_that_do_not_do() -> None:
    with pytest.raises(LayerError, match="relu4_1"):
        AdaIN(AdaINConfig(), toy_encoder("conv3_1"))
    with pytest.raises(WeightsError, match="nowhere"):
        AdaIN(AdaINConfig("nowhere"))
