"""Networks on disk: what comes back, what is refused, and with what words."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from impasto.core.metadata import read_metadata, save
from impasto.core.vgg import VGG
from impasto.errors import OptionError, WeightsError
from impasto.networks.adain import AdaINConfig
from impasto.networks.brisk import Brisk, BriskConfig
from impasto.networks.checkpoint import load_model, save_model
from impasto.networks.johnson import Johnson, JohnsonConfig
from impasto.networks.multistyle import MultiStyleConfig
from impasto.networks.registry import Network, build
from impasto.networks.universal import UniversalConfig

RECIPE = {"steps": 12, "photos": ["a", "b"], "style_balance": 30.0}
RECORDS = [{"name": "wave", "title": "The Great Wave", "artist": "Hokusai", "year": 1831}, {"name": "night"}]
CONFIGS = {
    "johnson": JohnsonConfig("tanh", width=4, blocks=2),
    "multistyle": MultiStyleConfig(("wave", "night"), width=4, blocks=1),
    "brisk": BriskConfig(("wave", "night"), channels=16, blocks=2, detail=16, palette=False, margin=12),
    "adain": AdaINConfig("toy", width=1 / 32),
    "universal": UniversalConfig("toy", channels=8, blocks=1, detail=4, parts=8, hidden=8, reach=4, margin=3),
}


@pytest.fixture(scope="module")
def encoder() -> VGG:
    return VGG("vgg16", last="conv4_1", name="toy", padding="replicate").requires_grad_(False)


def toy(config, encoder=None) -> Network:
    torch.manual_seed(3)
    network = build(config, encoder)
    with torch.no_grad():
        for value in network.parameters():
            if value.requires_grad:
                value.add_(0.1 * torch.randn_like(value))
    return network


def records(method: str) -> list[dict]:
    return {"johnson": RECORDS[:1], "adain": [], "universal": []}.get(method, RECORDS)


@pytest.fixture
def brisk_file(tmp_path) -> Path:
    path = tmp_path / "brisk.safetensors"
    save_model(path, toy(CONFIGS["brisk"]), styles=RECORDS, recipe=RECIPE, licence="MIT")
    return path


@pytest.mark.parametrize("method", CONFIGS)
def test_what_was_saved_comes_back(method, encoder, tmp_path) -> None:
    network = toy(CONFIGS[method], encoder)
    path = tmp_path / "model.safetensors"
    save_model(path, network, styles=records(method), recipe=RECIPE, licence="MIT", data="photos of cats")
    again, description = load_model(path, encoder=encoder)
    assert type(again) is type(network)
    assert again.config == network.config
    assert not again.training
    assert all(torch.equal(again.state_dict()[key], value) for key, value in network.state_dict().items())
    assert all(value.device.type == "cpu" and value.dtype == torch.float32 for value in again.parameters())
    assert description["method"] == method
    assert description["kind"] == "model"
    assert description["styles"] == records(method)
    assert description["recipe"] == RECIPE
    assert description["licence"] == "MIT"
    assert description["data"] == "photos of cats"
    assert "[0, 1]" in description["value_range"]
    assert not any(key.startswith("encoder") for key in safetensors.torch.load_file(path))


def test_the_same_network_gives_the_same_bytes(brisk_file, tmp_path) -> None:
    other = tmp_path / "other.safetensors"
    save_model(other, toy(CONFIGS["brisk"]), styles=RECORDS, recipe=RECIPE, licence="MIT")
    assert other.read_bytes() == brisk_file.read_bytes()


def test_a_channels_last_bfloat16_network_can_be_saved(tmp_path) -> None:
    network = toy(CONFIGS["brisk"]).to(torch.bfloat16).to(memory_format=torch.channels_last)
    path = tmp_path / "model.safetensors"
    save_model(path, network, recipe={}, licence="MIT")
    again, description = load_model(path)
    assert description["styles"] == [{"name": "wave"}, {"name": "night"}]
    assert all(torch.equal(again.state_dict()[key], value.float()) for key, value in network.state_dict().items())


def test_half_precision_halves_the_file(brisk_file, tmp_path) -> None:
    path = tmp_path / "half.safetensors"
    save_model(path, toy(CONFIGS["brisk"]), styles=RECORDS, recipe=RECIPE, licence="MIT", dtype=torch.float16)
    assert path.stat().st_size < 0.6 * brisk_file.stat().st_size
    again, _ = load_model(path)
    full, _ = load_model(brisk_file)
    assert all(value.dtype == torch.float32 for value in again.parameters())
    image = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(again(image, again.mix("wave")), full(image, full.mix("wave")), rtol=0, atol=0.02)


def test_a_loaded_network_trains(brisk_file) -> None:
    network, _ = load_model(brisk_file)
    network.add_style("dots")
    network(torch.rand(1, 3, 32, 32), network.mix("dots")).sum().backward()
    assert all(norm.gamma.grad[2].abs().max() > 0 for norm in network.norms)


def test_records_must_be_those_of_the_network(tmp_path) -> None:
    path = tmp_path / "model.safetensors"
    for wrong in (RECORDS[::-1], RECORDS[:1], [{"title": "no name"}, {"name": "night"}]):
        with pytest.raises(OptionError, match="wave, night"):
            save_model(path, toy(CONFIGS["brisk"]), styles=wrong, recipe={}, licence="MIT")
    with pytest.raises(OptionError, match="name"):
        save_model(path, toy(CONFIGS["johnson"]), styles=[{"title": "no name"}], recipe={}, licence="MIT")
    assert not path.exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_none(value, tmp_path) -> None:
    network = toy(CONFIGS["brisk"])
    network.head.conv2d.bias.data[3] = value
    path = tmp_path / "model.safetensors"
    with pytest.raises(WeightsError, match=r"head\.conv2d\.bias"):
        save_model(path, network, recipe={}, licence="MIT")
    assert not path.exists()
    tensors = {key: tensor.contiguous() for key, tensor in network.state_dict().items()}
    with_description = read_metadata(_saved(tmp_path / "good.safetensors"))
    save(path, tensors, with_description)
    with pytest.raises(WeightsError, match=r"head\.conv2d\.bias"):
        load_model(path)


def _saved(path: Path) -> Path:
    save_model(path, toy(CONFIGS["brisk"]), styles=RECORDS, recipe=RECIPE, licence="MIT")
    return path


def examples_state() -> dict[str, torch.Tensor]:
    network = toy(JohnsonConfig("linear", width=4, blocks=5))
    state = dict(network.state_dict())
    running = {
        f"{key.removesuffix('.weight')}.running_{kind}": torch.full_like(value, 7.0)
        for key, value in state.items()
        if key.endswith(".weight") and value.ndim == 1
        for kind in ("mean", "var")
    }
    return state | running


@pytest.mark.parametrize("form", ["zip", "legacy", "safetensors"])
def test_a_pytorch_examples_file_opens(form, tmp_path) -> None:
    path, state = tmp_path / "mosaic.pth", examples_state()
    if form == "safetensors":
        safetensors.torch.save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=form == "zip")
    network, description = load_model(path)
    assert isinstance(network, Johnson)
    assert network.config == JohnsonConfig("linear", width=4, blocks=5)
    assert not network.training
    assert torch.equal(network.res2.in1.weight, state["res2.in1.weight"])
    assert description["styles"] == [{"name": "mosaic"}]
    assert description["licence"] == "unknown"


class _Touch:
    """A pickle that would create a file if it were trusted."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_no_code_is_run(tmp_path) -> None:
    canary, path = tmp_path / "canary", tmp_path / "evil.pth"
    torch.save({"conv1.conv2d.weight": _Touch(canary)}, path)
    with pytest.raises(WeightsError):
        load_model(path)
    path.write_bytes(pickle.dumps(_Touch(canary)))
    with pytest.raises(WeightsError):
        load_model(path)
    assert not canary.exists()


