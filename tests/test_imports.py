"""The one-way order of imports, read from the sources without running them.

``errors, fields, types <- files <- imaging, core <- networks, optimize, tiling <- stylizer, light <- training,
evaluation, lab, export, video, batch, bulk <- studio, cli``. Torch is for core and what follows: imaging knows none.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
SOURCES = PROJECT / "src"

LEVELS = [
    {"errors", "fields", "types"},
    {"files"},
    {"imaging", "core"},
    {"networks", "optimize", "tiling"},
    {"stylizer", "light"},
    {"training", "evaluation", "lab", "export", "video", "batch", "bulk"},
    {"studio", "cli"},
    {"__main__"},
]
LEVEL = {part: number for number, parts in enumerate(LEVELS) for part in parts}
APART = {("imaging", "core"), ("core", "imaging")}  # on one level, and strangers to each other
TORCH = {"torch", "safetensors", "filelock"}  # what these compute with: whatever calls them asks for the extra before
WITH_TORCH = {"core", "networks", "optimize", "tiling", "stylizer", "training", "evaluation", "lab", "export"}
WEB = {
    "fastapi",
    "pydantic",
    "starlette",
    "uvicorn",
    "python_multipart",
    "prometheus_client",
}  # so do these with the extra studio
WITH_WEB = {f"impasto.studio.{name}" for name in ("app", "form", "guard", "metrics", "server", "views")}
BROUGHT = {"starlette"}  # by fastapi, whose own types these are
# Where they differ from the distribution's name.
MODULE_OF = {"pillow": "PIL", "pillow-heif": "pillow_heif", "opencv-python-headless": "cv2"}


def modules(sources: Path) -> dict[str, ast.Module]:
    """Dotted name -> parsed file, for every module of the package."""
    found = {}
    for path in sorted(sources.rglob("*.py")):
        parts = path.relative_to(sources).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = WithoutTypes().visit(ast.parse(path.read_text(encoding="utf-8"), str(path)))
    return found


def imports(module: str, tree: ast.AST, known: dict[str, ast.Module]) -> Iterator[str]:
    """Dotted names that ``tree`` imports, wherever in the file; a submodule counts, not the name within it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: write imports in full, not from '{'.' * node.level}'"
            for alias in node.names:
                deeper = f"{node.module}.{alias.name}"
                yield deeper if deeper in known else str(node.module)


class WithoutTypes(ast.NodeTransformer):
    """Leaves out what is for type checkers alone."""

    def visit_If(self, node: ast.If) -> ast.AST | None:
        return None if "TYPE_CHECKING" in ast.unparse(node.test) else self.generic_visit(node)


def at_import_time(tree: ast.Module) -> ast.Module:
    """The statements that run when the module is imported: no function bodies."""

    class Pruner(WithoutTypes):
        def visit_FunctionDef(self, node: ast.FunctionDef) -> None: ...
        def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None: ...

    return Pruner().visit(ast.parse(ast.unparse(tree)))


def wrong_way(known: dict[str, ast.Module]) -> list[str]:
    faults = []
    for module, tree in known.items():
        part = [*module.split("."), ""][1]
        if not part:
            continue  # the root re-exports what it likes
        if part not in LEVEL:
            faults.append(f"{module} has no place in the order")
            continue
        for target in imports(module, tree, known):
            root, _, rest = target.partition(".")
            other = rest.split(".")[0]
            if root != "impasto" or other == part:
                continue
            if not other:
                faults.append(f"{module} imports the package root")
            elif LEVEL.get(other, len(LEVELS)) > LEVEL[part] or (part, other) in APART:
                faults.append(f"{module} imports {target}")
    return faults


def cycle(known: dict[str, ast.Module]) -> list[str]:
    """A chain of modules, each importing the next, that ends where it began; empty if there is none."""
    edges = {
        module: {target for target in imports(module, tree, known) if target in known} - {module, "impasto"}
        for module, tree in known.items()
        if module != "impasto"
    }
    done: set[str] = set()

    def walk(module: str, chain: list[str]) -> list[str]:
        if module in chain:
            return [*chain[chain.index(module) :], module]
        if module not in done:
            for target in sorted(edges[module]):
                if found := walk(target, [*chain, module]):
                    return found
            done.add(module)
        return []

    return next((found for module in sorted(edges) if (found := walk(module, []))), [])


