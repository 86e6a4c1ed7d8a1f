"""The program around the commands: help, version, exit codes, and ``impasto info``."""

from __future__ import annotations

import ast
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import typer
from typer.testing import CliRunner

from impasto.cli import app as app_module
from impasto.cli.app import app, main
from impasto.cli.common import show_error
from impasto.cli.options import Written
from impasto.cli.start import command as start
from impasto.errors import ImpastoError, MissingExtraError, OptionError

PROJECT = Path(__file__).resolve().parents[2]

# A terminal that colours nothing and is wide enough, whatever the tests run in.
PLAIN = {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "120", "FORCE_COLOR": None, "GITHUB_ACTIONS": None}
PLAIN_ALONE = {name: value for name, value in PLAIN.items() if value is not None}
COMMANDS = sorted(str(one.name) for one in [*app.registered_commands, *app.registered_groups])


def run(*arguments: str):
    return CliRunner(env=PLAIN).invoke(app, list(arguments))


def python(code: str, **streams) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in PLAIN} | {"NO_COLOR": "1"}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env=environment, text=True, check=False, timeout=120, **streams
    )


def test_help_names_every_command() -> None:
    result = run("--help")
    assert result.exit_code == 0
    for command in COMMANDS:
        assert re.search(rf"\b{command}\b", result.stdout)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    result = run(command, "-h")
    assert result.exit_code == 0
    assert f"impasto {command}" in result.stdout


def test_help_loads_nothing_heavy() -> None:
    """What makes --help slow is what it imports; seconds on a busy machine prove nothing."""
    code = (
        "import sys\nfrom impasto.cli.app import app\n"
        "try: app(['--help'])\nexcept SystemExit as end: assert not end.code\n"
        "heavy = {'torch', 'numpy', 'PIL', 'scipy', 'matplotlib', 'imagecodecs', 'tifffile', 'safetensors'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    result = python(code, capture_output=True)
    assert (result.returncode, result.stderr.strip()) == (0, "[]")


def test_version() -> None:
    from importlib.metadata import version

    result = run("--version")
    assert (result.exit_code, result.stdout) == (0, f"impasto {version('impasto')}\n")


def test_the_package_runs_as_a_program() -> None:
    """Where the script is not on the path, as after ``pip install --user``."""
    result = subprocess.run(
        [sys.executable, "-m", "impasto", "stylize", "--help"],
        env=os.environ | PLAIN_ALONE,
        text=True,
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert result.returncode == 0
    assert "python -m impasto stylize" in result.stdout


@pytest.mark.parametrize("arguments", [["--bogus"], ["bogus"], ["info", "--bogus"], ["info", "--precision", "x"]])
def test_usage_errors_exit_with_2(arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert arguments[-1] in result.stderr


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--versoin"], "impasto has no option --versoin (did you mean '--version'?): see `impasto --help`"),
        (["sytlize"], "impasto has no command 'sytlize' (did you mean 'stylize'?): see `impasto --help`"),
        (
            ["weights", "fetc"],
            "impasto weights has no command 'fetc' (did you mean 'fetch'?): see `impasto weights --help`",
        ),
        (
            ["stylize", "--sytle", "x"],
            "impasto stylize has no option --sytle (did you mean '--style'?): see `impasto stylize --help`",
        ),
        (
            ["train", "johnson", "--stlye", "x"],
            "impasto train johnson has no option --stlye (did you mean '--style'?): see `impasto train johnson --help`",
        ),
    ],
)
def test_what_is_unknown_is_one_line_with_the_nearest_name(arguments: list[str], line: str) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"error: {line}\n")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["evaluate"], ["impasto evaluate: missing option '--photos'"]),
        (["weights", "fetch"], ["impasto weights fetch: missing argument 'NAME'"]),
        (["stylize", "x", "--size", "abc"], ["impasto stylize: ", "--size", "'abc'", "integer"]),
        (["stylize", "x", "--quality", "god"], ["impasto stylize: ", "--quality", "'god'", "'draft', 'good', 'best'"]),
        (["stylize", "x", "--size"], ["impasto stylize: ", "'--size' requires an argument"]),
        (["info", "extra"], ["impasto info: ", "extra"]),
    ],
)
def test_errors_of_usage_look_like_our_own(arguments: list[str], parts: list[str]) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    for part in parts:
        assert part in result.stderr


