"""What was somebody else's does all that ours do: bands, export, strength, the command line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage
import torch
from torch import Tensor

from impasto.errors import OptionError
from impasto.export.check import differences
from impasto.export.onnx_file import export_onnx
from impasto.networks.chain import Chain, ChainConfig, StageConfig
from impasto.networks.checkpoint import load_model
from impasto.networks.foreign.importing import import_network
from impasto.networks.foreign.source import Options
from impasto.tiling.bands import BandProgress, paint_staged
from impasto.tiling.cost import plan_staged
from impasto.tiling.journal import Journal
from impasto.tiling.photos import TensorPhoto
from impasto.tiling.plan import TilingOptions

from .foreign_samples import Johnson7, Lengstrom, picture
from .test_kinds import examples_state, rrmina_state
from .test_more_kinds import Titu, reconet_state

pytestmark = pytest.mark.usefixtures("one_thread")
MAKERS = {
    "rrmina": lambda path: torch.save(rrmina_state(), path),
    "jcjohnson": lambda path: Johnson7().write(path),
    "jcjohnson, smoothed": lambda path: Johnson7().write(path),
    "jcjohnson of five blocks": lambda path: Johnson7(blocks=5).write(path),
    "jcjohnson with zeros": lambda path: Johnson7(start=False).write(path),
    "jcjohnson with batch norm": lambda path: Johnson7(batch_norm=True).write(path),
    "lengstrom": lambda path: Lengstrom().write(path),
    "reconet": lambda path: torch.save(reconet_state(), path),
    "titu1994": lambda path: Titu().write(path),
    "titu1994, later": lambda path: Titu(later=True).write(path),
}


@pytest.fixture(params=MAKERS)
def file(request, tmp_path) -> Path:
    MAKERS[request.param](tmp_path / "file")
    return _smoothed(tmp_path) if request.param == "jcjohnson, smoothed" else tmp_path / "file"


def _smoothed(folder: Path) -> Path:
    import_network(folder / "file", folder / "smooth.safetensors", options=Options(median=True))
    return folder / "smooth.safetensors"


def in_bands(network: Chain, image: Tensor, tile: int, budget: int | None = None, statistics: str = "exact") -> Tensor:
    options = TilingOptions(tile=tile, budget=budget, statistics=statistics)
    plan = plan_staged(network, tuple(image.shape[-2:]), torch.float32, options)
    out, rows = torch.full_like(image, -1), []

    def put(top: int, x: Tensor) -> None:
        out[:, :, top : top + x.shape[2]] = x
        rows.append((top, top + x.shape[2]))

    for _ in paint_staged(network, TensorPhoto(image), plan, put):
        pass
    assert rows[0][0] == 0
    assert rows[-1][1] == image.shape[2]
    return out


@pytest.mark.parametrize(("size", "tile"), [((150, 70), 16), ((131, 90), 32), ((203, 61), 48)])
def test_bands_give_what_painting_at_once_gives(file, size, tile) -> None:
    network, _ = load_model(file)
    image = picture(*size)
    with torch.inference_mode():
        wanted = network(image)
    torch.testing.assert_close(in_bands(network, image, tile), wanted, rtol=0, atol=1e-4)


@pytest.mark.parametrize("stops", [[3], [40, 70], [2, 58]])
def test_a_poster_that_was_stopped_goes_on(file, tmp_path, stops) -> None:
    network, _ = load_model(file)
    image = picture(131, 40)
    options = TilingOptions(tile=16, resumable=True)
    plan = plan_staged(network, tuple(image.shape[-2:]), torch.float32, options)
    out, whole = torch.full_like(image, -1), torch.full_like(image, -1)

    def into(out: Tensor, journal: Journal | None) -> Iterator[BandProgress]:
        def put(top: int, x: Tensor) -> None:
            assert (out[:, :, top : top + x.shape[2]] == -1).all()  # what is painted is not painted again
            out[:, :, top : top + x.shape[2]] = x

        return paint_staged(network, TensorPhoto(image), plan, put, journal=journal)

    for _ in into(whole, None):
        pass
    for stop in stops:
        journal = Journal(tmp_path / "run")
        journal.begin(plan)
        records = into(out, journal)
        for _ in zip(range(stop), records, strict=False):
            pass
        records.close()
    journal = Journal(tmp_path / "run")
    journal.begin(plan)
    for _ in into(out, journal):
        pass
    assert torch.equal(out, whole)


def test_a_painting_is_smoothed_by_a_median(tmp_path) -> None:
    Johnson7().write(tmp_path / "file")
    plain, smooth = load_model(tmp_path / "file")[0], load_model(_smoothed(tmp_path))[0]
    image = picture(61, 50)
    with torch.inference_mode():
        wanted, found = plain(image)[0].numpy(), smooth(image)[0].numpy()
    wanted = np.stack([scipy.ndimage.median_filter(rows, 3, mode="nearest") for rows in wanted])
    assert np.array_equal(found, wanted)
    torch.save(examples_state(), tmp_path / "candy.pth")
    with pytest.raises(OptionError, match="become chains"):
        load_model(tmp_path / "candy.pth", options=Options(median=True))


def test_bands_of_one_colour(file) -> None:
    network, _ = load_model(file)
    image = torch.full((1, 3, 120, 60), 0.4)
    with torch.inference_mode():
        wanted = network(image)
    assert (in_bands(network, image, 16) - wanted).abs().mean() < 0.02


def test_export(file, tmp_path) -> None:
    pytest.importorskip("onnx")
    from impasto.networks.checkpoint import save_model

    network, description = load_model(file)
    mine = tmp_path / "mine.safetensors"
    save_model(mine, network, styles=description["styles"], recipe={}, licence="unknown")
    files = export_onnx(mine, tmp_path / "mine.onnx")
    for row in differences(mine, files, sizes=[(64, 64), (61, 83), (130, 47), (20, 20)]):
        assert row.largest < 0.5, row  # of 255


def test_stylize_straight_from_the_file(file) -> None:
    import impasto

    photo = (picture(61, 83)[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    painted = impasto.stylize(photo, model=file)
    with torch.inference_mode():
        wanted = load_model(file)[0](torch.from_numpy(photo / 255).float().permute(2, 0, 1)[None])
    difference = np.asarray(painted, np.float32) - (wanted[0].permute(1, 2, 0).numpy() * 255)
    assert np.abs(difference).max() < 1.01


@pytest.mark.parametrize("kernel", [2, 3, 4, 5])
@pytest.mark.parametrize("factor", [2, 3, 4])
def test_transposed_convolutions(kernel, factor) -> None:
    """Zeros between the pixels, and a convolution by the kernel turned about, are torch's own."""
    import torch.nn.functional as F

    from impasto.networks.foreign.building import ChainBuilder

    draw = torch.Generator().manual_seed(kernel)
    for before in range(kernel):
        for after in range(before - 1, before + 1):
            if kernel - factor - after < 0 or after < 0:
                continue
            weight = torch.randn(3, 3, kernel, kernel, generator=draw)
            layers = ChainBuilder()
            layers.transpose(weight, None, factor=factor, before=before, after=after)
            stage = layers._stages[0]
            assert stage.spread == factor
            x = torch.randn(1, 3, 5, 6, generator=draw)
            with torch.no_grad():
                from impasto.networks.chain import ChainConv
                from impasto.networks.layers import spread_out

                conv = ChainConv(stage)
                conv.conv2d.weight.copy_(layers._tensors["stage1.conv.conv2d.weight"])
                out = conv(spread_out(x, factor))
            full = F.conv_transpose2d(x, weight, stride=factor)
            wanted = full[:, :, before : full.shape[2] - after, before : full.shape[3] - after]
            torch.testing.assert_close(out, wanted, rtol=1e-4, atol=1e-4)


def test_a_config_is_checked() -> None:

    row = StageConfig(3, 3, 3, padding=(1, 1))
    assert Chain(ChainConfig((row,))).SMALLEST == 8
    for wrong in (
        lambda: ChainConfig(()),
        lambda: ChainConfig((StageConfig(3, 4, 3, padding=(1, 1)),)),
        lambda: ChainConfig(({"channels": 3},)),
        lambda: ChainConfig(({"channels_in": 3, "channels": 3, "kernel": 3, "colour": 1},)),
        lambda: ChainConfig((row,), scale=(1.0, 2.0)),
        lambda: ChainConfig((row,), gain=(1.0, 2.0, float("nan"))),
        lambda: StageConfig(3, 3, 3, padding=(1, -1)),
        lambda: StageConfig(3, 3, 0),
        lambda: StageConfig(3, 3, 3, eps=0.0),
        lambda: StageConfig(3, 3, 3, mode="mirror"),
        lambda: Chain(ChainConfig((StageConfig(3, 3, 3),))),
    ):
        with pytest.raises(OptionError):
            wrong()
