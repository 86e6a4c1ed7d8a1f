"""``scripts/``: when they install, what they ask pip for, and what they say when they cannot.

They run as they are, in a copy of the project whose ``.venv`` has a stand-in for pip and for the program.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from impasto.stylizer.route import gallery_styles

PROJECT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="the scripts need bash, which is not here")


class Clone:
    """A small copy of the project, with a record of what its scripts ran."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.log = root / "log"
        for name in ("pyproject.toml", "constraints.txt", "README.md", "LICENSE", "NOTICE"):
            shutil.copy(PROJECT / name, root / name)
        shutil.copytree(PROJECT / "scripts", root / "scripts")
        shutil.copytree(PROJECT / ".ci", root / ".ci")
        (root / "src").mkdir()
        (root / "src" / "module.py").write_text("x = 1\n")

    def make_venv(self) -> None:
        self.executable(
            ".venv/bin/python",
            'case "$*" in\n'
            f'  "-m pip install"*) echo "pip $*" >>"{self.log}"; exit "${{PIP_EXIT:-0}}" ;;\n'
            f'  "-m ruff"*|"-m mypy"*|"-m pytest"*|"-m mkdocs"*) echo "tool $*" >>"{self.log}" ;;\n'
            f'  *) exec "{sys.executable}" "$@" ;;\n'
            "esac",
        )
        self.executable(".venv/bin/impasto", f'echo "impasto $*" >>"{self.log}"')
        self.executable("scripts/package", f'echo "tool package $*" >>"{self.log}"')

    def executable(self, name: str, body: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/usr/bin/env bash\n{body}\n")
        path.chmod(0o755)

    def run(self, script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a script from another folder and without stdin."""
        self.log.write_text("")
        return subprocess.run(
            [self.root / script, *arguments],
            cwd=self.root.parent,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def ran(self, first_word: str) -> list[str]:
        return [line for line in self.log.read_text().splitlines() if line.split()[0] == first_word]


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    root = tmp_path / "a clone"  # a space in the path, as people have
    root.mkdir()
    made = Clone(root)
    made.make_venv()
    return made


def test_the_demo_installs_once_and_says_where_the_picture_is(clone: Clone) -> None:
    first = clone.run("scripts/demo")
    assert first.returncode == 0, first.stderr
    assert clone.ran("pip") == ["pip -m pip install --quiet --quiet -c constraints.txt ."]
    assert first.stdout == f"The picture is {clone.root.resolve() / 'out' / 'demo.jpg'}\n"
    (painting,) = clone.ran("impasto")
    assert painting.startswith("impasto stylize examples/photos/")
    assert painting.endswith("--style great-wave --force -o out/demo.jpg")

    assert clone.run("scripts/demo").returncode == 0
    assert (clone.ran("pip"), len(clone.ran("impasto"))) == ([], 1)


def test_the_demo_uses_a_photo_and_a_style_that_are_here(clone: Clone) -> None:
    clone.run("scripts/demo")
    words = clone.ran("impasto")[0].split()
    assert (PROJECT / words[2]).is_file()
    assert words[words.index("--style") + 1] in {record.name for record in gallery_styles()}


@pytest.mark.parametrize("changed", ["src/module.py", "src/new.py", "pyproject.toml", "constraints.txt"])
def test_the_demo_installs_again_after_a_change(clone: Clone, changed: str) -> None:
    clone.run("scripts/demo")
    with (clone.root / changed).open("a") as file:
        file.write("# changed\n")
    clone.run("scripts/demo")
    assert len(clone.ran("pip")) == 1


def test_the_tests_install_in_place_and_run_every_tool(clone: Clone) -> None:
    result = clone.run(".ci/run", "-k", "imports")
    assert result.returncode == 0, result.stderr
    assert clone.ran("pip") == ["pip -m pip install --quiet --quiet -c constraints.txt -e .[dev]"]
    assert clone.ran("tool") == [
        "tool -m ruff check .",
        "tool -m ruff format --check .",
        "tool -m mypy --strict src",
        "tool -m pytest -ra -W error -n auto --maxprocesses 4 --dist worksteal -k imports",
    ]
    clone.run(".ci/run")
    assert clone.ran("tool")[3:] == [
        "tool -m pytest -ra -W error -n auto --maxprocesses 4 --dist worksteal",
        "tool -m mkdocs build --quiet --strict",
        "tool package ",
    ]
    (clone.root / "src" / "module.py").write_text("x = 2\n")
    clone.run("scripts/test")
    assert clone.ran("pip") == []


def test_an_installation_in_place_serves_the_demo_but_not_the_reverse(clone: Clone) -> None:
    clone.run("scripts/test")
    clone.run("scripts/demo")
    assert clone.ran("pip") == []
    (clone.root / "constraints.txt").write_text("torch==2.13.0\n# changed\n")
    clone.run("scripts/demo")
    clone.run("scripts/test")
    assert clone.ran("pip") == ["pip -m pip install --quiet --quiet -c constraints.txt -e .[dev]"]


def test_a_failed_installation_stops_and_is_tried_again(clone: Clone) -> None:
    assert clone.run("scripts/demo", PIP_EXIT="1").returncode == 1
    assert clone.ran("impasto") == []
    clone.run("scripts/demo")
    assert len(clone.ran("pip")) == 1


def test_a_broken_venv_is_left_to_its_owner(clone: Clone) -> None:
    (clone.root / ".venv/bin/python").unlink()
    result = clone.run("scripts/test")
    assert result.returncode == 2
    assert result.stderr == "error: .venv has no working Python 3.11 or newer: remove .venv and run this again\n"


def test_without_a_python_the_message_says_what_to_do(clone: Clone, tmp_path: Path) -> None:
    shutil.rmtree(clone.root / ".venv")
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("bash", "env", "dirname"):
        (tools / tool).symlink_to(str(shutil.which(tool)))
    result = clone.run("scripts/demo", PATH=str(tools), PYTHON="")
    assert result.returncode == 2
    assert result.stderr.startswith("error: no Python 3.11 or newer found: install one, or name it as in PYTHON=")
    assert not (clone.root / ".venv").exists()
