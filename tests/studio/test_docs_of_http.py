"""What docs/http.md shows is run against a server."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from impasto.imaging import read
from impasto.studio.limits import Limits

from .studio_samples import photo

ADDRESS = "http://127.0.0.1:8418"
NAMES = ("photo.jpg", "painting.jpg", "waves.jpg", "mask.png")


@pytest.fixture
def page(project: Path, tmp_path: Path) -> str:
    for seed, name in enumerate(NAMES):
        image = photo(seed=seed)
        (image.convert("L") if name == "mask.png" else image).save(tmp_path / name)
    return (project / "docs" / "http.md").read_text("utf-8")


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not here")
def test_the_examples_for_curl_run(page: str, server: str, tmp_path: Path) -> None:
    found = [block for block in blocks(page, "sh") if "curl " in block]
    assert sum(block.count("curl ") for block in found) >= 10
    for block in found:
        assert ADDRESS in block
        script = "set -euo pipefail\n" + block.replace(ADDRESS, server)
        done = subprocess.run(
            ["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, (block, done.stdout, done.stderr)
    assert {path.name for path in tmp_path.iterdir()} == {*NAMES, "painted.png", "painted.jpg", "best.png"}
    for name, size in (("painted.png", (64, 80, 3)), ("painted.jpg", (64, 80, 3)), ("best.png", (64, 80, 3))):
        assert read(tmp_path / name).rgb.shape == size


def test_the_limits_are_those_of_the_program(page: str) -> None:
    table = page.partition("## Limits")[2]
    for field in fields(Limits):
        flag, value = f"`--{field.name.replace('_', '-')}`", "what is free" if field.default is None else field.default
        row = next(line for line in table.splitlines() if flag in line)
        assert (f"{value:g}" if isinstance(value, float) else str(value)) in row.split("|")[2], field.name


def test_the_client_in_python_runs(page: str, server: str, tmp_path: Path) -> None:
    names: dict = {}
    (block,) = blocks(page, "python")
    exec(compile(block, "<client>", "exec"), names)
    told: list[str] = []
    places = tmp_path / "photo.jpg", tmp_path / "painted.png"
    names["paint"](*places, server=server, style="great-wave", strength=0.8, tell=told.append)
    assert told[-1] == "writing: 100%"
    first = read(places[1]).rgb
    names["paint"](*places, server=server, styles=[tmp_path / "waves.jpg"], tell=told.append)
    assert not np.array_equal(read(places[1]).rgb, first)
    for options, part in (({"style": "grate-wave"}, "did you mean"), ({"styles": [__file__]}, "not a picture")):
        with pytest.raises(RuntimeError, match=part):
            names["paint"](*places, server=server, tell=told.append, **options)
    body = block.partition("def paint")[2].strip().splitlines()
    assert len(body) <= 20
