"""Networks of any style of others: the picture is that of a plain reimplementation, whichever way it is painted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from impasto.errors import OptionError, WeightsError
from impasto.networks.checkpoint import load_model, save_model
from impasto.networks.inference import bind, encode
from impasto.networks.operators import Operators, OperatorsConfig
from impasto.networks.programs import Operator
from impasto.tiling.bands import BandProgress
from impasto.tiling.fitting import bytes_at_once, paint, paint_rows, plan_for
from impasto.tiling.journal import Journal
from impasto.tiling.photos import TensorPhoto
from impasto.tiling.plan import TilingOptions

from .any_style_kinds import KINDS
from .any_style_samples import MicroAST, Naoto
from .foreign_samples import SIZES, picture

pytestmark = pytest.mark.usefixtures("one_thread")
STYLE = picture(58, 75, seed=9)


@pytest.fixture(scope="module", params=KINDS)
def sample(request, tmp_path_factory):
    """The kind's name, its file, the plain network, and what is read of the file."""
    kind, write = KINDS[request.param]
    file, plain = write(tmp_path_factory.mktemp("any") / "file")
    network, description = load_model(file)
    assert description["came_from"]["kind"] == kind
    return file, plain, network


@pytest.mark.parametrize("size", [*SIZES, (101, 40)])
def test_the_picture_is_the_original_s(sample, size) -> None:
    _, plain, network = sample
    photo = picture(*size)
    wanted = plain(photo, STYLE)
    assert wanted.std() > 0.02
    torch.testing.assert_close(bind(network, [(STYLE, 1.0)])(photo), wanted, rtol=0, atol=1e-4)
    assert (plain(photo, picture(58, 75, seed=8)) - wanted).abs().max() > 0.01  # the style is seen


@pytest.mark.parametrize("size", [(1, 1), (3, 50), (20, 9)])
def test_small_pictures(sample, size) -> None:
    painted = bind(sample[2], [(picture(5, 7), 1.0)])(picture(*size))
    assert painted.shape == (1, 3, *size)
    assert painted.isfinite().all()


def in_bands(network: Operators, photo: Tensor, options: TilingOptions, **how) -> Tensor:
    walk = paint(bind(network, how.pop("styles", [(STYLE, 1.0)])), photo, options, **how)
    records = []
    while True:
        try:
            records.append(next(walk))
        except StopIteration as end:
            assert len(records) > 3
            assert [record.done for record in records] == sorted(record.done for record in records)
            return end.value


@pytest.mark.parametrize(("size", "tile"), [((150, 70), 16), ((131, 90), 32), ((203, 61), 48)])
def test_bands_give_what_painting_at_once_gives(sample, size, tile) -> None:
    network, photo = sample[2], picture(*size)
    wanted = bind(network, [(STYLE, 1.0)])(photo)
    torch.testing.assert_close(in_bands(network, photo, TilingOptions(tile=tile)), wanted, rtol=0, atol=1e-4)


def test_bands_whose_maps_go_to_a_file(sample) -> None:
    network, photo = sample[2], picture(150, 70)
    bound, rows = bind(network, [(STYLE, 1.0)]), []
    plan = replace(plan_for(network, (150, 70), TilingOptions(tile=16)), pool=0)
    for _ in paint_rows(bound, TensorPhoto(photo), plan, lambda top, x: rows.append(x.clone())):
        pass
    torch.testing.assert_close(torch.cat(rows, 2), bound(photo), rtol=0, atol=1e-4)