def distributions(requirements: list[str]) -> set[str]:
    names = {re.match(r"[\w.-]+", requirement).group().lower() for requirement in requirements}
    return {MODULE_OF.get(name, name.replace("-", "_")) for name in names}


def optional_at_import_time(known: dict[str, ast.Module], required: set[str]) -> list[str]:
    allowed = required | set(sys.stdlib_module_names) | {"impasto"}
    return [
        f"{module} imports {target} at its top"
        for module, tree in known.items()
        for target in imports(module, at_import_time(tree), known)
        if target.split(".")[0]
        not in allowed
        | (TORCH if [*module.split("."), ""][1] in WITH_TORCH else set())
        | (WEB if module in WITH_WEB else set())
    ]


def prints_and_exits(known: dict[str, ast.Module]) -> list[str]:
    banned = {"print", "exit", "quit", "sys.exit", "SystemExit", "os._exit"}
    return [
        f"{module}:{node.lineno} calls {ast.unparse(node.func)}"
        for module, tree in known.items()
        if not module.startswith("impasto.cli")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in banned
    ]


@pytest.fixture(scope="module")
def package() -> dict[str, ast.Module]:
    found = modules(SOURCES)
    assert {"impasto", "impasto.errors", "impasto.cli.app"} <= found.keys()
    return found


@pytest.fixture(scope="module")
def metadata() -> dict:
    return tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_imports_point_one_way(package) -> None:
    assert wrong_way(package) == []


def test_no_cycles(package) -> None:
    assert cycle(package) == []


def test_optional_libraries_load_late(package, metadata) -> None:
    assert optional_at_import_time(package, distributions(metadata["dependencies"])) == []


def test_every_library_is_declared(package, metadata) -> None:
    extras = [name for extra, names in metadata["optional-dependencies"].items() if extra != "dev" for name in names]
    declared = distributions(metadata["dependencies"]) | distributions(extras)
    used = {target.split(".")[0] for module, tree in package.items() for target in imports(module, tree, package)}
    assert used - declared - BROUGHT - set(sys.stdlib_module_names) - {"impasto"} == set()


def asked_for(known: dict[str, ast.Module]) -> Iterator[tuple[str, str, str]]:
    """Module, library and extra of every call of `require` and `load_library`, and of what is kept for one."""
    for module, tree in known.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("require", "load_library"):
                words = node.args
            elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_NEEDED":
                words = node.value.elts
            else:
                continue
            given = [word.value for word in words if isinstance(word, ast.Constant)]
            if len(given) >= 2:
                yield from ((module, library.split(".")[0], given[1]) for library in given[0].split())


def brought_by(extra: str, extras: dict[str, list[str]]) -> set[str]:
    """The modules that an extra installs, with those of other extras that it names."""
    own = [name for name in extras[extra] if not name.startswith("impasto[")]
    others = [re.match(r"impasto\[(.*)\]", name).group(1) for name in extras[extra] if name.startswith("impasto[")]
    return distributions(own).union(*(brought_by(one, extras) for group in others for one in group.split(",")))


def test_an_extra_that_is_named_brings_the_library(package, metadata) -> None:
    extras, found = metadata["optional-dependencies"], list(asked_for(package))
    assert len(found) >= 20
    assert [row for row in found if row[1] not in brought_by(row[2], extras) | BROUGHT] == []


def of_torch(known: dict[str, ast.Module], part: str) -> list[str]:
    """Imports of torch, wherever in a part of the package, or in what that imports of the others."""
    reached, open_ends = set(), [module for module in known if module.split(".")[1:2] == [part]]
    while open_ends:
        module = open_ends.pop()
        if module not in reached:
            reached.add(module)
            open_ends += [target for target in imports(module, known[module], known) if target in known]
    return [
        f"{module} imports {target}"
        for module in sorted(reached)
        for target in imports(module, known[module], known)
        if target.split(".")[0] == "torch"
    ]


def test_the_command_line_loads_no_extra() -> None:
    """Nor does a request; in a process that has none of them."""
    hidden = [
        "torch",
        "safetensors",
        "imagecodecs",
        "matplotlib",
        "lightning_fabric",
        "torchmetrics",
        "tomli_w",
        "onnx",
        *WEB,
    ]
    code = f"import sys\nfor name in {hidden}: sys.modules[name] = None\n"
    code += "import impasto.cli.app, impasto.imaging, impasto.cli.studio, impasto.studio.service"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_imaging_knows_no_torch(package) -> None:
    assert of_torch(package, "imaging") == []


