"""A painter's ground in every way of painting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from impasto.errors import OptionError
from impasto.imaging import Picture, as_picture
from impasto.imaging.colour import luminance
from impasto.stylizer import strokes
from impasto.stylizer.engine import Engine
from impasto.stylizer.job import Output
from impasto.stylizer.recipe import read_recipe
from impasto.stylizer.request import StylizeRequest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
STARRY = str(EXAMPLES / "styles" / "starry.jpg")
ENGINE = Engine()

pytestmark = pytest.mark.usefixtures("one_thread")


def photo() -> Picture:
    """A face on the left, a plain wall on the right."""
    rows = as_picture(str(EXAMPLES / "photos" / "astronaut.jpg")).resized((160, 160)).rgb
    wall = np.full((160, 100, 3), (0.6, 0.65, 0.7), np.float32)
    return Picture(np.concatenate([rows[20:], wall[20:]], axis=1))


def painted(**options: Any) -> np.ndarray:
    options = {"style": "great-wave", "engine": "torch"} | options
    if options["engine"] == "torch":
        options["precision"] = "float32"
    with ENGINE.job(photo(), StylizeRequest.of(**options)) as job:
        list(job.run())
        return job.result().rgb


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """The photo counts as large."""
    for name, value in (("LARGE", 128), ("PROOF", 120), ("NARROWEST", 16)):
        monkeypatch.setattr(strokes, name, value)


@pytest.mark.parametrize("style", ["the-scream", STARRY], ids=["gallery", "universal"])
@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_the_wall_is_livelier_and_the_face_as_it_was(style: str, strength: float) -> None:
    with_ground, without = (painted(style=style, strength=strength, ground=ground) for ground in (1.0, 0.0))
    wall, face = np.s_[8:-8, 200:-8], np.s_[8:-8, 40:110]
    change = np.abs(with_ground - without).mean(2)
    assert change[wall].mean() > 1.5 * change[face].mean()
    assert with_ground[wall].std((0, 1)).mean() > 1.1 * without[wall].std((0, 1)).mean()
    # Statistics are those of the whole picture, so that a little of it is everywhere.
    assert change[face].mean() < 5 / 255


def test_strength_0_is_the_photo_with_nothing_on_it() -> None:
    assert np.array_equal(painted(ground=1.0, strength=0.0), photo().rgb)


def test_not_given_it_is_faint() -> None:
    assert np.array_equal(painted(), painted(ground=strokes.GROUND))
    assert not np.array_equal(painted(), painted(ground=0.0))
    assert StylizeRequest.of(style="great-wave").ground is None


@pytest.mark.parametrize("style", ["the-scream", "great-wave", "udnie", STARRY], ids=lambda style: Path(style).stem)
def test_a_wall_is_no_pattern_that_repeats(style: str) -> None:
    """One that the light falls on from a side. Without a ground much comes again at some distance of 24 to 64 px."""

    def again(**options: Any) -> float:
        down, across = np.mgrid[:200, :200] / 200
        wall = np.repeat((0.5 + 0.07 * down + 0.03 * across)[:, :, None].astype(np.float32), 3, 2)
        light = painted_light(wall, style, **options)[16:-16, 16:-16]
        light -= light.mean()
        across = np.square(light).mean()
        return max(float((light[:, :-by] * light[:, by:]).mean() / across) for by in range(24, 65))

    assert again(ground=0) > 0.4
    assert again() < 0.4


def test_a_wall_of_one_colour_has_strokes() -> None:
    wall = np.full((96, 128, 3), 0.6, np.float32)
    assert np.ptp(painted_light(wall, "great-wave", ground=0)) == 0
    assert painted_light(wall, "great-wave").std() > 10 / 255


def painted_light(photo: NDArray[np.float32], style: str, **options: Any) -> NDArray[np.float64]:
    with ENGINE.job(Picture(photo), StylizeRequest.of(style=style, engine="torch", **options)) as job:
        list(job.run())
        return luminance(job.result().rgb).astype(np.float64)


def test_frames_of_films_have_none_unless_asked_for() -> None:
    for ground, expected in ((None, 0), (0.4, 0.4)):
        request = StylizeRequest.of(style="great-wave", ground=ground)
        with ENGINE.job(photo(), request, frame=True) as job:
            assert job.ground == expected
            assert job.recipe.request["ground"] == expected


def test_networks_of_others_have_none_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("impasto.stylizer.model.GROUNDED", frozenset())
    assert np.array_equal(painted(), painted(ground=0))


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize(
    "options",
    [{}, {"strength": 0.5}, {"style_scale": 1}, {"style_scale": 1, "strength": 0.5}, {"style_scale": 2}],
    ids=str,
)
def test_bands_and_onnxruntime_have_it_too(options: dict[str, Any]) -> None:
    whole = painted(ground=1.0, **options)
    assert np.abs(whole - painted(**options)).max() > 0.02
    assert np.abs(whole - painted(ground=1.0, tile=32, **options)).max() < 1e-4
    assert np.abs(whole - painted(ground=1.0, engine="light", **options)).max() <= 1 / 255


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("options", [{}, {"style_scale": 1}, {"style_scale": 1.5, "strength": 0.5}], ids=str)
def test_strips_have_it_too(options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyvips", reason="the extra huge (pyvips) is not installed")
    from impasto.stylizer.strip_job import StripJob

    monkeypatch.chdir(tmp_path)
    Image.fromarray(photo().integers(8)).save("photo.png")
    request = StylizeRequest.of(style="great-wave", ground=1.0, precision="float32", tile=32, **options)
    model = ENGINE.torch_model("gallery", precision="float32")
    with StripJob(ENGINE, "photo.png", request, model, Output("out.tif"), None) as job:
        list(job.run())
    with ENGINE.job("photo.png", request) as job:
        list(job.run())
        whole = job.result().integers(8)
    assert np.abs(tifffile.imread("out.tif").astype(int) - whole).max() <= 1
    assert read_recipe("out.tif").request["ground"] == 1


def test_an_optimisation_has_none() -> None:
    with pytest.raises(OptionError, match="`ground` is for networks"):
        ENGINE.job(photo(), StylizeRequest.of(style=STARRY, preset="quick", ground=0.5))