@pytest.mark.parametrize("stops", [[1], [4, 30], [2, 9, 70]])
def test_a_poster_that_was_stopped_goes_on(sample, tmp_path, stops) -> None:
    network, photo = sample[2], picture(131, 40)
    bound = bind(network, [(STYLE, 1.0)])
    plan = plan_for(network, (131, 40), TilingOptions(tile=16, resumable=True))
    assert plan.pool == 0
    out, whole = torch.full_like(photo, -1), torch.full_like(photo, -1)

    def into(out: Tensor, journal: Journal | None) -> Iterator[BandProgress]:
        def put(top: int, x: Tensor) -> None:
            assert (out[:, :, top : top + x.shape[2]] == -1).all()  # what is painted is not painted again
            out[:, :, top : top + x.shape[2]] = x

        return paint_rows(bound, TensorPhoto(photo), plan, put, journal=journal)

    for _ in into(whole, None):
        pass
    steps = len(plan.passes)
    for stop in stops:
        journal = Journal(tmp_path / "run")
        assert journal.begin(plan) == plan
        records = into(out, journal)
        last = [record for _, record in zip(range(stop), records, strict=False)][-1:]
        records.close()
        assert all(record.begun <= record.done for record in last)
    journal = Journal(tmp_path / "run")
    journal.begin(plan)
    assert max(stops) < steps or journal.state.passes
    for _ in into(out, journal):
        pass
    assert torch.equal(out, whole)
    journal.remove()
    assert not list((tmp_path / "run").iterdir())


def test_plans_count_what_is_kept(sample) -> None:
    network = sample[2]
    whole = plan_for(network, (600, 800))
    assert whole.spilled == 0
    assert whole.pool > 0
    least = min(plan_for(network, (600, 800), TilingOptions(tile=tile)).work for tile in (16, 32))
    tight = plan_for(network, (600, 800), TilingOptions(budget=least))
    assert 0 < tight.spilled <= whole.pool
    assert tight.pool < whole.pool
    assert bytes_at_once(network, (1200, 800)) > bytes_at_once(network, (600, 800))


def test_masks_blends_and_strength(sample) -> None:
    network, photo, other = sample[2], picture(61, 83), picture(40, 40, seed=3)
    alone = [bind(network, [(style, 1.0)])(photo) for style in (STYLE, other)]
    half = torch.zeros(1, 1, 61, 83)
    half[..., :40] = 1
    both = bind(network, [(STYLE, 1.0), (other, 1.0)])
    parts = both(photo, masks=[half, 1 - half])
    torch.testing.assert_close(parts[..., :40], alone[0][..., :40], rtol=0, atol=1e-3)
    torch.testing.assert_close(parts[..., 40:], alone[1][..., 40:], rtol=0, atol=1e-3)
    assert not torch.equal(both(photo), alone[0])
    torch.testing.assert_close(bind(network, [(STYLE, 1.0)])(photo, strength=0.0), photo)
    rows = [encode(network, style) for style in (STYLE, other)]
    torch.testing.assert_close(bind(network, [(rows[0], 2.0), (rows[1], 0.0)])(photo), alone[0])
    for wrong in ([], [("wave", 1.0)], [(STYLE, -1.0)], [(STYLE, 0.0)]):
        with pytest.raises(OptionError):
            bind(network, wrong)
    with pytest.raises(OptionError, match="alpha"):
        bind(network, [(STYLE, 1.0)])(photo, alpha=0.5)


def test_a_file_of_ours_and_its_graphs(sample, tmp_path) -> None:
    pytest.importorskip("onnx")
    from impasto.export.check import differences
    from impasto.export.onnx_file import export_onnx

    _, _, network = sample
    mine = tmp_path / "mine.safetensors"
    save_model(mine, network, recipe={}, licence="MIT")
    again, description = load_model(mine)
    assert description["styles"] == []
    photo = picture(61, 83)
    # Where a weight lies in memory may decide how a processor adds up: the last bits differ.
    torch.testing.assert_close(bind(again, [(STYLE, 1.0)])(photo), bind(network, [(STYLE, 1.0)])(photo))
    files = export_onnx(mine, tmp_path / "mine.onnx")
    for row in differences(mine, files, sizes=[(64, 64), (61, 83), (130, 47), (9, 20)]):
        assert row.largest < 1, row  # of 255


