"""Files that their authors published, where they are here, painted as plain networks paint by the same numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from impasto.networks.checkpoint import load_model
from impasto.networks.inference import bind

from .any_style_samples import MicroAST
from .foreign_samples import picture
from .test_more_kinds import Titu
from .test_tf_graphs import RealTransformer

pytestmark = pytest.mark.usefixtures("one_thread")


def _real(shared: Path, name: str) -> Path:
    path = shared / "foreign" / name
    if not path.exists():
        pytest.skip("the real file is not here")
    return path


def assert_within_a_step(found: Tensor, wanted: Tensor) -> None:
    """1 of 255; and not of one colour."""
    assert wanted.std() > 0.05
    torch.testing.assert_close(found, wanted, rtol=0, atol=1 / 255)


def test_microast(shared: Path) -> None:
    folder = _real(shared, "microast")

    def state(role: str) -> dict[str, Tensor]:
        return torch.load(folder / f"{role}.pth.tar", map_location="cpu", weights_only=True)

    plain = MicroAST(slim=1)
    plain.encoders = {role: state(role) for role in ("content_encoder", "style_encoder")}
    plain.modulator, plain.decoder = state("modulator"), state("decoder")
    network, _ = load_model(folder)
    style = picture(90, 70, seed=9)
    for size in ((96, 128), (99, 83)):
        photo = picture(*size)
        with torch.inference_mode():
            assert_within_a_step(bind(network, [(style, 1.0)])(photo), plain(photo, style))


def test_fastnet_of_keras(shared: Path) -> None:
    h5py = pytest.importorskip("h5py")
    pytest.importorskip("pyfive")
    path = _real(shared, "keras1/fastnet_starry_night.h5")
    with h5py.File(path) as file:
        group = file.get("model_weights", file)
        names = [name.decode() for name in group.attrs["layer_names"]]
        held = {
            name: [torch.from_numpy(np.array(group[name][key])) for key in group[name].attrs.get("weight_names", ())]
            for name in names
        }
    plain = Titu.__new__(Titu)
    plain.tensors = held
    plain.later = any(name.startswith("reflectionpadding") for name in names)
    plain.blocks = len({name.split("_")[2] for name in names if name.startswith("res_conv")})
    network, description = load_model(path)
    assert description["came_from"]["kind"] == "titu1994"
    for size in ((96, 128), (98, 82)):
        photo = picture(*size)
        wanted = plain(photo).detach()
        with torch.inference_mode():
            assert_within_a_step(network(photo), wanted)


def test_one_network_in_two_formats(shared: Path, tmp_path: Path) -> None:
    """Magenta's separable transformer as ONNX in onnxruntime, by the numbers that we take of a style."""
    ort = pytest.importorskip("onnxruntime")
    graph, real = _real(shared, "pdn/transformer_separable.onnx"), _real(shared, "magenta-tfjs")
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    numbers, image = sorted(session.get_inputs(), key=lambda row: row.shape[-1] == 3)
    plain = RealTransformer(real)
    photo, told = picture(96, 128), plain.told(picture(58, 75, seed=9))
    given = {image.name: photo.permute(0, 2, 3, 1).numpy(), numbers.name: told.reshape(1, 1, 1, 100).numpy()}
    painted = torch.from_numpy(session.run(None, given)[0]).permute(0, 3, 1, 2)
    assert_within_a_step(painted, plain.paint(photo, told))
