"""Large pictures are painted coarse to fine: as their proof looks, but sharper; within what all else promises."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from impasto.core.memory import held_memory
from impasto.core.tensors import to_array, to_tensor
from impasto.errors import DataError, OptionError
from impasto.imaging import Picture, as_picture, resize
from impasto.imaging.sizes import bicubic
from impasto.networks import inference
from impasto.stylizer import optimize_job, strokes
from impasto.stylizer.engine import Engine
from impasto.stylizer.job import Job, Output
from impasto.stylizer.network_job import coarse_work
from impasto.stylizer.recipe import Recipe, read_recipe
from impasto.stylizer.request import StylizeRequest
from impasto.stylizer.run_description import RunDescription
from impasto.stylizer.sizes import sizes_of
from impasto.stylizer.strokes import LARGE, PROOF, coarse_sizes
from impasto.tiling.cascade import paint_coarse_to_fine
from impasto.tiling.cost import padded_size
from impasto.tiling.fitting import seconds_at_once
from impasto.tiling.plan import Machine

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
STARRY, WAVE = (str(EXAMPLES / "styles" / f"{name}.jpg") for name in ("starry", "wave"))
SIZE = (80, 120)
STEP = 1 / 255
ENGINE = Engine()

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is larger than 64 px counts as large, so that tests are quick."""
    for name, value in (("LARGE", 64), ("PROOF", 32), ("NARROWEST", 16)):
        monkeypatch.setattr(strokes, name, value)


def photo(size: tuple[int, int] = SIZE, alpha: bool = False) -> Picture:
    picture = as_picture(str(EXAMPLES / "photos" / "chelsea.jpg")).resized(size)
    shape = np.linspace(-0.5, 1.5, size[0] * size[1], dtype=np.float32).reshape(size).clip(0, 1)
    return Picture(picture.rgb, shape) if alpha else picture


def job_of(source: Any = None, output: str | None = None, **options: Any) -> Job:
    options = {"style": "great-wave", "engine": "torch"} | options
    if options["engine"] == "torch":
        options = {"precision": "float32"} | options
    place = None if output is None else Output(output, force=True)
    return ENGINE.job(photo() if source is None else source, StylizeRequest.of(**options), output=place)


def painted(source: Any = None, **options: Any) -> np.ndarray:
    with job_of(source, **options) as job:
        list(job.run())
        return job.result().rgb


def apart(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).max())


# -- sizes ------------------------------------------------------------------------------------------------------------

SIDES = st.integers(16, 30_000)


@given(SIDES, SIDES)
def test_sizes_grow_by_equal_steps_from_the_proof_to_the_picture(height: int, width: int) -> None:
    sizes = coarse_sizes((height, width))
    if max(height, width) <= LARGE:
        assert sizes == ()
    if not sizes:
        return
    longs = [max(size) for size in (*sizes, (height, width))]
    assert longs[0] == PROOF or min(sizes[0]) >= strokes.NARROWEST - 1
    growths = [large / small for small, large in itertools.pairwise(longs)]
    assert max(growths) / min(growths) < 1.02
    assert 1.39 < min(growths) <= max(growths) < 2.12
    for size in sizes:
        assert size[0] * width == pytest.approx(size[1] * height, abs=max(height, width) / 2 + 1)


PROOF_ON, HALF_ON = ((384, 512), (743, 991)), ((720, 960),)


@pytest.mark.parametrize(
    ("scale", "coarse"), [(None, PROOF_ON), ("auto", PROOF_ON), ("100%", PROOF_ON), (2, HALF_ON), (1, ()), (0.5, ())]
)
def test_what_is_painted_before_for_strokes_of_each_size(scale: Any, coarse: Any) -> None:
    request = StylizeRequest.of(style="great-wave", style_scale=scale)
    assert sizes_of((1440, 1920), request, coarse_to_fine=True).coarse == coarse
    for size in ((1440, 1920), (768, 1024)):
        assert sizes_of(size, request, coarse_to_fine=False).coarse == ()
    small = sizes_of((768, 1024), request, coarse_to_fine=True)
    assert small.coarse == (((384, 512),) if scale in ("100%", 2) else ())
    assert small.seen == ((1536, 2048) if scale == 0.5 else (768, 1024))