def test_stylize_straight_from_the_file(sample) -> None:
    import impasto

    file, plain, _ = sample
    photo, style = (
        (picture(*size)[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8) for size in ((61, 83), (50, 70))
    )
    painted = impasto.stylize(photo, style, model=file, precision="float32")
    photo, style = (torch.from_numpy(rows / 255).float().permute(2, 0, 1)[None] for rows in (photo, style))
    wanted = plain(photo, style)[0].permute(1, 2, 0).numpy() * 255
    # The style picture is enlarged by nobody: it is smaller than what is looked at.
    assert np.abs(np.asarray(painted, np.float32) - wanted).max() < 1.01


def test_files_that_lack_another(tmp_path) -> None:
    folder = MicroAST().write(tmp_path / "micro")
    (folder / "modulator_iter_5.pth.tar").unlink()
    with pytest.raises(WeightsError, match=r"modulator_iter_5\.pth\.tar is not there"):
        load_model(folder)
    (folder / "decoder_iter_5.pth.tar").rename(folder / "x.pth")
    with pytest.raises(WeightsError, match="whose names say"):
        load_model(folder / "x.pth")
    folder = Naoto().write(tmp_path / "naoto")
    with pytest.raises(WeightsError, match="the encoder alone"):
        load_model(folder / "vgg_normalised.pth")
    (folder / "vgg_normalised.pth").unlink()
    with pytest.raises(WeightsError, match=r"as vgg_normalised\.pth"):
        load_model(folder / "decoder.pth")


def test_all_that_was_read_is_told(tmp_path) -> None:
    from impasto.core.metadata import read_metadata
    from impasto.files import sha256
    from impasto.networks.foreign.explaining import explain
    from impasto.networks.foreign.importing import import_network

    folder, out = MicroAST().write(tmp_path / "micro"), tmp_path / "mine.safetensors"
    import_network(folder, out)
    beside = read_metadata(out)["recipe"]["beside"]
    assert beside["modulator_iter_5.pth.tar"] == sha256(folder / "modulator_iter_5.pth.tar")
    assert len(beside) == 3
    found = explain(folder)
    assert found.facts["styles"] == "any picture"
    assert any("bilinear 2x" in row[1] for row in found.layers)
    assert any("4 groups" in row[1] for row in found.layers)


def test_a_config_is_checked() -> None:
    conv = Operator("conv", (0,), channels=3)
    told = Operator("moments", (0,))
    assert Operators(OperatorsConfig((conv,), (told,), (1,))).SMALLEST == 8
    for wrong in (
        lambda: OperatorsConfig((), (told,), (1,)),
        lambda: OperatorsConfig((conv,), (told,), ()),
        lambda: OperatorsConfig((conv,), (told,), (2,)),
        lambda: OperatorsConfig((told,), (told,), (1,)),
        lambda: OperatorsConfig((conv,), (Operator("style_norm", (0,)),), (1,)),
        lambda: OperatorsConfig((Operator("style_norm", (0,), at=1),), (told,), (1,)),
        lambda: OperatorsConfig((Operator("relu", (1,)),), (told,), (1,)),
        lambda: OperatorsConfig((Operator("conv", (0,), channels=4),), (told,), (1,)),
        lambda: OperatorsConfig(({"kind": "relu", "of": [0], "colour": 1},), (told,), (1,)),
        lambda: OperatorsConfig(({"kind": "relu"},), (told,), (1,)),
        lambda: Operator("conv", (0,), channels=3, padding=(1, -1)),
        lambda: Operator("conv", (0,), channels=3, mode="mirror"),
        lambda: Operator("add", (0,)),
        lambda: Operator("paint", (0,)),
        lambda: Operator("norm", (0,), eps=float("nan")),
        lambda: OperatorsConfig((Operator("conv", (0,), channels=3, groups=2),), (told,), (1,)),
        lambda: Operators(OperatorsConfig((Operator("crop", (0,), size=3),), (told,), (1,))),
    ):
        with pytest.raises(OptionError):
            wrong()


def test_precision_is_chosen_by_what_it_changes(sample, monkeypatch) -> None:
    from impasto.core.precision import Precision
    from impasto.networks import inference

    network = sample[2]
    before = {key: value.clone() for key, value in network.state_dict().items()}
    off = inference.off_in_bfloat16(network)
    assert 0 < off < 255
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    fast = Precision(torch.bfloat16, True, "fast")
    monkeypatch.setattr(inference, "choose_precision", lambda *_: fast)
    for told, wanted in ((2.9, torch.bfloat16), (3.1, torch.float32)):
        monkeypatch.setattr(inference, "off_in_bfloat16", lambda _, told=told: told)
        assert inference.choose_for(network, "cpu").dtype == wanted
        assert inference.choose_for(network, "cpu", "bfloat16") is fast