def one_sentence(error: Exception) -> bool:
    return "\n" not in str(error) and len(str(error)) < 1500


def test_damaged_files(brisk_file, tmp_path) -> None:
    whole, path = brisk_file.read_bytes(), tmp_path / "damaged.safetensors"
    contents = [b"", b"x", b"no weights at all", whole[: len(whole) // 2], whole[:40], b"\xff" * 200, whole[8:]]
    for content in contents:
        path.write_bytes(content)
        with pytest.raises(WeightsError) as caught:
            load_model(path)
        assert str(path) in str(caught.value)
        assert one_sentence(caught.value)


def test_torn_pth_files(tmp_path) -> None:
    path = tmp_path / "mosaic.pth"
    torch.save(examples_state(), path)
    whole = path.read_bytes()
    for size in (10, 1000, len(whole) // 2, len(whole) - 30):
        path.write_bytes(whole[:size])
        with pytest.raises(WeightsError) as caught:
            load_model(path)
        assert one_sentence(caught.value)


def test_foreign_files(tmp_path) -> None:
    path = tmp_path / "foreign"
    for content in ({"features.0.weight": torch.zeros(64, 3, 3, 3)}, {}, [1, 2], torch.zeros(3), {"a": 3}):
        torch.save(content, path)
        with pytest.raises(WeightsError) as caught:
            load_model(path)
        assert one_sentence(caught.value)
    with pytest.raises(WeightsError, match="no such file"):
        load_model(tmp_path / "nothing.safetensors")
    with pytest.raises(WeightsError, match="is a folder"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "backbone"},
        {"kind": None},
        {"format": 2},
        {"method": "optimize"},
        {"method": "johnson"},
        {"method": ["brisk"]},
        {"network": None},
        {"network": {"styles": ["wave", "night"]}},
        {"network": {"styles": ["wave", "night"], "channels": 16, "blocks": 3, "detail": 16}},
        {"network": {"styles": ["wave"], "channels": 16, "blocks": 2, "detail": 16}},
        {"network": {"styles": 7}},
        {"network": {"styles": ["wave", "night"], "depth": 3}},
        {"network": {"styles": ["wave", "night"], "channels": 10**12}},
        {"network": {}},
    ],
)
def test_descriptions_that_do_not_fit(brisk_file, change, tmp_path) -> None:
    path = tmp_path / "changed.safetensors"
    save(path, safetensors.torch.load_file(brisk_file), read_metadata(brisk_file) | change)
    with pytest.raises(WeightsError) as caught:
        load_model(path)
    assert str(path) in str(caught.value)
    assert one_sentence(caught.value)


def test_a_missing_tensor(brisk_file, tmp_path) -> None:
    tensors = safetensors.torch.load_file(brisk_file)
    del tensors["up.conv2d.weight"]
    path = tmp_path / "short.safetensors"
    save(path, tensors, read_metadata(brisk_file))
    with pytest.raises(WeightsError, match=r"up\.conv2d\.weight"):
        load_model(path)


def test_adain_without_its_encoder_says_so(encoder, tmp_path) -> None:
    path = tmp_path / "any.safetensors"
    save_model(path, toy(CONFIGS["adain"], encoder), recipe={}, licence="MIT")
    with pytest.raises(WeightsError, match="toy"):
        load_model(path)


def test_the_description_is_plain_json(brisk_file) -> None:
    with safetensors.safe_open(brisk_file, "pt") as file:
        entries = file.metadata()
    assert list(entries) == ["impasto"]
    assert json.loads(entries["impasto"])["network"]["styles"] == ["wave", "night"]


def test_loading_draws_no_random_numbers(brisk_file) -> None:
    before = torch.get_rng_state()
    network, _ = load_model(brisk_file)
    assert torch.equal(torch.get_rng_state(), before)
    assert isinstance(network, Brisk)
    assert all(isinstance(value, nn.Parameter) for value in network.parameters())
