"""Painting with onnxruntime alone: the same pictures as torch's, the same errors, and no torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import impasto
from impasto.core.memory import held_memory, release_blocks
from impasto.core.metadata import SHIPPED
from impasto.errors import OptionError, WeightsError
from impasto.export.onnx_file import export_onnx
from impasto.imaging import Picture, as_picture
from impasto.imaging.colour import transfer_luminance
from impasto.light.pieces import join
from impasto.networks.checkpoint import save_model
from impasto.networks.johnson import Johnson, JohnsonConfig
from impasto.stylizer.choice import TORCH_TAKES
from impasto.stylizer.engine import Engine
from impasto.stylizer.job import Output
from impasto.stylizer.recipe import read_recipe
from impasto.stylizer.request import StylizeRequest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
STARRY, WAVE = (str(EXAMPLES / "styles" / f"{name}.jpg") for name in ("starry", "wave"))
SIZE = (67, 93)
STEP = 1 / 255

ENGINE = Engine()


@cache
def photo(size: tuple[int, int] = SIZE, alpha: bool = False) -> Picture:
    picture = as_picture(str(EXAMPLES / "photos" / "chelsea.jpg")).resized(size)
    if not alpha:
        return picture
    shape = np.linspace(-0.5, 1.5, size[0] * size[1], dtype=np.float32).reshape(size).clip(0, 1)
    return Picture(picture.rgb, shape)


def mask(side: str = "left") -> Image.Image:
    rows = np.zeros(SIZE, np.uint8)
    half = rows[:, : SIZE[1] // 2] if side == "left" else rows[:, SIZE[1] // 3 :]
    half[:] = 255
    return Image.fromarray(rows)


def painted(engine: str, source: Any, **options: Any) -> Picture:
    precision = {"precision": "float32"} if engine == "torch" else {}
    with ENGINE.job(source, StylizeRequest.of(engine=engine, **precision, **options)) as job:
        list(job.run())
        return job.result()


def assert_alike(source: Any, on_average: float = 0.02, **options: Any) -> None:
    """At most one step of 255 anywhere, hardly any on average, whatever is asked for."""
    ours, torchs = (painted(engine, source, **options) for engine in ("light", "torch"))
    apart = np.abs(ours.rgb - torchs.rgb)
    assert ours.rgb.shape == torchs.rgb.shape
    assert apart.max() <= STEP
    assert apart.mean() <= on_average * STEP
    assert (ours.alpha is None) == (torchs.alpha is None)
    if ours.alpha is not None and torchs.alpha is not None:
        assert np.abs(ours.alpha - torchs.alpha).max() <= STEP


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"strength": 0.4},
        {"strength": 0.0},
        {"keep_colors": True},
        {"style_scale": 2},
        {"style_scale": 0.5, "strength": 0.7},
        {"style_scale": "100%"},
        {"size": 51},
        {"size": 140, "upscale": True},
        {"mask": "left"},
        {"mask": "left", "keep_colors": True, "strength": 0.6, "style_scale": 1.5},
    ],
    ids=str,
)
@pytest.mark.parametrize("style", ["great-wave", STARRY], ids=["gallery", "universal"])
def test_every_option_paints_as_torch_does(style: str, options: dict[str, Any]) -> None:
    drawn = {"mask": mask(options["mask"])} if "mask" in options else {}
    assert_alike(photo(), style=style, **options | drawn)


@pytest.mark.parametrize(
    "styles", [["great-wave:3", "the-scream:1"], [STARRY, (WAVE, 0.5)]], ids=["gallery", "universal"]
)
@pytest.mark.parametrize("masks", [(), ("left", "right")], ids=["blend", "regions"])
def test_several_styles(styles: list[Any], masks: tuple[str, ...]) -> None:
    assert_alike(photo(), style=styles, mask=[mask(side) for side in masks])


@pytest.mark.parametrize("options", [{}, {"strength": 0.5}, {"style_scale": 2, "strength": 0.5}], ids=str)
@pytest.mark.parametrize("style", ["starry-night", WAVE], ids=["gallery", "universal"])
def test_transparent_photos(style: str, options: dict[str, Any]) -> None:
    assert_alike(photo(alpha=True), style=style, **options)


def test_a_transparent_style() -> None:
    cut = as_picture(STARRY).resized((120, 90))
    alpha = np.zeros((120, 90), np.float32)
    alpha[20:100, 10:70] = 1
    assert_alike(photo(), style=Picture(cut.rgb, alpha))


@pytest.mark.parametrize("size", [(32, 33), (35, 200), (47, 61), (64, 64), (130, 257)])
@pytest.mark.parametrize("style", ["udnie", STARRY], ids=["gallery", "universal"])
def test_any_size(style: str, size: tuple[int, int]) -> None:
    rows = np.random.default_rng(3).random((*size, 3), np.float32)
    assert_alike(Picture(rows), style=style)


@pytest.mark.parametrize("contrast", [0.0, 1e-4, 0.01])
def test_flat_pictures(contrast: float) -> None:
    rows = 0.6 + contrast * np.random.default_rng(4).standard_normal((72, 88, 3)).astype(np.float32)
    # Where there is nothing but one colour, each of the two may round it to either side.
    assert_alike(Picture(rows.clip(0, 1)), style="great-wave", on_average=0.02 if contrast else 0.25)


def test_bit_depth_is_kept() -> None:
    assert painted("light", Picture(photo().rgb, bits=16), style="great-wave").bits == 16


def test_luminance_goes_over_as_tensors_have_it() -> None:
    import torch

    from impasto.core import colour
    from impasto.core.tensors import to_array, to_tensor

    chance = np.random.default_rng(5)
    a, b = (chance.random((40, 50, 3), np.float32) for _ in range(2))
    wanted = to_array(colour.transfer_luminance(to_tensor(a), to_tensor(b)))
    assert np.abs(transfer_luminance(a, b) - wanted).max() < 1e-6
    assert not torch.is_inference_mode_enabled()


# -- what is asked for and what can be done ---------------------------------------------------------------------------


def test_a_model_of_ones_own(tmp_path: Path) -> None:
    network = Johnson(JohnsonConfig(width=8, blocks=1))
    save_model(tmp_path / "mine.safetensors", network, recipe={}, licence="CC0", styles=[{"name": "mine"}])
    export_onnx(tmp_path / "mine.safetensors", tmp_path / "mine.onnx")
    light = painted("light", photo(), model=tmp_path / "mine.onnx")
    torchs = painted("torch", photo(), model=tmp_path / "mine.safetensors")
    assert np.abs(light.rgb - torchs.rgb).max() <= STEP
    assert impasto.load(tmp_path / "mine.onnx").computes_in == "light"
    with pytest.raises(OptionError, match="single style"):
        painted("light", photo(), model=tmp_path / "mine.onnx", style="mine")
    with pytest.raises(OptionError, match=r"`engine` torch reads no \.onnx"):
        painted("torch", photo(), model=tmp_path / "mine.onnx")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"device": "cuda"}, "leave out `device`"),
        ({"precision": "bfloat16"}, "leave out `precision`"),
        ({"tile": 64}, "leave out `tile`"),
        ({"statistics": "sampled"}, "leave out `statistics`"),
        ({"model": "mine.safetensors"}, "impasto export onnx"),
    ],
    ids=str,
)
def test_what_light_cannot_is_told(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(OptionError, match=sentence):
        ENGINE.job(photo(), StylizeRequest.of(style="great-wave", engine="light", **options))


def test_unknown_styles_and_none_at_all() -> None:
    model = ENGINE.light_model("gallery")
    with pytest.raises(OptionError, match="did you mean 'great-wave'"):
        model.stylize(photo(), "grate-wave")
    with pytest.raises(OptionError, match="which style"):
        model.stylize(photo())
    with pytest.raises(OptionError, match="give a name"):
        model.stylize(photo(), photo())
    for model in (ENGINE.light_model("universal"), ENGINE.torch_model("universal")):
        with pytest.raises(OptionError, match=r"^universal paints in the manner of any picture: give one as `style`$"):
            model.stylize(photo())
        with pytest.raises(OptionError, match="takes pictures as styles, and 'great-wave' is a style of the gallery"):
            model.stylize(photo(), "great-wave")


def test_damaged_and_foreign_graphs(tmp_path: Path) -> None:
    import onnx

    (tmp_path / "noise.onnx").write_bytes(b"noise")
    with pytest.raises(WeightsError, match="cannot be read as ONNX"):
        ENGINE.light_model(tmp_path / "noise.onnx")
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    other = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "other", [value], [other])
    opset = [onnx.helper.make_opsetid("", 20)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=10), tmp_path / "other.onnx")
    with pytest.raises(WeightsError, match="need a picture, and at most a style"):
        ENGINE.light_model(tmp_path / "other.onnx")
    with pytest.raises(WeightsError, match="no graph"):
        ENGINE.light_model(tmp_path / "gone.onnx")
    looks = tmp_path / "looks.onnx"
    looks.write_bytes(join(SHIPPED / "universal-style.pieces")[0])
    with pytest.raises(WeightsError, match="looks at style pictures"):
        ENGINE.light_model(looks)


def test_too_little_memory_names_the_size_that_would_do() -> None:
    source = photo((900, 1200))
    ENGINE.light_model("gallery")
    release_blocks()  # or what tests before this one have left counts as held, and is free then
    limit = held_memory() + (80 << 20)
    request = StylizeRequest.of(style="great-wave", engine="light", max_memory=limit)
    with ENGINE.job(source, request) as job, pytest.raises(OptionError, match=r"choose a `size` of \d+"):
        list(job.run())


def test_what_does_not_fit_is_left_to_torch() -> None:
    """Where nothing is said of the engine; in a process of its own, where torch is not loaded yet."""
    code = (
        "import sys\nfrom impasto.core.memory import held_memory\nfrom impasto.stylizer.engine import Engine\n"
        "from impasto.stylizer.request import StylizeRequest\nimport numpy as np\n"
        "rows = np.zeros((1500, 2000, 3), np.uint8)\nengine = Engine(max_memory=held_memory() + (80 << 20))\n"
        "small = engine.job(rows[:40, :40], StylizeRequest.of(style='great-wave'))\n"
        "large = engine.job(rows, StylizeRequest.of(style='great-wave'))\n"
        "print(small.computes_in, large.computes_in)"
    )
    assert run(code).split() == ["light", "torch"]


@pytest.mark.parametrize("pictures", [1, 1000])
def test_too_little_for_torch_names_what_onnxruntime_needs_and_that_does(pictures: int) -> None:
    """In a process of its own, which does not load torch for it, however many pictures there are."""
    code = (
        "import re, sys\nfrom impasto.core.memory import held_memory\nfrom impasto.errors import OptionError\n"
        "from impasto.stylizer.engine import Engine\nfrom impasto.stylizer.request import StylizeRequest\n"
        f"import numpy as np\nrows = np.zeros((320, 320, 3), np.uint8)\nengine = Engine()\n"
        f"engine.pictures = {pictures}\n"
        "def paint(limit):\n"
        "    request = StylizeRequest.of(style='great-wave', max_memory=limit)\n"
        "    with engine.job(rows, request) as job:\n"
        "        list(job.run())\n"
        "try:\n"
        "    paint('30MB')\n"
        "except OptionError as error:\n"
        "    print(error, file=sys.stderr)\n"
        "    assert 'torch' not in str(error)\n"
        "    need = re.search(r'need `max_memory` (\\d+MB)', str(error))[1]\n"
        "paint(need)\n"
        "print(need, 'torch' in sys.modules)"
    )
    need, loaded = run(code).split()
    assert int(need.removesuffix("MB")) < 200
    assert loaded == "False"


def test_torch_is_no_remedy_where_it_would_not_do() -> None:
    request = StylizeRequest.of(style="great-wave", engine="light", max_memory=held_memory() + (80 << 20))
    large = request.with_changes(max_memory=TORCH_TAKES + held_memory())
    with ENGINE.job(photo((3000, 3000)), large) as job, pytest.raises(OptionError, match="or leave out `engine`"):
        job.plan()
    with ENGINE.job(photo((320, 320)), request.with_changes(max_memory="30MB")) as job:
        with pytest.raises(OptionError, match="need `max_memory`") as refused:
            job.plan()
        assert "torch" not in str(refused.value)
        assert "may have 30 MB" in str(refused.value)


def test_the_recipe_says_what_computed_it_and_brings_it_again(tmp_path: Path) -> None:
    for engine in ("light", "torch"):
        out = tmp_path / f"{engine}.png"
        request = StylizeRequest.of(style="great-wave", engine=engine, precision="float32", strength=0.8)
        with ENGINE.job(photo(), request, output=Output(str(out))) as job:
            list(job.run())
        recipe = read_recipe(out)
        assert recipe.request["engine"] == engine
        assert ("onnxruntime" in recipe.made_by) == (engine == "light")
        with ENGINE.job(photo(), recipe.to_request()) as again:
            list(again.run())
            assert recipe.differences(again) == ()
            assert np.array_equal(again.result().integers(8), as_picture(str(out)).integers(8))


def test_older_recipes_are_painted_by_torch_which_made_them(tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    with ENGINE.job(photo(), StylizeRequest.of(style="great-wave", engine="torch"), output=Output(str(out))) as job:
        list(job.run())
    recipe = read_recipe(out)
    del recipe.request["engine"]
    assert recipe.to_request().engine == "torch"


# -- without torch ----------------------------------------------------------------------------------------------------

NO_TORCH = (
    "import sys\n"
    "class Gone:\n"
    "    def find_spec(self, name, path=None, target=None):\n"
    "        if name.split('.')[0] in {'torch', 'safetensors'}:\n"
    "            raise ModuleNotFoundError(name, name=name)\n"
    "import importlib.util\n"
    "real = importlib.util.find_spec\n"
    "importlib.util.find_spec = lambda name, package=None: None if name == 'torch' else real(name, package)\n"
    "sys.meta_path.insert(0, Gone())\n"
)


def run(code: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def command(*arguments: str, code: int = 0) -> str:
    """``impasto`` where torch is not installed; gives what it tells."""
    text = f"{NO_TORCH}from impasto.cli.app import main\nsys.argv[1:] = {list(arguments)!r}\nmain()"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def test_the_command_line_without_torch(tmp_path: Path) -> None:
    chelsea = str(EXAMPLES / "photos" / "chelsea.jpg")
    out = str(tmp_path / "out.png")
    assert "by gallery" in command("stylize", chelsea, "-s", "great-wave", "--size", "64", "-o", out)
    assert json.loads(command("recipe", out, "--json"))["request"]["engine"] == "light"
    command("stylize", chelsea, "-s", STARRY, "--size", "64", "--keep-colors", "-o", str(tmp_path / "any.jpg"))
    command(
        "stylize", str(EXAMPLES / "photos"), "-s", "the-kiss:0.5", "-s", "udnie", "--size", "48", "-o", str(tmp_path)
    )
    assert len(list(tmp_path.glob("*.jpg"))) > 3
    command("stylize", chelsea, "--recipe", out, "-o", str(tmp_path / "again.png"))
    told = command("stylize", chelsea, "-s", STARRY, "--quality", "good", "-o", str(tmp_path / "good.png"), code=2)
    assert "pip install 'impasto[torch]'" in told
    told = command("stylize", chelsea, "-s", "great-wave", "--tile", "64", "-o", str(tmp_path / "t.png"), code=2)
    assert "leave out --tile" in told
    assert "impasto[torch]" in told
    told = command("stylize", chelsea, "-s", "great-wave", "--engine", "torch", "-o", str(tmp_path / "t.png"), code=2)
    assert "--engine torch needs torch, which is not installed: pip install 'impasto[torch]'" in told
    told = command("stylize", chelsea, "--model", "nope.safetensors", "-o", str(tmp_path / "t.png"), code=2)
    assert "no trained network and no file is called 'nope.safetensors'" in told
    assert "great-wave" in command("styles")


def test_an_engine_that_is_not_there_is_told_in_python() -> None:
    code = (
        f"{NO_TORCH}import impasto\n"
        "for ask in (lambda: impasto.load('gallery', engine='torch'), lambda: impasto.load('nope')):\n"
        "    try:\n        ask()\n    except impasto.ImpastoError as error:\n        print(error)\n"
    )
    first, second = run(code).splitlines()
    assert "needs torch, which is not installed" in first
    assert second.startswith("no trained network and no file is called 'nope'")


def test_python_without_torch() -> None:
    code = (
        f"{NO_TORCH}import impasto\nmodel = impasto.load('gallery')\n"
        f"image = model.stylize({str(EXAMPLES / 'photos' / 'chelsea.jpg')!r}, 'great-wave', size=48)\n"
        f"other = impasto.stylize(image, {STARRY!r})\n"
        "print(image.size, other.size, len(model.styles), 'torch' in sys.modules)"
    )
    assert run(code).strip() == "(48, 32) (48, 32) 26 False"


@pytest.mark.parametrize(("before", "chosen"), [("", "light light"), ("import torch", "torch torch")])
def test_an_engine_keeps_to_its_first_choice(before: str, chosen: str) -> None:
    """Or else what an optimisation loads in between would change the next picture of a network by a step."""
    told = run(
        f"{before}\nfrom impasto.stylizer.engine import Engine\nfrom impasto.stylizer.request import StylizeRequest\n"
        "import numpy as np\n"
        "engine, request = Engine(), StylizeRequest(style='great-wave')\n"
        "for _ in range(2):\n"
        "    with engine.job(np.zeros((48, 48, 3), np.uint8), request) as job:\n"
        "        print(job.computes_in)\n"
        "    import torch\n"
    )
    assert told.split() == chosen.split()


def test_the_program_ends_at_once_with_its_output_and_its_code(tmp_path: Path) -> None:
    def end(*arguments: str) -> tuple[int, str, str]:
        code = f"import sys\nfrom impasto.cli.app import command\nsys.argv[1:] = {list(arguments)!r}\ncommand()"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    chelsea, out = str(EXAMPLES / "photos" / "chelsea.jpg"), tmp_path / "out.png"
    code, _, told = end("stylize", chelsea, "-s", "great-wave", "--size", "48", "-o", str(out))
    assert (code, told) == (0, f"{out}: 48x32 px, by gallery\n")
    assert as_picture(str(out)).width == 48
    assert end("stylize", "gone.jpg", "-s", "great-wave", "-o", str(tmp_path / "x.png"))[0] == 2
    code, listed, _ = end("styles")
    assert code == 0
    assert "woman-with-hat" in listed  # the last of them


def test_onnxruntime_tells_nobody_and_prints_nothing(tmp_path: Path) -> None:
    chelsea, out = str(EXAMPLES / "photos" / "chelsea.jpg"), str(tmp_path / "out.png")
    arguments = [sys.executable, "-m", "impasto", "stylize", chelsea, "-s", "great-wave", "--size", "64", "-o", out]
    homeless = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")} | {
        "HOME": "/dev/null"
    }
    homeless.pop("ORT_DISABLE_TELEMETRY", None)
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, env=homeless)
    assert (done.returncode, done.stderr) == (0, f"{out}: 64x43 px, by gallery\n")


def test_onnxruntime_of_the_program_around_is_left_as_it_is() -> None:
    text = "import os, onnxruntime\nfrom impasto.light.graphs import load_onnxruntime\n"
    text += "assert load_onnxruntime() is onnxruntime\nprint(os.environ.get('ORT_DISABLE_TELEMETRY'))"
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stdout) == (0, "None\n"), done.stderr


def test_sessions_are_made_in_one_place() -> None:
    sources = Path(impasto.__file__).parent
    found = [path for path in sources.rglob("*.py") if "import onnxruntime" in path.read_text("utf-8")]
    assert found == [sources / "light" / "graphs.py"]
