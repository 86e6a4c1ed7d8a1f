"""The package's root: all public names, and nothing heavy until one of them is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import impasto
from impasto import errors

ERRORS = [name for name in errors.__all__ if isinstance(getattr(errors, name), type)]


def loaded_by(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after running `code`."""
    code += "\nimport sys; print(*{name.partition('.')[0] for name in sys.modules})"
    result = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=120)
    assert (result.returncode, result.stderr) == (0, "")
    return set(result.stdout.split())


def test_importing_loads_nothing_heavy() -> None:
    assert loaded_by("import impasto; dir(impasto); impasto.ImageError") & {"torch", "numpy", "PIL", "rich"} == set()


def test_using_a_name_loads_what_it_needs() -> None:
    loaded = loaded_by("from impasto import stylize")
    assert "PIL" in loaded
    assert not {"torch", "onnxruntime", "safetensors"} & loaded  # until a picture is painted by them


def test_all_names_every_public_thing() -> None:
    assert sorted(impasto.__all__) == impasto.__all__
    assert set(ERRORS) <= set(impasto.__all__)
    here = {name for name in dir(impasto) if not name.startswith("_")}
    modules = {name for name in here if type(getattr(impasto, name)) is type(impasto)}
    assert here - modules - {"annotations", "Any", "TYPE_CHECKING", "import_module"} == set(impasto.__all__) - {
        "__version__"
    }


def test_every_name_is_what_it_says() -> None:
    for name in set(impasto.__all__) - {"__version__"}:
        assert getattr(impasto, name).__name__ == name
    for name in ERRORS:
        assert getattr(impasto, name) is getattr(errors, name)
    namespace: dict[str, object] = {}
    exec("from impasto import *", namespace)
    assert set(impasto.__all__) <= namespace.keys()


def test_other_names_are_an_error_as_ever() -> None:
    with pytest.raises(AttributeError, match="module 'impasto' has no attribute 'paint'"):
        _ = impasto.paint
    assert not hasattr(impasto, "paint")