@given(SIDES, SIDES, st.floats(0.1, 100))
def test_any_enlargement_begins_there_and_ends_before_the_picture(height: int, width: int, factor: float) -> None:
    sizes = coarse_sizes((height, width), factor)
    if not sizes:
        assert factor < 1.01 + 1 / max(height, width) or max(height, width) / factor > max(height, width) - 1
        return
    assert max(sizes[0]) == max(1, round(max(height, width) / factor))
    longs = [max(size) for size in (*sizes, (height, width))]
    assert all(small < large for small, large in itertools.pairwise(longs))
    assert max(large / (small + 0.5) for small, large in itertools.pairwise(longs)) < 2.2


def test_what_is_neither_a_size_nor_auto() -> None:
    with pytest.raises(OptionError, match=r"`style_scale` is automatic, need a number .* or auto$"):
        job_of(style_scale="automatic")


def test_networks_of_others_and_those_that_mix_features_paint_once() -> None:
    assert ENGINE.torch_model("gallery").coarse_to_fine
    assert ENGINE.light_model("universal").coarse_to_fine
    assert not {"adain", "chain", "johnson"} & strokes.COARSE_TO_FINE


# -- as its proof, but sharper ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", ["great-wave", STARRY], ids=["gallery", "universal"])
def test_a_large_painting_looks_like_its_proof_but_sharper(style: str) -> None:
    large = photo((960, 1440))
    proof = painted(large, style=style, size=512)
    small = (proof.shape[0], proof.shape[1])
    relative, in_pixels = (painted(large, style=style, **options) for options in ({}, {"style_scale": 1}))
    shrunk = [np.abs(resize(one, small) - proof).mean() for one in (relative, in_pixels)]
    assert shrunk[0] < 0.4 * shrunk[1]
    enlarged = resize(proof, (large.rgb.shape[0], large.rgb.shape[1]))
    detail = [np.abs(np.diff(one, axis=1)).mean() for one in (relative, enlarged)]
    assert detail[0] > 1.3 * detail[1]


def test_what_the_proof_changed_is_laid_on_the_photo_and_its_forms_are_kept() -> None:
    model, image = ENGINE.torch_model("gallery", precision="float32"), to_tensor(photo().rgb)
    bound = model.bind(StylizeRequest.of(style="great-wave").style, 200)

    def walked(strength: float) -> np.ndarray:
        steps = paint_coarse_to_fine(bound, image, [(40, 60)], strength)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return to_array(end.value)

    proof = to_array(bound(to_tensor(resize(photo().rgb, (40, 60)))))
    laid = (photo().rgb + bicubic(proof - resize(photo().rgb, (40, 60)), SIZE)).clip(0, 1)
    again = to_array(bound(to_tensor(laid)))

    def held(painted: np.ndarray) -> np.ndarray:
        """With the proof's forms, which are what is seen of it at half its size."""
        drift = bicubic(painted, (20, 30)) - bicubic(proof, (20, 30))
        return (painted - bicubic(drift, SIZE)).clip(0, 1)

    assert apart(walked(0.0), held(laid)) < 1e-4
    assert apart(walked(1.0), held(again)) < 1e-2
    assert apart(walked(0.6), held(laid + 0.6 * (again - laid))) < 1e-2
    off = [np.abs(bicubic(one, (20, 30)) - bicubic(proof, (20, 30))).mean() for one in (again, walked(1.0))]
    assert off[1] < 0.2 * off[0]


# -- the same, however it is computed ---------------------------------------------------------------------------------

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "weaker": {"strength": 0.4},
    "not at all": {"strength": 0.0},
    "colours": {"keep_colors": True},
    "mask": {"mask": "left", "strength": 0.6},
    "smaller": {"size": 70},
    "larger": {"size": 150, "upscale": True},
    "clear": {"alpha": True, "strength": 0.5},
    "blend": {"blend": True},
    "regions": {"blend": True, "masks": ("left", "right")},
}


