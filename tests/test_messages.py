"""The library calls options by their Python names; only the command line adds dashes. Read from the sources."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

SOURCES = Path(__file__).resolve().parents[1] / "src" / "impasto"
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
COMMAND = re.compile(
    r"impasto (?:stylize|train|weights|recipe)(?: (?:--?[a-z-]+|[A-Z_]+|[a-z0-9]+(?:\|[a-z0-9]+)+|\{\}))+"
)


def texts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and text of every string, what an f-string fills in being ``{}``."""
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = (str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
            yield node.lineno, "".join(parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield node.lineno, node.value


def flags(text: str) -> list[str]:
    """Flags outside of whole commands to type."""
    return FLAG.findall(COMMAND.sub("", text))


def test_no_flag_outside_the_command_line() -> None:
    found = [
        f"{path.relative_to(SOURCES)}:{line}: {flag}"
        for path in sorted(SOURCES.rglob("*.py"))
        if path.parts[len(SOURCES.parts)] != "cli"
        for line, text in texts(ast.parse(path.read_text(encoding="utf-8")))
        for flag in flags(text)
    ]
    assert found == []


def test_the_check_sees_what_it_is_for() -> None:
    assert flags("need --max-memory 3GB") == ["--max-memory"]
    assert flags("go on with impasto stylize --resume {} or --force") == ["--force"]
    assert flags("go on with `impasto train --resume {}`") == []
    assert flags("a - b -- c") == []
    assert [text for _, text in texts(ast.parse("f'add --x {y}'"))] == ["add --x {}"]