@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
def test_no_option_takes_a_number_that_is_none(number: str) -> None:
    """Whatever a command does with its numbers: the rule is that of all commands."""
    tried = 0
    for path, parameter in _parameters(typer.main.get_command(app)):
        if parameter.type_descriptor.annotation is not float or (
            number == "inf" and parameter.name == "max_megapixels"
        ):
            continue
        flag, tried = parameter.opts[0], tried + 1
        result = run(*path, f"{flag}={number}")
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1), (path, flag, result.output)
        assert flag in result.stderr
    assert tried > 50


def test_no_option_takes_an_empty_path() -> None:
    """It would be the folder that one is in."""
    tried = 0
    for path, parameter in _parameters(typer.main.get_command(app)):
        if parameter.type_descriptor.annotation is not Path or parameter.param_type_name != "option":
            continue
        for words in ([f"{parameter.opts[0]}="], [parameter.opts[0], ""]):
            result = run(*path, *words)
            assert (result.exit_code, result.stderr.count("\n")) == (2, 1), (path, words, result.output)
            assert f"{parameter.opts[0]} is empty, need a path" in result.stderr
        tried += 1
    assert tried > 20


def _parameters(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """All parameters of all commands, each with the words before it."""
    for name, one in getattr(command, "commands", {}).items():
        yield from _parameters(one, (*path, name))
    if path:
        yield from ((path, parameter) for parameter in command.params)


def test_help_lists_commands_as_people_need_them() -> None:
    places = [
        run("--help").stdout.index(f" {name} ") for name in ("stylize", "styles", "train", "evaluate", "compress")
    ]
    assert places == sorted(places)
    first, *_, last = re.findall(r"^│ (\w+)  ", run("--help").stdout.partition("Commands")[2], re.MULTILINE)
    assert (first, last) == ("stylize", "compress")


def test_help_without_arguments_is_help() -> None:
    for arguments in ([], ["weights"], ["train"]):
        assert "Usage:" in (result := run(*arguments)).output
        assert "error:" not in result.output


def test_help_fills_the_lines_of_a_narrow_terminal() -> None:
    """Where a docstring breaks its lines says nothing about where a terminal should."""
    result = CliRunner(env=PLAIN | {"COLUMNS": "80"}).invoke(app, ["evaluate", "--help"])
    rows = [row.strip() for row in result.stdout.partition("─ Options")[0].splitlines()]
    inside = [row for row, after in itertools.pairwise(rows) if row and after and not row.startswith("╭")]
    assert len(inside) > 3
    assert all(len(row) > 60 for row in inside)


def raising(error: BaseException) -> typer.Typer:
    """A program like ours with two commands, of which ``fail`` raises ``error``."""
    program = typer.Typer(cls=app_module._Program)

    @program.command()
    def fail() -> None:
        raise error

    @program.command()
    def rest() -> None:
        raise AssertionError("the other command ran")

    return program


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OptionError("--size 0: must be at least 32"), "error: --size 0: must be at least 32\n"),
        (ImpastoError("a\nb   [red]c[/red] " + "long " * 60), f"error: a b [red]c[/red] {'long ' * 59}long\n"),
        (
            MissingExtraError("pillow-heif", "heif"),
            "error: this needs pillow-heif, which is not installed: pip install 'impasto[heif]'\n",
        ),
    ],
)
def test_an_error_of_the_user_is_one_line_and_exit_code_2(error: ImpastoError, line: str) -> None:
    result = CliRunner(env=PLAIN).invoke(raising(error), ["fail"])
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", line)


def test_an_interruption_is_one_line_and_exit_code_130() -> None:
    result = CliRunner(env=PLAIN).invoke(raising(KeyboardInterrupt()), ["fail"])
    assert (result.exit_code, result.stdout, result.stderr) == (130, "", "interrupted\n")


