"""By strips a photo is painted as in memory: every option, any size; within the budget; stopped and resumed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from impasto.core.precision import Precision
from impasto.core.vgg import VGG
from impasto.errors import DataError, ImageError, MissingExtraError, OptionError, OutputError
from impasto.imaging import read
from impasto.networks.adain import AdaIN, AdaINConfig
from impasto.networks.brisk import Brisk, BriskConfig
from impasto.networks.registry import Network
from impasto.networks.universal import Universal, UniversalConfig
from impasto.stylizer.engine import Engine
from impasto.stylizer.job import Output
from impasto.stylizer.request import OutputOptions, StylizeRequest
from impasto.stylizer.strip_job import StripJob, needs_strips
from impasto.stylizer.torch_model import TorchModel
from impasto.tiling.journal import Journal

pytest.importorskip("pyvips", reason="the extra huge (pyvips) is not installed")
pytestmark = pytest.mark.usefixtures("one_thread", "folder")


def model_of(network: Network) -> TorchModel:
    names = [{"name": name} for name in network.styles] if isinstance(network, Brisk) else []
    precision = Precision(torch.float32, True, "a test")
    return TorchModel(
        Engine(), network.eval(), {"styles": names}, "toy", Path(__file__), torch.device("cpu"), precision
    )


def gallery() -> TorchModel:
    torch.manual_seed(0)
    network = Brisk(BriskConfig(("a", "b"), channels=8, blocks=1, detail=8))
    for norm in network.norms:
        torch.nn.init.normal_(norm.beta)
    return model_of(network)


def encoder() -> VGG:
    torch.manual_seed(0)
    vgg = VGG("vgg16", last="conv4_1", ranks=dict.fromkeys(VGG("vgg16", last="conv4_1").convolutions[1:], 4), name="t")
    for value in vgg.parameters():
        if value.ndim == 4:
            torch.nn.init.kaiming_normal_(value)
    return vgg.requires_grad_(False)


def universal() -> TorchModel:
    return model_of(Universal(UniversalConfig(channels=8, blocks=1, detail=8), encoder()))


def adain() -> TorchModel:
    return model_of(AdaIN(AdaINConfig(width=1 / 32), encoder()))


def strip_job(
    model: TorchModel,
    photo: Any,
    output: str = "out.png",
    folder: Path | None = None,
    compression: int = 6,
    **options: Any,
) -> StripJob:
    written = {"png_compression": compression} if output.endswith((".png", ".tif")) else {}
    place = Output(output, OutputOptions.of(**written), force=True)
    return StripJob(model.engine, photo, StylizeRequest.of(**options), model, place, folder)


def painted(model: TorchModel, photo: Any, output: str = "out.png", folder: Path | None = None, **options: Any) -> Path:
    with strip_job(model, photo, output, folder, **options) as job:
        done = [record.done for record in job.run() if record.phase == "painting"]
    assert done == sorted(done)
    return Path(output)


def in_memory(model: TorchModel, photo: Any, output: str, **options: Any) -> np.ndarray:
    picture = model.paint(photo, **{name: value for name, value in options.items() if name != "tile"})
    return picture.integers(min(picture.bits, 16 if output.endswith(("png", "tif")) else 8), not output.endswith("jpg"))


def assert_as_in_memory(model: TorchModel, photo: Any, output: str = "out.png", **options: Any) -> None:
    """To one level of 8 bits."""
    path, expected = painted(model, photo, output, **options), in_memory(model, photo, output, **options)
    found = read(path)
    array = found.integers(found.bits).astype(int)
    assert array.shape == expected.shape
    assert np.abs(array - expected).max() <= (257 if expected.itemsize == 2 else 1)


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "strength": {"strength": 0.4},
    "colours": {"keep_colors": True},
    "mask": {"strength": 0.7, "mask": "night.png"},
    "smaller": {"size": 36},
    "larger": {"size": 90, "upscale": True, "mask": "wave.png"},
    "strokes": {"style_scale": 1.7},
    "weak strokes": {"style_scale": 0.6, "strength": 0.5, "keep_colors": True, "mask": "wave.png"},
    "two styles": {"style": [("a", 0.3), ("b", 0.7)]},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_means_the_same(name: str) -> None:
    options = {"style": "b", "tile": 8} | OPTIONS[name]
    assert_as_in_memory(gallery(), "photo.png", **options)


@pytest.mark.parametrize("output", ["out.png", "out.tif"])
@pytest.mark.parametrize("kind", ["deep", "clear", "deep and clear", "turned"])
def test_depth_transparency_and_orientation_are_kept(kind: str, output: str) -> None:
    draw = np.random.default_rng(0)
    top = 65536 if "deep" in kind else 256
    array = draw.integers(0, top, (40, 36, 4 if "clear" in kind else 3)).astype(np.uint16 if top > 256 else np.uint8)
    options: dict[str, Any] = {"extrasamples": ["unassalpha"]} if "clear" in kind else {}
    options |= {"extratags": [(274, 3, 1, 6, True)]} if kind == "turned" else {}
    tifffile.imwrite("photo.tif", array, photometric="rgb", **options)
    assert_as_in_memory(gallery(), "photo.tif", output, style="a", tile=12)


def cut_out(hidden: int, size: tuple[int, int] = (40, 36)) -> Image.Image:
    """photo.png of which an oval with a soft edge shows; `hidden` lies beneath the rest."""
    y, x = np.mgrid[: size[0], : size[1]]
    away = np.hypot((y - size[0] / 2) / size[0], (x - size[1] / 2) / size[1])
    array = np.asarray(Image.open("photo.png").convert("RGBA").resize(size[::-1])).copy()
    array[:, :, 3] = np.rint(np.clip((0.4 - away) * 10, 0, 1) * 255)
    array[array[:, :, 3] == 0, :3] = hidden
    return Image.fromarray(array)


CUT_OUTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "strength": {"strength": 0.4},
    "photo": {"strength": 0.0},
    "colours and mask": {"strength": 0.7, "keep_colors": True, "mask": "night.png"},
    "smaller": {"size": 36, "strength": 0.5},
    "larger": {"size": 90, "upscale": True},
    "strokes": {"style_scale": 1.7, "strength": 0.5},
}


@pytest.mark.parametrize("name", CUT_OUTS)
def test_cut_outs_are_painted_as_in_memory_whatever_they_hide(name: str) -> None:
    found = []
    for hidden in (0, 255):
        cut_out(hidden).save("cut.png")
        assert_as_in_memory(gallery(), "cut.png", style="a", tile=8, **CUT_OUTS[name])
        found.append(np.asarray(Image.open("out.png")))
    assert np.array_equal(*found)


def test_a_cut_out_at_no_strength_is_the_photo() -> None:
    cut = cut_out(255)
    cut.save("cut.png")
    found = np.asarray(Image.open(painted(gallery(), "cut.png", style="a", strength=0.0)))
    shows = np.asarray(cut)[:, :, 3] > 0
    assert np.array_equal(found[shows], np.asarray(cut)[shows])
    assert np.array_equal(found[:, :, 3], np.asarray(cut)[:, :, 3])
    assert (found[~shows][:, :3] < 255).any(1).all()  # and what was hidden is gone


def test_a_photo_of_which_nothing_shows_is_told() -> None:
    Image.new("RGBA", (40, 36), (9, 9, 9, 0)).save("clear.png")
    with pytest.raises(ImageError, match=r"clear\.png: transparent everywhere"):
        painted(gallery(), "clear.png", style="a")


def test_jpeg_tells_what_it_cannot_hold() -> None:
    Image.open("photo.png").convert("RGBA").save("clear.png")
    with strip_job(gallery(), "clear.png", "out.jpg", style="a") as job:
        list(job.run())
    assert job.notes == ["JPEG has no transparency: the picture is laid on white"]
    with Image.open("out.jpg") as image:
        assert (image.mode, image.size, "icc_profile" in image.info) == ("RGB", (40, 36), True)


@pytest.mark.parametrize(
    ("make", "options"),
    [(universal, {"strength": 0.5}), (universal, {"style_scale": 1.5}), (adain, {}), (adain, {"alpha": 0.5})],
)
def test_pictures_as_styles(make: Callable[[], TorchModel], options: dict[str, Any]) -> None:
    assert_as_in_memory(make(), "photo.png", style=["night.png:0.4", "wave.png:0.6"], tile=16, **options)


@settings(max_examples=15, deadline=None)
@given(
    size=st.tuples(st.integers(32, 90), st.integers(32, 60)),
    tile=st.integers(1, 100),
    strip=st.integers(1, 4000),
    finished=st.integers(1, 3000),
)
def test_any_size_in_any_strips(tmp_path_factory, size, tile, strip, finished) -> None:
    folder = tmp_path_factory.mktemp("any")
    array = np.random.default_rng(tile).integers(0, 256, (*size, 3), np.uint8)
    Image.fromarray(array).save(folder / "photo.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("impasto.imaging.strips.STRIP", strip)
        patch.setattr("impasto.stylizer.strip_job.FINISHED", finished)
        assert_as_in_memory(gallery(), folder / "photo.png", str(folder / "out.png"), style="a", tile=tile)


def test_only_what_does_not_fit_is_streamed() -> None:
    Image.new("RGB", (4000, 4000)).save("large.png", compress_level=0)
    model = gallery()
    tight, ample = 900 * 10**6, 10**11
    assert needs_strips(model, "large.png", StylizeRequest.of(style="a"), tight)
    assert not needs_strips(model, "large.png", StylizeRequest.of(style="a"), ample)
    assert not needs_strips(model, "large.png", StylizeRequest.of(style="a", size=100), ample)
    assert needs_strips(model, "large.png", StylizeRequest.of(style="a", size=3900), tight)


# -- errors ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "options", "output", "error", "told"),
    [
        (gallery, {"photo": "photo.webp"}, "out.png", ImageError, r"photo\.webp: only JPEG, PNG and TIFF are read by"),
        (gallery, {}, "out.webp", OutputError, r"out\.webp: only \.tif, \.png and \.jpg files are written by strips"),
        (gallery, {}, "-", OutputError, "40x36 px do not fit into memory at once"),
        (gallery, {"mask": ["night.png", "wave.png"]}, "o.png", OptionError, "a `mask` for each style"),
        (gallery, {"mask": "gone.png"}, "out.png", ImageError, r"gone\.png: no such file"),
        (gallery, {"alpha": 0.5}, "out.png", OptionError, "alpha.? is for networks that decode features"),
        (gallery, {"style": "fog"}, "out.png", OptionError, "no style 'fog'"),
        (gallery, {"max_memory": 10**6}, "out.png", OptionError, "need `max_memory`"),
        (adain, {"style": "night.png", "strength": 0.5}, "out.png", OptionError, "use `alpha`"),
        (gallery, {"max_megapixels": 0.001}, "out.png", ImageError, "megapixels"),
    ],
)
def test_what_does_not_go_is_one_sentence(make, options, output, error, told) -> None:
    Image.open("photo.png").save("photo.webp")
    options = {"photo": "photo.png", "style": "a"} | options
    with pytest.raises(error, match=told):
        list(strip_job(make(), output=output, **options).run())
    assert not Path(output).exists()


def test_without_the_extra_the_sentence_tells_what_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyvips", None)
    told = r"40x36 px: painting by strips, .* needs pyvips, which is not installed: pip install 'impasto\[huge\]'"
    with pytest.raises(MissingExtraError, match=told):
        strip_job(gallery(), "photo.png", style="a")


def test_a_damaged_photo_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = Path("photo.png").read_bytes()
    Path("cut.png").write_bytes(data[: len(data) // 2])
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    with pytest.raises(ImageError, match="cut short"):
        painted(gallery(), "cut.png", style="a")
    assert not Path("out.png").exists()
    painted(gallery(), "photo.png", style="a")
    assert list((tmp_path / "tmp").iterdir()) == []


# -- stopped and resumed --------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"style_scale": 0.5}, {"strength": 0.5, "mask": "night.png"}])
@pytest.mark.parametrize("after", [1, 15, 38])
def test_resumed_it_is_the_same_file(tmp_path: Path, options: dict[str, Any], after: int) -> None:
    Image.open("photo.png").resize((32, 160)).save("tall.png")
    options = {"style": "b", **options}
    expected = painted(gallery(), "tall.png", "whole.tif", tile=16, **options)
    run = tmp_path / "run"
    records = strip_job(gallery(), "tall.png", "out.tif", run, tile=16, **options).run()
    assert next(records).done == 0
    for _, record in zip(range(after), records, strict=False):
        assert record.done > 0
    records.close()
    assert not Path("out.tif").exists()
    passes = Journal(run).state.passes
    assert (passes > 0) == (after > 20 or (after > 10 and not options.get("style_scale")))
    again = strip_job(gallery(), "tall.png", "out.tif", run, **options)
    assert again.tiling.band == 16  # as it was begun
    first = next(records := again.run())
    assert (first.done > 0.1) == (passes > 0)
    list(records)
    assert np.array_equal(tifffile.imread("out.tif"), tifffile.imread(expected))
    assert list(run.iterdir()) == []


@pytest.mark.parametrize(("options", "name"), [({}, "painting.tif"), ({"style_scale": 0.5}, "painting.rows")])
@pytest.mark.parametrize("left", [None, 0, 1000])
def test_a_run_that_lost_painted_rows_says_so(
    tmp_path: Path, options: dict[str, Any], name: str, left: int | None
) -> None:
    Image.open("photo.png").resize((32, 160)).save("tall.png")
    run = tmp_path / "run"
    records = strip_job(gallery(), "tall.png", "out.tif", run, tile=16, style="b", **options).run()
    assert any(Journal(run).state.rows >= 64 for _ in records)
    records.close()
    if left is None:
        (run / name).unlink()
    else:
        (run / name).write_bytes((run / name).read_bytes()[:left])
    told = rf"{name}: (is missing|ends too early), so what was kept of this painting is damaged: begin it anew"
    with (
        strip_job(gallery(), "tall.png", "out.tif", run, style="b", **options) as again,
        pytest.raises(DataError, match=told),
    ):
        list(again.run())
    assert not Path("out.tif").exists()


def test_a_run_of_another_picture_is_refused(tmp_path: Path) -> None:
    run = tmp_path / "run"
    records = strip_job(gallery(), "photo.png", "out.tif", run, style="a").run()
    next(records)
    records.close()
    with pytest.raises(DataError, match="start a new run"):
        strip_job(gallery(), "night.png", "out.tif", run, style="a")
    with pytest.raises(OptionError, match="cannot be resumed"):
        strip_job(adain(), "photo.png", "out.tif", run, style="night.png")


def test_a_full_disk_keeps_what_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"style": "a", "tile": 16}
    expected = painted(gallery(), "photo.png", "whole.png", **options).read_bytes()
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(
            "impasto.stylizer.strip_job.encode_strips", lambda *_, **__: (_ for _ in ()).throw(OutputError("x"))
        )
        with pytest.raises(OutputError):
            painted(gallery(), "photo.png", "out.png", run, **options)
    assert (run / "painting.tif").exists()
    assert painted(gallery(), "photo.png", "out.png", run, **options).read_bytes() == expected
    shutil.rmtree(run)


# -- memory ---------------------------------------------------------------------------------------------------


CHILD = """
import sys, torch
from pathlib import Path
from impasto.core.memory import reuse_large_blocks
sys.path.insert(0, sys.argv[1])
from test_strip_job import gallery, strip_job
from impasto.stylizer.strip_job import needs_strips
from impasto.imaging.strips import load_pyvips
from impasto.core.memory import held_memory
reuse_large_blocks()
torch.set_num_threads(1)
load_pyvips()
budget = held_memory() + (200 << 20)
job = strip_job(gallery(), "large.tif", "out.tif", compression=0, style="a", max_memory=budget)
assert needs_strips(job.model, job.photo, job.request, budget)
for _ in job.run():
    pass
lines = Path("/proc/self/status").read_text().splitlines()
peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024
print(budget, peak)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="measures memory as Linux does")
def test_the_budget_is_kept() -> None:
    """A photo whose pixels alone, as the rest of the program has them in memory, would take all of it."""
    row = np.random.default_rng(0).integers(0, 256, (100, 2000, 3), np.uint8)
    tifffile.imwrite("large.tif", np.tile(row, (16, 1, 1)), photometric="rgb")
    command = [sys.executable, "-c", CHILD, str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    budget, peak = (int(number) for number in done.stdout.split())
    assert peak <= budget
    with Image.open("out.tif") as image:
        assert image.size == (2000, 1600)
