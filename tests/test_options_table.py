"""The tables of options in docs/painting.md are those of the program; run as a script, this writes them anew."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import typer

from impasto import stylize
from impasto.cli.app import app
from impasto.stylizer.request import OutputOptions, StylizeRequest

PAGE = Path(__file__).resolve().parents[1] / "docs" / "painting.md"
FOR = {("network", "optimize"): "both", ("network",): "networks", ("optimize",): "optimisation"}
FIELDS = {**StylizeRequest.options, **OutputOptions.options}
ARGUMENTS = {"photo", "help"}


def command_options() -> dict[str, Any]:
    """The options of ``impasto stylize`` by their Python names."""
    command: Any = typer.main.get_command(app)
    return {found.name: found for found in command.commands["stylize"].params if found.name not in ARGUMENTS}


def options_table() -> str:
    """Every field of a request, by group."""
    on_command, groups = command_options(), {}
    for name, field in FIELDS.items():
        option = on_command.get(name)
        row = (
            shown(option) if option else f"`{name}` (Python)",
            value_of(field.metavar, field.choices),
            default_of(field.default),
            FOR[field.obeyed_by],
            option.help if option else field.help,
        )
        groups.setdefault(field.group, []).append(line(*row))
    return "\n\n".join(
        "\n".join([f"### {group}", "", line("option", "value", "default", "for", ""), "|---|---|---|---|---|", *rows])
        for group, rows in groups.items()
    )


def files_table() -> str:
    """Every option of the command line that is no field."""
    others = [option for name, option in command_options().items() if name not in FIELDS]
    rows = [line(shown(option), value_of(option.metavar), option.help) for option in others]
    return "\n".join([line("option", "value", ""), "|---|---|---|", *rows])


def shown(option: Any) -> str:
    return ", ".join(f"`{flag}`" for flag in option.opts)


def value_of(metavar: str | None, choices: tuple[str, ...] = ()) -> str:
    if metavar:
        return f"`{metavar}`".replace("|", "\\|")
    return ", ".join(f"`{choice}`" for choice in choices)


def default_of(value: Any) -> str:
    if value in (None, False, (), {}):
        return ""
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def with_tables(page: str) -> str:
    for name, table in (("options", options_table()), ("files", files_table())):
        begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
        before, _, rest = page.partition(begin)
        page = f"{before}{begin}{table}\n{end}{rest.partition(end)[2]}"
    return page


def test_the_page_has_every_option_as_the_program_has_it() -> None:
    page = PAGE.read_text("utf-8")
    assert with_tables(page) == page, "write the tables anew: python tests/test_options_table.py"
    for name in FIELDS:
        assert f"`{name}`" in page or f"`--{name.replace('_', '-')}`" in page


def test_the_call_has_an_argument_for_every_option() -> None:
    arguments = inspect.signature(stylize).parameters
    for name in StylizeRequest.options.keys() - {"settings"}:
        assert name in arguments, name
        assert arguments[name].default is None, f"{name}: the default is told in the request alone"


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text("utf-8")), "utf-8")
