"""Every network's graphs in onnxruntime, against the network itself: sizes, styles, strength, and pictures of any kind.

Differences are in steps of 255. The runtime's sums are in another order than torch's, which normalising turns into more
where there is little to normalise: pictures of a few pixels, and nearly flat ones.
"""

from __future__ import annotations

import copy

import numpy as np
import onnx
import onnx.reference
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from impasto.export.staged import in_phases
from impasto.networks.inference import bind
from impasto.networks.pixel_shuffle import depth_to_space
from impasto.networks.registry import NETWORKS, as_encoded, kind_of

from .export_samples import CONFIGS, NAMED, Exported, blend_for, exported, network, seen, session, texture

pytestmark = pytest.mark.usefixtures("one_thread")

CLOSE = 0.003
FEW_PIXELS = 0.05  # where a side is under 16 px: of four positions at the network's depth, two may be the same
sides = st.integers(1, 90)
weights = st.lists(st.floats(0.05, 1), min_size=1, max_size=3)


@pytest.fixture(params=CONFIGS, scope="module")
def one(request) -> Exported:
    return exported(request.param)


def test_all_kinds_are_here() -> None:
    ours = {kind.method for kind in NETWORKS} - {"chain", "operators"}  # those of others: tests/foreign
    assert {kind_of(network(name)).method for name in CONFIGS} == ours


@settings(max_examples=25, deadline=None)
@given(sides, sides, weights, st.sampled_from([0.0, 0.3, 1.0]), st.sampled_from([0.0, 0.6, 1.0]), st.integers(0, 99))
def test_a_painting_is_the_network_s(one: Exported, h, w, weights, strength, alpha, seed) -> None:
    photo, blend = texture((h, w), seed), blend_for(one, weights, seed)
    limit = CLOSE if min(h, w) >= 16 else FEW_PIXELS
    assert one.apart(photo, blend, strength=strength, alpha=alpha) <= limit


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1), (5, 33), (2, 64), (8, 8), (16, 16), (97, 130), (33, 257)])
def test_sizes_that_are_padded_and_those_that_are_not(one: Exported, size) -> None:
    photo = texture(size, 3)
    painted = one.painted(photo, blend_for(one, [1, 2]))
    assert painted.shape == photo.shape
    assert painted.dtype == np.float32
    assert one.apart(photo, blend_for(one, [1, 2])) <= (CLOSE if min(size) >= 16 else FEW_PIXELS)


@pytest.mark.parametrize("after", [1, 2])
def test_a_convolution_between_shuffles_may_come_before_both(after: int) -> None:
    torch.manual_seed(0)
    conv = torch.nn.Conv2d(7, 3 * after**2, 3)
    x = torch.randn(1, 28, 5, 6)
    late = F.pad(depth_to_space(x, 2), (1, 1, 1, 1), mode="reflect")
    wanted = conv(late) if after == 1 else depth_to_space(conv(late), after)
    kernel, bias = in_phases(conv.weight.detach().numpy(), conv.bias.detach().numpy(), 2, after)
    early = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), torch.from_numpy(kernel), torch.from_numpy(bias))
    torch.testing.assert_close(depth_to_space(early, 2 * after), wanted)
    assert in_phases(conv.weight.detach().numpy(), None, 2, after)[1] is None


def test_what_is_compared_is_no_photo(one: Exported) -> None:
    photo, blend = texture((40, 60)), blend_for(one, [1])
    assert np.abs(one.painted(photo, blend) - photo).mean() > 0.05
    np.testing.assert_allclose(one.painted(photo, blend, strength=0), photo, atol=2e-6)


def flat(h: int, w: int, colour: float) -> np.ndarray:
    return np.full((1, 3, h, w), colour, np.float32)


NEARLY_FLAT = {
    "white": flat(40, 51, 1.0),
    "black": flat(64, 64, 0.0),
    "grey": flat(33, 70, 127 / 255),
    "two tones": np.concatenate([flat(40, 30, 127 / 255), flat(40, 33, 128 / 255)], 3),
    "noise of a step": (127 + np.random.default_rng(0).integers(0, 2, (1, 3, 50, 61))).astype(np.float32) / 255,
    "faint slope": 0.5
    + np.linspace(0, 0.02, 70, dtype=np.float32).reshape(1, 1, 1, 70) * np.ones((1, 3, 45, 1), np.float32),
}