def test_imaging_loads_no_torch(package) -> None:
    """In a process of its own, every module of it."""
    names = [name for name in package if name.startswith("impasto.imaging")]
    assert len(names) > 20
    code = f"import sys, importlib\nfor name in {names}: importlib.import_module(name)\nprint('torch' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"


def test_painting_loads_nothing_that_compiles() -> None:
    """Torch's compiler, and sympy, of which each takes half a second that a picture of two seconds has no use for."""
    code = (
        "import sys\n"
        "import numpy as np\n"
        "import impasto\n"
        "from impasto.imaging import Picture\n"
        "grey = Picture(np.full((64, 64, 3), 0.5, np.float32))\n"
        "impasto.stylize(grey, 'great-wave', engine='torch')\n"
        "impasto.stylize(grey, grey, engine='torch')\n"
        "impasto.stylize(grey, grey, preset='quick', size=64)\n"
        "print(*{'sympy', 'torch._dynamo'} & {*sys.modules})\n"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert not told.returncode, told.stderr
    assert not told.stdout.split()


def test_a_light_command_loads_nothing_that_is_slow_to_load(tmp_path: Path) -> None:
    """Of pydantic and what comes with it, which typer would load to read options, a fifth of a small picture's time."""
    slow = {"torch", "pydantic", "pydantic_core", "annotated_types", "typing_inspection"}
    code = (
        "import sys\n"
        "import numpy as np\n"
        "from impasto.cli.app import main\n"
        "from impasto.imaging import Picture, write\n"
        "write(Picture(np.full((64, 64, 3), 0.5, np.float32)), 'photo.png')\n"
        "line = 'photo.png -s great-wave -s the-scream --size 64 --strength 0.5 --engine light --upscale -o out.png'\n"
        "sys.argv = ['impasto', 'stylize', *line.split()]\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        f"    print(*{slow} & {{*sys.modules}})\n"
    )
    told = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert not told.stdout.split(), told.stderr
    assert (tmp_path / "out.png").exists(), told.stderr


def test_only_the_command_line_prints_or_exits(package) -> None:
    assert prints_and_exits(package) == []


def parsed(**files: str) -> dict[str, ast.Module]:
    return {name.replace("_", "."): ast.parse(text) for name, text in files.items()}


def test_the_checks_see_what_they_are_for() -> None:
    core = "impasto_core_a"
    assert wrong_way(parsed(**{core: "def f():\n    import impasto.methods.b"}))
    assert wrong_way(parsed(**{core: "from impasto import stylize"}))
    assert wrong_way(parsed(**{core: "from impasto.imaging import read"}))
    assert wrong_way(parsed(impasto_helpers="import os"))
    assert not wrong_way(parsed(**{core: "from impasto.errors import LayerError"}))
    assert not wrong_way(parsed(impasto="from impasto.stylizer import stylize"))

    ring = parsed(impasto_core_a="import impasto.core.b", impasto_core_b="from impasto.core import a")
    assert cycle(ring) == ["impasto.core.a", "impasto.core.b", "impasto.core.a"]

    late = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import av\ndef f():\n    import av"
    assert not optional_at_import_time(parsed(**{core: late}), set())
    assert optional_at_import_time(parsed(**{core: "try:\n    import av\nexcept ImportError:\n    av = None"}), set())
    assert not optional_at_import_time(parsed(**{core: "import torch.nn"}), set())
    assert optional_at_import_time(parsed(impasto_imaging_a="import torch"), set())
    assert optional_at_import_time(parsed(impasto_studio_service="import fastapi"), set())
    assert not optional_at_import_time(parsed(impasto_studio_app="import fastapi"), set())
    assert optional_at_import_time(parsed(impasto_cli_a="import torch"), set())

    picture = "impasto_imaging_a"
    assert of_torch(parsed(**{picture: "def f():\n    from torch import Tensor"}), "imaging")
    assert of_torch(parsed(**{picture: "import impasto.files", "impasto_files": "import torch.nn"}), "imaging")
    assert not of_torch(parsed(**{picture: "import numpy", core: "import torch"}), "imaging")

    assert prints_and_exits(parsed(**{core: "print('x')"}))
    assert prints_and_exits(parsed(**{core: "import sys\nsys.exit(1)"}))
    assert not prints_and_exits(parsed(impasto_cli_a="print('x')"))