def mask(side: str) -> Image.Image:
    rows = np.zeros(SIZE, np.uint8)
    half = rows[:, :60] if side == "left" else rows[:, 40:]
    half[:] = 255
    return Image.fromarray(rows)


def options_of(name: str, style: str) -> tuple[Picture, dict[str, Any]]:
    options = {"style": style} | OPTIONS[name]
    source = photo(alpha=bool(options.pop("alpha", False)))
    if options.pop("blend", False):
        options["style"] = ["great-wave:3", "the-scream:1"] if style == "great-wave" else [(STARRY, 3), (WAVE, 1)]
    if "mask" in options:
        options["mask"] = mask(options["mask"])
    if masks := options.pop("masks", ()):
        options["mask"] = [mask(side) for side in masks]
    return source, options


@pytest.mark.usefixtures("small_is_large")
@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("style", ["great-wave", STARRY], ids=["gallery", "universal"])
def test_bands_and_onnxruntime_paint_it_too(style: str, name: str) -> None:
    source, options = options_of(name, style)
    with job_of(source, **options) as job:
        assert len(job.sizes.coarse) >= 1
        list(job.run())
        whole = job.result().rgb
    bands = painted(source, tile=16, **options)
    assert apart(whole, bands) < 1e-5
    assert apart(whole, painted(source, engine="light", **options)) <= STEP


@pytest.mark.usefixtures("small_is_large")
def test_strength_goes_from_the_photo_to_the_painting() -> None:
    none, half, full = (painted(strength=share) for share in (0.0, 0.5, 1.0))
    assert apart(none, photo().rgb) == 0
    assert apart(half, (none + full) / 2) < 1e-5


@pytest.mark.alone
def test_bands_of_a_real_size_are_the_same_to_the_bit() -> None:
    large = photo((800, 1200))
    whole, bands = (painted(large, precision="auto", **options) for options in ({}, {"tile": 128}))
    assert np.array_equal(whole, bands)