@pytest.mark.parametrize("kind", NEARLY_FLAT)
def test_flat_and_nearly_flat_pictures(one: Exported, kind) -> None:
    assert one.apart(NEARLY_FLAT[kind], blend_for(one, [1, 1])) <= 0.3


@pytest.mark.parametrize("name", [name for name in NAMED if name != "brisk"])
@pytest.mark.parametrize("kind", NEARLY_FLAT)
def test_of_nearly_flat_pictures_the_truth_is_found(name, kind) -> None:
    """That is the network in float64, which the graph is nearer to than torch's float32 is."""
    one, photo = exported(name), NEARLY_FLAT[kind]
    blend = blend_for(one, [1, 1])
    precise = copy.deepcopy(one.network).double()
    wanted = bind(precise, blend if precise.styles else [])(torch.from_numpy(photo).double()).numpy()
    assert np.abs(one.painted(photo, blend) - wanted).max() * 255 <= 0.02


@pytest.mark.parametrize("name", ["adain", "universal"])
def test_what_is_transparent_in_a_style_picture_does_not_count(name) -> None:
    one, photo = exported(name), texture((32, 40))
    picture = seen(texture((40, 48), 7))
    picture[:, 3, :, :24] = 0
    assert one.apart(photo, [(picture, 1)]) <= CLOSE
    opaque = picture.copy()
    opaque[:, 3] = 1
    assert np.abs(one.painted(photo, [(picture, 1)]) - one.painted(photo, [(opaque, 1)])).max() > 0.01


@pytest.mark.parametrize("name", ["universal", "adain"])
def test_style_pictures_of_two_colours_or_one(name) -> None:
    """Half black, half white is where the root of a covariance is hardest to find, flat where there is none."""
    one, photo = exported(name), texture((32, 40))
    halves = seen(np.concatenate([flat(30, 20, 0), flat(30, 20, 1)], 3))
    for style in (halves, seen(flat(30, 40, 1.0)), seen(flat(20, 20, 0.3)), seen(flat(1, 1, 0.6))):
        assert one.apart(photo, [(style, 1)]) <= 0.02


def test_an_opaque_picture_may_come_without_a_fourth_channel() -> None:
    """In torch; in the graph, all ones are the same."""
    for name in ("adain", "universal"):
        one, picture = exported(name), texture((40, 48), 7)
        found = one.style([(seen(picture), 1)])["parameters"]
        encoded = as_encoded(one.network).encode_style(torch.from_numpy(picture))
        values = encoded.values() if isinstance(encoded, dict) else encoded
        wanted = torch.cat([value.detach().flatten() for value in values])[None].numpy()
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["multistyle", "brisk", "brisk without a palette"])
def test_all_styles_differ_and_blend(name) -> None:
    one, photo = exported(name), texture((32, 40))
    names = one.network.styles
    alone = [one.painted(photo, [(name, 1)]) for name in names]
    assert all(np.abs(alone[0] - other).max() > 0.01 for other in alone[1:])
    assert one.apart(photo, [(name, 1) for name in names]) <= CLOSE


def test_without_the_runtime_s_optimisations(one: Exported) -> None:
    """Which fuse and reorder: what is written has to be right by itself."""
    sessions = [session(content, optimised=False) for content in one.files]
    plain = Exported(one.network, one.files, *sessions)
    assert plain.apart(texture((37, 50)), blend_for(one, [1]), strength=0.5, alpha=0.5) <= CLOSE


@pytest.mark.parametrize("name", ["brisk", "johnson tanh"])
def test_by_the_letter_of_the_standard(name) -> None:
    """Onnx's own evaluator, in numpy."""
    one, photo = exported(name), texture((13, 18))
    blend = blend_for(one, [1, 3])
    judge = onnx.reference.ReferenceEvaluator(onnx.load_from_string(one.files[0]))
    inputs = {"image": photo, "strength": np.array(0.7, np.float32), **one.style(blend)}
    assert np.abs(judge.run(None, inputs)[0] - one.wanted(photo, blend, strength=0.7)).max() * 255 <= FEW_PIXELS


def test_a_large_picture_of_a_network_that_normalises_at_full_size() -> None:
    """Three megapixels, of which most are sky: sums in one float32 would be wrong by then."""
    one, photo = exported("johnson sigmoid"), texture((1537, 2050))
    photo[:, :, :1100] = 0.9 + 0.02 * photo[:, :, :1100]
    assert one.apart(photo, []) <= 0.02
