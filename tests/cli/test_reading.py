"""Values on the command line are read as typer reads them, only sooner."""

from __future__ import annotations

import inspect
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, Literal

import pytest
import typer

from impasto.cli.options import given_on
from impasto.cli.reading import read_quickly

KINDS: tuple[Any, ...] = (
    Annotated[int | None, typer.Option("--value", min=1, max=9)],
    Annotated[float | None, typer.Option("--value", min=0)],
    Annotated[float, typer.Option("--value")],
    Annotated[str | None, typer.Option("--value")],
    Annotated[Path | None, typer.Option("--value")],
    Annotated[Literal["max", "average"] | None, typer.Option("--value")],
    Annotated[list[str] | None, typer.Option("--value")],
    Annotated[list[Path] | None, typer.Option("--value")],
    Annotated[bool | None, typer.Option("--value/--no-value")],
)
LINES = [
    *([f"--value={text}"] for text in ("5", "0", "10", "5.0", "1_0", "٣", "-1", "0.5", ".5", "1e2", "nan", "inf", "")),
    *([f"--value={text}"] for text in ("max", "Max", "here", "closed", "nowhere", "a b", "é")),
    *([], ["--value"], ["--no-value"], ["--value=5", "--value=max"], ["--value", "5", "--value", "7"]),
]


def read(kind: Any, arguments: list[str], *, quickly: bool) -> Any:
    """What a command with one option of this kind is given, or what is said against it."""

    def command(**given: Any) -> None: ...

    command.__annotations__ = {"value": kind}
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter("value", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)]
    )
    program = typer.Typer(add_completion=False)
    program.command()(command)
    made = typer.main.get_command(program)
    if quickly:
        read_quickly(made.params)
        read_quickly(made.params)
    try:
        value = made.make_context("command", list(arguments)).params["value"]
    except Exception as error:  # noqa: BLE001  of click, or of the copy that typer brings along
        return type(error), str(error)
    return type(value), [type(one) for one in value] if isinstance(value, list) else None, repr(value)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind)[10:40])
def test_values_are_read_as_typer_reads_them(kind: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("here").write_text("")
    Path("closed").write_text("")
    Path("closed").chmod(stat.S_IWUSR)
    for line in LINES:
        assert read(kind, line, quickly=True) == read(kind, line, quickly=False), line


def test_several_values_are_a_list_of_whichever_typer() -> None:
    source, parameter = SimpleNamespace(name="COMMANDLINE"), SimpleNamespace(name="style")
    ctx: Any = SimpleNamespace(
        command=SimpleNamespace(params=[parameter]), params={"style": ("a", "b")}, get_parameter_source=lambda _: source
    )
    assert given_on(ctx) == {"style": ["a", "b"]}