@pytest.mark.usefixtures("small_is_large")
@pytest.mark.parametrize("engine", ["torch", "light"])
def test_a_style_is_looked_at_once_for_all_sizes(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    fresh = Engine()
    model = fresh.light_model("universal") if engine == "light" else fresh.torch_model("universal")
    if engine == "light":
        run = model._looks.run
        monkeypatch.setattr(model._looks, "run", lambda **given: looks.append(1) or run(**given))
    else:
        encode = inference.encode
        monkeypatch.setattr("impasto.stylizer.torch_model.encode", lambda *given: looks.append(1) or encode(*given))
    with fresh.job(photo(), StylizeRequest.of(style=WAVE, model="universal"), model=model) as job:
        assert len(job.sizes.coarse) == 2
        list(job.run())
    assert looks == [1]


# -- plans ------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small_is_large")
@pytest.mark.parametrize("options", [{}, {"tile": 16}, {"engine": "light"}], ids=str)
def test_a_plan_counts_every_size(options: dict[str, Any]) -> None:
    with job_of(**options, style_scale=1) as job:
        once = job.plan()
    with job_of(**options) as job:
        plan = job.plan()
        done = [record.done for record in job.run() if record.phase == "painting" and record.done > 0]
    assert done == sorted(done)
    assert done[-1] == pytest.approx(1)
    assert len(done) == plan.pieces > once.pieces
    assert plan.memory >= once.memory - (4 << 20)  # the process may have given something back meanwhile
    assert plan.message[0].startswith("coarse to fine, from 32 px in 3 sizes: ")
    assert not once.message[0].startswith("coarse")


def test_a_plan_counts_the_seconds_of_every_size() -> None:
    machine = Machine(flops=1e9, piece=0)
    network = ENGINE.torch_model("gallery", precision="float32").network
    sizes = sizes_of((1440, 1920), StylizeRequest.of(style="great-wave"), coarse_to_fine=True)
    coarse, pieces = coarse_work(network, sizes, [None] * len(sizes.coarse), machine)
    assert pieces == len(sizes.coarse) == 2
    last = seconds_at_once(network, sizes.seen, machine)
    areas = [math.prod(padded_size(size, network.STRIDE, network.SMALLEST, network.margin)) for size in sizes.all_seen]
    assert coarse / last == pytest.approx(sum(areas[:-1]) / areas[-1], rel=0.02)


def test_light_refuses_what_is_too_large_for_memory() -> None:
    with job_of(photo((1500, 2000)), engine="light", max_memory="100MB") as job:
        for call in (job.plan, lambda: list(job.run())):
            with pytest.raises(OptionError, match=r"2000x1500 px .* (choose a `size` of|need `max_memory`)"):
                call()


# -- recipes and runs -------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small_is_large")
@pytest.mark.parametrize("engine", ["torch", "light"])
def test_recipes_say_it_and_those_of_before_paint_as_they_did(tmp_path: Path, engine: str) -> None:
    out = str(tmp_path / "out.png")
    with job_of(output=out, engine=engine) as job:
        list(job.run())
        now = job.result().rgb
    recipe = read_recipe(out)
    assert recipe.request["style_scale"] == "auto"
    assert apart(painted(**asked(recipe.to_request())), now) == 0
    older = Recipe({name: value for name, value in recipe.request.items() if name != "style_scale"}, recipe.used, {})
    request = older.to_request()
    assert request.style_scale == 1
    assert apart(painted(**asked(request)), painted(engine=engine, style_scale=1)) == 0
    with ENGINE.job(photo(), request) as job:
        assert older.differences(job) == ()
    assert older.to_request(style_scale="auto").style_scale == "auto"


def asked(request: StylizeRequest) -> dict[str, Any]:
    return {name: getattr(request, name) for name in request.given}


def test_optimisations_have_nothing_to_do_with_it(tmp_path: Path) -> None:
    recipe = Recipe({"style": [{"style": "great-wave", "weight": 1.0}]}, {"model": "0"}, {})
    assert recipe.to_request(style=WAVE, quality="good").style_scale in (None, 1)
    with ENGINE.job(photo(), StylizeRequest.of(style=WAVE, preset="quick", style_scale="auto")) as job:
        assert job.as_optimisation().settings.style_scale == 1


def test_runs_of_before_go_on_as_they_began(tmp_path: Path) -> None:
    request = StylizeRequest.of(style="great-wave")
    picture = str(EXAMPLES / "photos" / "rocket.jpg")
    described = RunDescription(picture, request, Output(str(tmp_path / "out.tif"))).to_json()
    plain = json.loads(json.dumps(described))
    assert RunDescription.from_json(plain, tmp_path).request.style_scale == "auto"
    del plain["request"]["style_scale"]
    assert RunDescription.from_json(plain, tmp_path).request.style_scale == 1


def test_drafts_and_frames_keep_their_strokes_in_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    asked_for = []

    class Watched(optimize_job.NetworkJob):
        def __init__(self, engine: Any, picture: Any, request: StylizeRequest, *rest: Any) -> None:
            asked_for.append(request.style_scale)
            super().__init__(engine, picture, request, *rest)

    monkeypatch.setattr(optimize_job, "NetworkJob", Watched)
    with ENGINE.job(photo((40, 60)), StylizeRequest.of(style=WAVE, quality="good", steps=1)) as job:
        list(job.run())
    assert asked_for == [1]


# -- from file to file ------------------------------------------------------------------------------------------------


def strips(out: str, folder: Path | None = None, **options: Any) -> Any:
    from impasto.stylizer.strip_job import StripJob

    request = StylizeRequest.of(**{"style": "great-wave", "precision": "float32", "tile": 16} | options)
    model = ENGINE.torch_model("gallery", precision="float32")
    return StripJob(ENGINE, "photo.png", request, model, Output(out, force=True), folder)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    pytest.importorskip("pyvips", reason="the extra huge (pyvips) is not installed")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    Image.fromarray(photo().integers(8)).save("photo.png")
    mask("left").save("mask.png")
    return tmp_path


@pytest.mark.usefixtures("small_is_large")
@pytest.mark.parametrize(
    "options", [{}, {"strength": 0.5, "mask": "mask.png", "keep_colors": True}, {"size": 150, "upscale": True}], ids=str
)
def test_by_strips_it_is_the_same(files: Path, options: dict[str, Any]) -> None:
    with strips("out.tif", **options) as job:
        plan = job.plan()
        done = [record.done for record in job.run() if record.phase == "painting"]
    assert done == sorted(done)
    assert len(done) == 1 + plan.pieces  # and where it begins
    assert plan.message[0].startswith("by strips: coarse to fine, from 32 px in")
    whole = np.rint(painted("photo.png", **options) * 255)
    found = tifffile.imread("out.tif").astype(int)
    assert np.abs(found - whole).max() <= (1 if "size" in options else 0)
    assert list((files / "temporary").iterdir()) == []
    assert read_recipe("out.tif").request["style_scale"] == "auto"


@pytest.mark.usefixtures("small_is_large")
@pytest.mark.parametrize("share", [0.1, 0.24, 0.6, 0.95])
def test_by_strips_it_can_be_resumed(files: Path, share: float) -> None:
    list(strips("whole.tif").run())
    run = files / "run"
    records = strips("out.tif", run).run()
    before = next(record.done for record in records if record.done >= share)
    records.close()
    with strips("out.tif", run) as again:
        first = next(records := again.run()).done
        list(records)
    if before < 0.2 or before > 0.3:  # what the coarse sizes changed is kept when it is whole
        assert (first > 0.2) == (before > 0.3)
    assert np.array_equal(tifffile.imread("out.tif"), tifffile.imread("whole.tif"))
    assert list(run.iterdir()) == []


@pytest.mark.usefixtures("small_is_large")
def test_runs_of_before_that_lie_amid_the_last_size_are_begun_anew(files: Path) -> None:
    run = files / "run"
    records = strips("out.tif", run).run()
    assert any(record.done > 0.6 for record in records)
    records.close()
    (run / "forms.rows").rename(run / "coarse.rows")  # what earlier versions kept, of another meaning
    with pytest.raises(DataError, match="was begun by an earlier version, which painted otherwise; start a new run"):
        strips("out.tif", run)


@pytest.mark.usefixtures("small_is_large")
@pytest.mark.parametrize("name", ["forms.rows", "change.rows", "repainted.rows"])
def test_a_run_that_lost_something_goes_on_or_says_so(files: Path, name: str) -> None:
    list(strips("whole.tif").run())
    run = files / "run"
    records = strips("out.tif", run).run()
    assert any((run / "repainted.rows").exists() for _ in records)
    records.close()
    (run / name).write_bytes((run / name).read_bytes()[:1000])
    with strips("out.tif", run) as again:
        if name == "repainted.rows":
            with pytest.raises(DataError, match=r"repainted\.rows: ends too early, so what was kept of"):
                list(again.run())
        else:
            list(again.run())
            assert np.array_equal(tifffile.imread("out.tif"), tifffile.imread("whole.tif"))


@pytest.mark.usefixtures("small_is_large")
def test_closed_in_the_middle_nothing_is_left(files: Path) -> None:
    for count in (1, 8, 30):
        with strips("out.tif") as job:
            records = job.run()
            for _ in range(count):
                next(records)
            assert list((files / "temporary").iterdir()) != []
        assert list((files / "temporary").iterdir()) == []
        assert not Path("out.tif").exists()


def test_room_is_counted_for_what_the_last_size_is_painted_on() -> None:
    request = StylizeRequest.of(style="great-wave")
    fine = sizes_of((3000, 4000), request, coarse_to_fine=True)
    once = sizes_of((3000, 4000), request, coarse_to_fine=False)
    assert fine.picture_bytes - once.picture_bytes >= 12 * math.prod(fine.painting)


def test_fine_strokes_of_a_large_picture_go_by_strips_where_memory_is_short(files: Path) -> None:
    """The network sees a picture of ten times the side."""
    Image.fromarray(photo((300, 400)).integers(8)).save("photo.png")
    limit = held_memory() + (400 << 20)
    for scale, kind in ((1, "NetworkJob"), (0.1, "StripJob")):
        request = StylizeRequest.of(style="great-wave", engine="torch", style_scale=scale, max_memory=limit)
        with ENGINE.job("photo.png", request, output=Output("out.png")) as job:
            assert type(job).__name__ == kind
            assert job.plan().memory <= limit + (1 << 20)
