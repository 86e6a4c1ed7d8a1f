"""The tables of options in docs/painting.md are those of the program; run as a script, this writes them anew."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from impasto.cli.options import NOT_HERE, flags
from impasto.cli.stylize import FILES
from impasto.stylizer.request import OutputOptions, StylizeRequest

PAGE = Path(__file__).resolve().parents[1] / "docs" / "painting.md"
FOR = {("network", "optimize"): "both", ("network",): "networks", ("optimize",): "optimisation"}


def options_table() -> str:
    """Every field of a request, by group."""
    groups: dict[str, list[str]] = {}
    for kind in (StylizeRequest, OutputOptions):
        for name, field in kind.model_fields.items():
            facts: dict[str, Any] = field.json_schema_extra
            option = f"`{name}` (Python)" if name in NOT_HERE else shown(name)
            default = "" if field.default in (None, False, (), {}) else f"`{number(field.default)}`"
            row = (option, value_of(field.annotation, facts["metavar"]), default, FOR[kind.obeyed_by(name)])
            groups.setdefault(facts["group"], []).append(line(*row, field.description))
    return "\n\n".join(
        "\n".join([f"### {group}", "", line("option", "value", "default", "for", ""), "|---|---|---|---|---|", *rows])
        for group, rows in groups.items()
    )


def files_table() -> str:
    """Every option of the command line that is no field."""
    rows = []
    for name, annotation in FILES.items():
        (facts,) = annotation.__metadata__
        rows.append(line(shown(name), value_of(annotation.__origin__, facts.metavar), facts.help))
    return "\n".join([line("option", "value", ""), "|---|---|---|", *rows])


def shown(name: str) -> str:
    return ", ".join(f"`{flag}`" for flag in flags(name))


def number(value: Any) -> Any:
    return f"{value:g}" if isinstance(value, float) else value


def value_of(annotation: Any, metavar: str | None) -> str:
    if metavar and metavar != "bool":
        return f"`{metavar}`".replace("|", "\\|")
    choices = re.findall(r"'(\w[\w-]*)'", str(annotation))
    return ", ".join(f"`{choice}`" for choice in choices)


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
    for kind in (StylizeRequest, OutputOptions):
        for name in kind.model_fields:
            assert f"`{name}`" in page or f"`--{name.replace('_', '-')}`" in page


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text("utf-8")), "utf-8")