def test_an_interruption_before_a_command_runs_is_quiet(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def interrupted(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("impasto.cli.app.apply_wait_settings", interrupted)
    monkeypatch.setattr("sys.argv", ["impasto", "styles"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert (caught.value.code, capsys.readouterr().err) == (130, "interrupted\n")


@pytest.mark.parametrize("name", ["export", "web", "import", "evaluate", "lab", "compress", "dataset"])
@pytest.mark.skipif(sys.platform == "win32", reason="this system has no SIGTERM")
def test_sigterm_ends_a_command_as_ctrl_c_does(name: str, tmp_path: Path) -> None:
    """What is half written goes."""
    code = (
        "import time\nfrom impasto.cli import app\nfrom impasto.files import atomic_path\n"
        "def work():\n"
        "    with atomic_path('half') as temporary:\n"
        "        temporary.write_text('half')\n"
        "        print('working', flush=True)\n"
        "        time.sleep(100)\n"
        "app.program = lambda *_: work\napp.command()"
    )
    line = [sys.executable, "-c", code, name]
    with subprocess.Popen(line, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "working\n"
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=50)
    assert (process.returncode, told) == (143, "interrupted\n")
    assert [*tmp_path.iterdir()] == []


def test_an_interruption_while_the_command_line_is_loaded_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    class Loading(ModuleType):
        def __getattr__(self, name: str) -> object:
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "impasto.cli.app", Loading("impasto.cli.app"))
    with pytest.raises(SystemExit) as caught:
        start()
    assert caught.value.code == 130


def test_a_fault_of_ours_is_not_hidden() -> None:
    result = CliRunner(env=PLAIN).invoke(raising(ZeroDivisionError()), ["fail"])
    assert isinstance(result.exception, ZeroDivisionError)


def test_the_line_is_red_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    show_error(ImpastoError("no"))
    assert capsys.readouterr().err == "\x1b[31merror: no\x1b[0m\n"


def test_a_reader_that_goes_away_is_met_quietly() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        code = "import sys\nfrom impasto.cli.app import main\nsys.argv[1:] = ['--version']\nmain()"
        result = python(code, stdout=writer, stderr=subprocess.PIPE)
    finally:
        os.close(writer)
    assert (result.returncode, result.stderr) == (1, "")


def test_info_tells_what_is_here() -> None:
    result = run("info", "--json", "--device", "cpu")
    assert result.exit_code == 0
    facts = json.loads(result.stdout)
    assert facts["versions"]["torch"] == torch.__version__
    assert facts["device"] == "cpu"
    assert facts["precision"] in ("float32", "bfloat16")
    assert facts["cores"] >= 1
    assert {"name", "path"} <= facts["weights"][0].keys()
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert facts["extras"].keys() == project["optional-dependencies"].keys() - {"dev", "docs"}


def test_info_for_people_says_the_same_as_for_programs() -> None:
    facts = json.loads(run("info", "--json", "--precision", "float32").stdout)
    shown = " ".join(run("info", "--precision", "float32").stdout.split())
    assert f"{facts['device']}, float32 (float32 was asked for)" in shown
    for name, number in facts["versions"].items():
        assert f"{name} {number}" in shown
    for row in facts["weights"]:
        assert f"{row['name']}: " in shown


def test_info_refuses_a_device_that_is_not_there() -> None:
    result = run("info", "--device", "cuda:99")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: device 'cuda:99' is not there")


def test_messages_show_options_as_the_command_has_them() -> None:
    command = typer.main.get_command(app).commands["stylize"]  # type: ignore[attr-defined]
    written = Written.of_command(command)
    assert written("need `max_memory` 3GB or more") == "need --max-memory 3GB or more"
    assert written("needs `output` or `run`; leave `photo` out") == "needs -o/--output or --run; leave PHOTO out"
    assert written("`impasto styles` lists, `brushes` and `Style` are none") == (
        "`impasto styles` lists, `brushes` and `Style` are none"
    )


def test_the_command_line_is_lean() -> None:
    """No function above 60 lines (docstrings do not count) or with more than 12 parameters."""
    for path in sorted((PROJECT / "src" / "impasto" / "cli").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
                assert (node.end_lineno or 0) - first.lineno < 60, f"{path.name}: {node.name}"
                assert len(node.args.args) + len(node.args.kwonlyargs) <= 12, f"{path.name}: {node.name}"
