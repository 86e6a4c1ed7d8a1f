"""What README and docs show is run: Python as it stands, commands as far as their options are read.

Examples in docstrings are run as well, in every module that has some.
"""

from __future__ import annotations

import doctest
import importlib
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import typer
from PIL import Image

from impasto.cli.app import app
from impasto.networks.shipped import find_model, shipped_models

PROJECT = Path(__file__).resolve().parents[1]
PAGES = [PROJECT / "README.md", *sorted((PROJECT / "docs").rglob("*.md"))]
PICTURES = ("photo.jpg", "other.jpg", "painting.jpg", "waves.jpg", "night.jpg", "kiss.jpg", "mask.png", "scan.tif")
WRONG = {
    "stylise a.jpg": "has no command 'stylise'",
    "stylize a.jpg --sighs 3": "No such option: --sighs",
    "stylize a.jpg --size three": "valid integer",
    "lab gram --no": "No such option: --no",
    "info --json=3": "--json",
}
ENDS = {"<", ">", "|", "&&", ";"}

pytestmark = pytest.mark.usefixtures("one_thread")


def fences(language: str) -> list[Any]:
    """Every fenced block of a language, with its page and line as name."""
    blocks = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for found in re.finditer(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            line = text.count("\n", 0, found.start()) + 1
            blocks.append(pytest.param(found[1], id=f"{page.relative_to(PROJECT).as_posix()}:{line}"))
    return blocks


def commands(block: str) -> list[list[str]]:
    """The arguments of each ``impasto`` in a block for a shell, without comments and redirections."""
    found = []
    for line in block.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while "impasto" in words:
            words = words[words.index("impasto") + 1 :]
            found.append(words[: next((i for i, word in enumerate(words) if word in ENDS), len(words))])
    return found


def read_options(arguments: list[str]) -> None:
    """Read a command line as the program does, without running anything; raises what it would for a wrong one."""
    command: Any = typer.main.get_command(app)
    context, name = None, "impasto"
    while True:
        context = command.make_context(name, list(arguments), parent=context)
        rest = [*getattr(context, "_protected_args", ()), *context.args]
        if not rest or not hasattr(command, "resolve_command"):
            return
        name, command, arguments = command.resolve_command(context, rest)


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with whatever the snippets call by name."""
    for seed, name in enumerate(PICTURES):
        blotches = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), np.uint8)
        image = Image.fromarray(blotches).resize((72, 64), Image.Resampling.BICUBIC)
        image.convert("L" if name.startswith("mask") else "RGB").save(tmp_path / name)
    for folder, name in (("photos", "photo.jpg"), ("paintings", "great-wave.jpg")):
        (tmp_path / folder).mkdir()
        shutil.copy(tmp_path / "painting.jpg", tmp_path / folder / name)
    with av.open(str(tmp_path / "clip.mp4"), "w") as film:
        stream = film.add_stream("libx264", rate=25)
        stream.width, stream.height = 72, 64
        film.mux([*stream.encode(av.VideoFrame(72, 64, "yuv420p")), *stream.encode(None)])
    shutil.copy(find_model("gallery"), tmp_path / "mine.safetensors")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GOMP_SPINCOUNT", "0")  # which a page sets, and which is put back
    return tmp_path


@pytest.mark.skipif(not {"gallery", "universal"} <= set(shipped_models()), reason="the networks are not shipped here")
@pytest.mark.parametrize("block", fences("python"))
def test_python_runs(block: str, pictures: Path) -> None:
    exec(compile(block, "<snippet>", "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize("block", fences("sh"))
def test_commands_are_understood(block: str) -> None:
    for arguments in commands(block):
        read_options(arguments)


def test_a_command_that_is_none_would_be_found() -> None:
    assert commands("torchrun impasto info --json | less  # impasto no\nls; impasto \\\n  styles 'a b' > x") == [
        ["info", "--json"],
        ["styles", "a b"],
    ]
    read_options(["stylize", "photo.jpg", "--size", "64", "-o", "out.jpg"])
    for wrong, told in WRONG.items():
        with pytest.raises(Exception, match=told):
            read_options(shlex.split(wrong))


def test_there_are_snippets_to_run() -> None:
    assert len(fences("python")) >= 3
    assert sum(len(commands(block.values[0])) for block in fences("sh")) >= 20


def with_examples() -> list[str]:
    sources = PROJECT / "src"
    paths = [path for path in sorted(sources.rglob("*.py")) if ">>> " in path.read_text(encoding="utf-8")]
    return [".".join(path.relative_to(sources).with_suffix("").parts).removesuffix(".__init__") for path in paths]


@pytest.mark.parametrize("module", with_examples())
def test_examples_in_docstrings(module: str) -> None:
    found = doctest.testmod(importlib.import_module(module), optionflags=doctest.ELLIPSIS)
    assert found.attempted > 0
    assert found.failed == 0
