"""Every kind of file: opened, painted as its own program would, refused in one sentence."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.errors import OptionError, WeightsError
from impasto.networks.chain import Chain
from impasto.networks.checkpoint import load_model, save_model
from impasto.networks.foreign.kinds import KINDS
from impasto.networks.foreign.source import Options
from impasto.networks.johnson import Johnson, JohnsonConfig

from .foreign_samples import (
    SIZES,
    Johnson7,
    Lengstrom,
    instance,
    picture,
    random_weights,
    write_checkpoint,
    write_first_version,
)


def assert_paints_like(network: torch.nn.Module, plain, sizes=SIZES) -> None:
    for size in sizes:
        image = picture(*size)
        with torch.inference_mode():
            painted, wanted = network(image), plain(image)
        assert painted.shape == image.shape
        assert wanted.std() > 0.02  # it shows something
        torch.testing.assert_close(painted, wanted, rtol=0, atol=1e-4)


# -- pytorch/examples -------------------------------------------------------------------------------------------------


def examples_state() -> dict[str, Tensor]:
    torch.manual_seed(2)
    network = Johnson(JohnsonConfig("linear", width=4, blocks=5))
    return {key: value.detach() + 0.05 for key, value in network.state_dict().items()}


def plain_examples(state: dict[str, Tensor], image: Tensor) -> Tensor:
    def conv(x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight = state[f"{name}.conv2d.weight"]
        x = F.pad(x, (weight.shape[2] // 2,) * 4, mode="reflect")
        return F.conv2d(x, weight, state[f"{name}.conv2d.bias"], stride)

    def norm(x: Tensor, name: str) -> Tensor:
        return instance(x, state[f"{name}.weight"], state[f"{name}.bias"])

    x = image * 255
    for number, stride in ((1, 1), (2, 2), (3, 2)):
        x = norm(conv(x, f"conv{number}", stride), f"in{number}").relu()
    for number in range(1, 6):
        y = norm(conv(x, f"res{number}.conv1"), f"res{number}.in1").relu()
        x = x + norm(conv(y, f"res{number}.conv2"), f"res{number}.in2")
    for number in (1, 2):
        x = norm(conv(F.interpolate(x, scale_factor=2), f"deconv{number}"), f"in{number + 3}").relu()
    return (conv(x, "deconv3") / 255).clamp(0, 1)


def _running(state: dict[str, Tensor]) -> dict[str, Tensor]:
    names = [key.removesuffix(".weight") for key, value in state.items() if key.endswith(".weight") and value.ndim == 1]
    extra = {f"{name}.running_{kind}": torch.ones(3) for name in names for kind in ("mean", "var")}
    return state | extra | {"in1.num_batches_tracked": torch.tensor(7)}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {f"module.{key}": value for key, value in state.items()},
        lambda state: {"state_dict": state, "epoch": 3, "optimizer": {"lr": 0.1}},
        lambda state: {"model_state_dict": OrderedDict((f"module.{k}", v) for k, v in state.items()), "args": [1]},
        _running,
        lambda state: {
            key.replace("in1.weight", "in1.scale").replace("in1.bias", "in1.shift"): v for key, v in state.items()
        },
    ],
    ids=["plain", "module", "state_dict", "both", "running", "scale"],
)
def test_pytorch_examples_in_all_its_wrappings(wrap, tmp_path) -> None:
    state = examples_state()
    torch.save(wrap(state), tmp_path / "candy.model")
    network, description = load_model(tmp_path / "candy.model")
    assert isinstance(network, Johnson)
    assert description["came_from"]["kind"] == "pytorch-examples"
    assert description["styles"] == [{"name": "candy"}]
    assert_paints_like(network, lambda image: plain_examples(state, image), [(64, 64), (60, 84)])


def test_values_up_to_255_are_not_computed_in_bfloat16_unasked(tmp_path) -> None:
    from impasto.networks.inference import choose_for

    torch.manual_seed(0)
    network = Johnson(JohnsonConfig("linear", width=4, blocks=1)).eval()
    with torch.no_grad():
        network.deconv3.conv2d.weight.mul_(300)
        network.deconv3.conv2d.bias.fill_(128)
    assert choose_for(network, "cpu").dtype == torch.float32
    assert choose_for(network, "cpu", "bfloat16").dtype == torch.bfloat16


# -- rrmina -----------------------------------------------------------------------------------------------------------


def rrmina_state() -> dict[str, Tensor]:
    make, state = random_weights(5), {}

    def conv(name: str, into: int, out: int, kernel: int, norm: bool = True) -> None:
        state[f"{name}.conv_layer.weight"], state[f"{name}.conv_layer.bias"] = (
            make(out, into, kernel, kernel),
            make(out),
        )
        if norm:
            state[f"{name}.norm_layer.weight"], state[f"{name}.norm_layer.bias"] = make(out), make(out)

    conv("ConvBlock.0", 3, 4, 9)
    conv("ConvBlock.2", 4, 8, 3)
    conv("ConvBlock.4", 8, 16, 3)
    for block in range(3):
        for number in (1, 2):
            conv(f"ResidualBlock.{block}.conv{number}", 16, 16, 3)
    for number, into, out in ((0, 16, 8), (2, 8, 4)):
        name = f"DeconvBlock.{number}"
        state[f"{name}.conv_transpose.weight"], state[f"{name}.conv_transpose.bias"] = make(into, out, 3, 3), make(out)
        state[f"{name}.norm_layer.weight"], state[f"{name}.norm_layer.bias"] = make(out), make(out)
    conv("DeconvBlock.4", 4, 3, 9, norm=False)
    return state


def plain_rrmina(state: dict[str, Tensor], image: Tensor) -> Tensor:
    def norm(x: Tensor, name: str) -> Tensor:
        key = f"{name}.norm_layer"
        return instance(x, state[f"{key}.weight"], state[f"{key}.bias"]) if f"{key}.weight" in state else x

    def conv(x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight = state[f"{name}.conv_layer.weight"]
        x = F.pad(x, (weight.shape[2] // 2,) * 4, mode="reflect")
        return norm(F.conv2d(x, weight, state[f"{name}.conv_layer.bias"], stride), name)

    x = image.flip(1) * 255
    for number, stride in ((0, 1), (2, 2), (4, 2)):
        x = conv(x, f"ConvBlock.{number}", stride).relu()
    for block in range(3):
        x = x + conv(conv(x, f"ResidualBlock.{block}.conv1").relu(), f"ResidualBlock.{block}.conv2")
    for number in (0, 2):
        key = f"DeconvBlock.{number}.conv_transpose"
        x = F.conv_transpose2d(x, state[f"{key}.weight"], state[f"{key}.bias"], 2, 1, output_padding=1)
        x = norm(x, f"DeconvBlock.{number}").relu()
    x = conv(x, "DeconvBlock.4").tanh() * 150
    return (x.flip(1) / 255).clamp(0, 1)[..., : image.shape[2], : image.shape[3]]


def test_rrmina(tmp_path) -> None:
    state = rrmina_state()
    torch.save(state, tmp_path / "bayanihan.pth")
    network, description = load_model(tmp_path / "bayanihan.pth")
    assert description["came_from"]["kind"] == "rrmina"
    assert_paints_like(network, lambda image: plain_rrmina(state, image))


# -- jcjohnson --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["binary", "ascii"])
@pytest.mark.parametrize(
    "how",
    [{}, {"start": False}, {"batch_norm": True}, {"double": True}],
    ids=["start", "zeros", "batch norm", "double"],
)
def test_jcjohnson(form, how, tmp_path) -> None:
    plain, path = Johnson7(**how), tmp_path / "candy.t7"
    plain.write(path, as_text=form == "ascii", preprocessing="vgg", arch="c9s1-4,d6,d8")
    network, description = load_model(path)
    assert description["came_from"]["kind"] == "jcjohnson"
    assert description["came_from"]["takes"].startswith("BGR")
    assert_paints_like(network, plain)


def test_jcjohnson_where_the_file_names_no_preprocessing(tmp_path) -> None:
    plain = Johnson7()
    plain.write(tmp_path / "candy.t7")
    assert_paints_like(load_model(tmp_path / "candy.t7")[0], plain)


def test_jcjohnson_as_resnet_wants_it(tmp_path) -> None:
    plain = Johnson7(start=False)
    plain.write(tmp_path / "candy.t7", preprocessing="resnet")
    network, _ = load_model(tmp_path / "candy.t7")
    mean, deviation = (torch.tensor(row).view(1, 3, 1, 1) for row in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))

    def run(image: Tensor) -> Tensor:
        x = (image - mean) / deviation
        for layer in plain.plain:
            x = layer(x)
        return (x * deviation + mean).clamp(0, 1)[..., : image.shape[2], : image.shape[3]]

    image = picture(40, 48)
    torch.testing.assert_close(network(image), run(image), rtol=0, atol=1e-3)  # 150 deviations, mostly clamped


# -- lengstrom --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("named", ["folder", "manifest"])
def test_lengstrom_as_raw_numbers(named, tmp_path) -> None:
    plain = Lengstrom()
    plain.write(tmp_path / "wave")
    network, description = load_model(tmp_path / "wave" if named == "folder" else tmp_path / "wave" / "manifest.json")
    assert description["came_from"]["kind"] == "lengstrom-raw"
    assert description["styles"] == [{"name": "wave"}]
    assert_paints_like(network, plain)


@pytest.mark.parametrize("named", ["wave.ckpt", "wave.ckpt.index", "wave.ckpt.data-00000-of-00001"])
def test_lengstrom_as_a_checkpoint(named, tmp_path) -> None:
    plain = Lengstrom(blocks=5)
    extra = {"Variable/Adam": torch.ones(3), "beta1_power": torch.tensor(0.9), "Variable_1/Adam_1": torch.ones(2)}
    write_checkpoint(tmp_path / "wave.ckpt", plain.names() | extra)
    network, description = load_model(tmp_path / named)
    assert description["came_from"]["kind"] == "lengstrom"
    assert description["styles"] == [{"name": "wave"}]
    assert_paints_like(network, plain)


def test_lengstrom_as_a_checkpoint_of_one_file(tmp_path) -> None:
    plain = Lengstrom()
    write_first_version(tmp_path / "la_muse.ckpt", plain.names() | {"Variable/Adam": torch.ones(3)})
    network, description = load_model(tmp_path / "la_muse.ckpt")
    assert description["came_from"]["kind"] == "lengstrom"
    assert_paints_like(network, plain)


# -- Magenta ----------------------------------------------------------------------------------------------------------


def magenta_variables(styles: int = 3) -> dict[str, Tensor]:
    make, out = random_weights(11), {}

    def conv(name: str, into: int, channels: int, kernel: int) -> None:
        out[f"transformer/{name}/weights"] = make(channels, into, kernel, kernel).permute(2, 3, 1, 0).contiguous()
        for part in ("gamma", "beta"):
            out[f"transformer/{name}/InstanceNorm/{part}"] = torch.stack([make(channels) for _ in range(styles)])

    for number, (into, channels, kernel) in enumerate(((3, 4, 9), (4, 8, 3), (8, 16, 3)), 1):
        conv(f"contract/conv{number}", into, channels, kernel)
    for block in range(1, 6):
        for number in (1, 2):
            conv(f"residual/residual{block}/conv{number}", 16, 16, 3)
    for number, (into, channels, kernel) in enumerate(((16, 8, 3), (8, 4, 3), (4, 3, 9)), 1):
        conv(f"expand/conv{number}/conv", into, channels, kernel)
    return out


def plain_magenta(variables: dict[str, Tensor], image: Tensor, style: int) -> Tensor:
    def conv(x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight = variables[f"transformer/{name}/weights"].permute(3, 2, 0, 1)
        x = F.conv2d(F.pad(x, (weight.shape[2] // 2,) * 4, mode="reflect"), weight, stride=stride)
        gamma, beta = (variables[f"transformer/{name}/InstanceNorm/{part}"][style] for part in ("gamma", "beta"))
        return instance(x, gamma, beta)

    x = image
    for number, stride in ((1, 1), (2, 2), (3, 2)):
        x = conv(x, f"contract/conv{number}", stride).relu()
    for block in range(1, 6):
        x = x + conv(conv(x, f"residual/residual{block}/conv1").relu(), f"residual/residual{block}/conv2")
    for number in (1, 2):
        x = conv(F.interpolate(x, scale_factor=2), f"expand/conv{number}/conv").relu()
    return conv(x, "expand/conv3/conv").sigmoid()


@pytest.mark.parametrize("version", [1, 2])
def test_magenta(version, tmp_path) -> None:
    variables, path = magenta_variables(), tmp_path / "monet.ckpt"
    extra = {"global_step": torch.tensor(3.0), "transformer/contract/conv1/weights/Adam": torch.ones(2)}
    (write_first_version if version == 1 else write_checkpoint)(path, variables | extra)
    network, description = load_model(path)
    assert description["came_from"]["kind"] == "magenta"
    assert network.styles == ("style-00", "style-01", "style-02")
    for style in range(3):
        mix = network.mix(f"style-{style:02}")
        run = lambda image, mix=mix: network(image, mix)  # noqa: E731
        assert_paints_like(run, lambda image, style=style: plain_magenta(variables, image, style), [(64, 64), (60, 84)])


def test_names_for_magenta_s_styles(tmp_path) -> None:
    write_first_version(tmp_path / "monet.ckpt", magenta_variables())
    network, description = load_model(tmp_path / "monet.ckpt", options=Options(("a", "b", "c")))
    assert network.styles == ("a", "b", "c")
    assert description["styles"] == [{"name": "a"}, {"name": "b"}, {"name": "c"}]
    with pytest.raises(OptionError, match=r"2 names, and the file 3"):
        load_model(tmp_path / "monet.ckpt", options=Options(("a", "b")))


# -- what all of them share -------------------------------------------------------------------------------------------


@pytest.fixture(params=["rrmina", "jcjohnson", "jcjohnson zeros", "lengstrom-raw"])
def chain(request, tmp_path) -> Chain:
    path = tmp_path / "file"
    if request.param == "rrmina":
        torch.save(rrmina_state(), path)
    elif request.param == "lengstrom-raw":
        Lengstrom().write(path)
    else:
        Johnson7(start="zeros" not in request.param).write(path)
    return load_model(path)[0]


def test_import_and_load_again(chain, tmp_path) -> None:
    save_model(tmp_path / "mine.safetensors", chain, styles=[{"name": "mine"}], recipe={}, licence="unknown")
    again, description = load_model(tmp_path / "mine.safetensors")
    assert again.config == chain.config
    assert description["method"] == "chain"
    image = picture(61, 83)
    with torch.inference_mode():
        assert torch.equal(again(image), chain(image))


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (33, 40)])
def test_small_pictures(chain, size) -> None:
    with torch.inference_mode():
        out = chain(picture(*size))
    assert out.shape == (1, 3, *size)
    assert out.isfinite().all()


def test_one_colour(chain) -> None:
    with torch.inference_mode():
        out = chain(torch.full((1, 3, 64, 70), 0.3))
    assert out.isfinite().all()


def test_a_kind_by_name(tmp_path) -> None:
    torch.save(rrmina_state(), tmp_path / "a.pth")
    assert isinstance(load_model(tmp_path / "a.pth", kind="rrmina")[0], Chain)
    with pytest.raises(OptionError, match="pytorch-examples, rrmina"):
        load_model(tmp_path / "a.pth", kind="rmina")
    with pytest.raises(WeightsError, match=r"a\.pth: was to be read as .*, by `kind` pytorch-examples, but"):
        load_model(tmp_path / "a.pth", kind="pytorch-examples")


def test_a_file_of_several_kinds(tmp_path) -> None:
    """What it may be is said; which it is, is said by `kind`."""
    ours, state = tmp_path / "mine.safetensors", rrmina_state()
    torch.save(state | examples_state(), tmp_path / "both.pth")
    with pytest.raises(
        WeightsError, match=r"both\.pth: may be of several kinds: .*: pytorch-examples, rrmina"
    ) as caught:
        load_model(tmp_path / "both.pth")
    assert "`kind`" in str(caught.value)
    network, description = load_model(tmp_path / "both.pth", kind="rrmina")
    assert description["came_from"]["kind"] == "rrmina"
    assert_paints_like(network, lambda image: plain_rrmina(state, image))
    from typer.testing import CliRunner

    from impasto.cli.app import app

    told = CliRunner().invoke(app, ["import", str(tmp_path / "both.pth"), "-o", str(ours)])
    assert told.exit_code == 2
    assert "--kind" in told.output
    told = CliRunner().invoke(app, ["import", str(tmp_path / "both.pth"), "-o", str(ours), "--kind", "rrmina"])
    assert told.exit_code == 0
    assert ours.is_file()


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"\x00" * 100, b"PK\x03\x04rubbish", b"\x89HDF\r\n\x1a\n" + b"x" * 50]
)
def test_files_of_no_kind(content, tmp_path) -> None:
    path = tmp_path / "thing"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="thing") as caught:
        load_model(path)
    assert "\n" not in str(caught.value)


def test_another_state_dict_is_told_what_it_has(tmp_path) -> None:
    torch.save({"encoder.weight": torch.ones(2)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"1 tensors \(encoder\.weight"):
        load_model(tmp_path / "other.pth")


def test_names_of_kinds_differ() -> None:
    assert len({kind.name for kind in KINDS}) == len(KINDS)


def test_a_module_that_is_unknown_is_named(tmp_path) -> None:
    plain = Johnson7()
    plain.modules.fields["modules"].insert(0, type(plain.modules)("nn.LSTM", size=3))
    plain.write(tmp_path / "odd.t7")
    with pytest.raises(WeightsError, match=r"odd\.t7: looks like .*nn\.LSTM"):
        load_model(tmp_path / "odd.t7")


def test_the_real_wave(shared: Path) -> None:
    folder = shared / "foreign" / "lengstrom-raw" / "wave"
    if not folder.is_dir():
        pytest.skip("the real file is not here")
    network, _ = load_model(folder)
    plain = Lengstrom.__new__(Lengstrom)
    plain.blocks = 5
    plain.variables = _real_variables(folder)
    assert_paints_like(network, plain, [(96, 128), (99, 131)])


def _real_variables(folder: Path) -> list[Tensor]:
    import json

    import numpy as np

    rows = json.loads((folder / "manifest.json").read_text())
    names = [f"Variable_{i}" if i else "Variable" for i in range(48)]
    return [torch.from_numpy(np.fromfile(folder / name, "<f4").reshape(rows[name]["shape"])) for name in names]
