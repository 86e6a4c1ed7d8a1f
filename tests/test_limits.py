"""How long a function and its list of parameters may be, and who may ask what kind of network something is."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCES = Path(__file__).resolve().parents[1] / "src"
MOST_LINES, MOST_PARAMETERS = 60, 12
# Every option of a request is a parameter there, which another test holds.
LONG_LISTS = {"impasto/stylizer/api.py stylize"}
NETWORKS = {
    "Johnson",
    "MultiStyle",
    "Brisk",
    "AdaIN",
    "Universal",
    "StyledNetwork",
    "StagedNetwork",
    "EncodedNetwork",
    "JohnsonLayout",
}
REGISTRY = "impasto/networks/registry.py"

Function = ast.FunctionDef | ast.AsyncFunctionDef


def parsed() -> dict[str, ast.Module]:
    """Path from the sources -> file."""
    paths = {path.relative_to(SOURCES).as_posix(): path for path in sorted(SOURCES.rglob("*.py"))}
    return {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in paths.items()}


def functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def span(node: ast.AST) -> set[int]:
    return set(range(node.lineno, node.end_lineno + 1))


def lines(function: Function) -> int:
    """Its length without its docstring and without the inner lines of literal tables."""
    counted = span(function)
    if ast.get_docstring(function) is not None:
        counted -= span(function.body[0])
    for node in ast.walk(function):
        if isinstance(node, ast.Dict | ast.List | ast.Tuple | ast.Set) and is_table(node):
            counted -= span(node)
    return len(counted)


def is_table(node: ast.AST) -> bool:
    """Whether a literal holds values alone: names and constants, no calls."""
    calls = ast.Call | ast.Lambda | ast.ListComp | ast.DictComp | ast.SetComp | ast.GeneratorExp
    return not any(isinstance(inner, calls) for inner in ast.walk(node))


def parameters(function: Function) -> int:
    of = function.args
    return len([*of.posonlyargs, *of.args, *of.kwonlyargs]) + (of.vararg is not None) + (of.kwarg is not None)


def asked_kinds(tree: ast.AST) -> Iterator[str]:
    """The names of classes that ``isinstance`` is asked for."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "isinstance":
            for inner in ast.walk(node.args[1]):
                if isinstance(inner, ast.Name):
                    yield inner.id
                elif isinstance(inner, ast.Attribute):
                    yield inner.attr


@pytest.fixture(scope="module")
def package() -> dict[str, ast.Module]:
    found = parsed()
    assert REGISTRY in found
    return found


def test_no_function_is_too_long(package: dict[str, ast.Module]) -> None:
    found = {f"{name} {one.name}": lines(one) for name, tree in package.items() for one in functions(tree)}
    assert {name: length for name, length in found.items() if length > MOST_LINES} == {}


def test_no_list_of_parameters_is_too_long(package: dict[str, ast.Module]) -> None:
    found = {f"{name} {one.name}": parameters(one) for name, tree in package.items() for one in functions(tree)}
    assert {name for name, count in found.items() if count > MOST_PARAMETERS} == LONG_LISTS


def test_only_the_registry_asks_what_kind_of_network_it_is(package: dict[str, ast.Module]) -> None:
    defined = {
        node.name
        for name, tree in package.items()
        if name.startswith("impasto/networks/")
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    assert defined >= NETWORKS
    askers = {name for name, tree in package.items() if NETWORKS & set(asked_kinds(tree))}
    assert askers <= {REGISTRY}


def test_what_is_counted() -> None:
    text = 'def f(a, /, b, *c, d=1, **e):\n    """Two\n    lines."""\n    x = [\n        1,\n    ]\n'
    (function,) = functions(ast.parse(text))
    assert parameters(function) == 5
    assert lines(function) == 1
    (function,) = functions(ast.parse("def f():\n    x = [\n        g(),\n    ]\n"))
    assert lines(function) == 4
    assert set(asked_kinds(ast.parse("isinstance(x, Brisk | nets.AdaIN)"))) >= {"Brisk", "AdaIN"}
