"""Imported, then painted, painted in bands, and exported: every time the original's picture, within 1 of 255."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import impasto
from impasto.export.onnx_file import export_onnx
from impasto.networks.foreign.importing import import_network

from .any_style_kinds import KINDS as ANY_STYLE
from .foreign_samples import Johnson7, Lengstrom, picture, write_checkpoint, write_first_version
from .test_kinds import (
    examples_state,
    magenta_variables,
    plain_examples,
    plain_magenta,
    plain_rrmina,
    rrmina_state,
)
from .test_more_kinds import Titu, plain_reconet, reconet_state

pytestmark = pytest.mark.usefixtures("one_thread")
SIZE = (76, 92)
Rows = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True)
class Original:
    """A file, the plain network (photo, style) -> painting, and what `stylize` is told besides."""

    file: Path
    plain: Callable[[Tensor, Tensor], Tensor]
    style: str | None = None
    takes_pictures: bool = False


def _saved(state: dict[str, Tensor], folder: Path) -> Path:
    torch.save(state, folder / "file.pth")
    return folder / "file.pth"


def _examples(folder: Path) -> Original:
    state = examples_state()
    return Original(_saved(state, folder), lambda photo, _: plain_examples(state, photo))


def _rrmina(folder: Path) -> Original:
    state = rrmina_state()
    return Original(_saved(state, folder), lambda photo, _: plain_rrmina(state, photo))


def _reconet(folder: Path) -> Original:
    state = reconet_state()
    return Original(_saved(state, folder), lambda photo, _: plain_reconet(state, photo))


def _johnson7(**how: Any) -> Callable[[Path], Original]:
    def make(folder: Path) -> Original:
        plain = Johnson7(**how)
        plain.write(folder / "file.t7", preprocessing="vgg")
        return Original(folder / "file.t7", lambda photo, _: plain(photo))

    return make


def _lengstrom(form: str) -> Callable[[Path], Original]:
    def make(folder: Path) -> Original:
        plain = Lengstrom()
        if form == "raw":
            plain.write(folder / "wave")
        else:
            write = write_checkpoint if form == "2" else write_first_version
            write(folder / "wave", plain.names())
        return Original(folder / "wave", lambda photo, _: plain(photo))

    return make


def _titu(*, later: bool) -> Callable[[Path], Original]:
    def make(folder: Path) -> Original:
        pytest.importorskip("pyfive")
        plain = Titu(later=later)
        plain.write(folder / "file.h5")
        return Original(folder / "file.h5", lambda photo, _: plain(photo).detach())

    return make


def _magenta(folder: Path) -> Original:
    variables = magenta_variables()
    write_checkpoint(folder / "monet.ckpt", variables)
    return Original(folder / "monet.ckpt", lambda photo, _: plain_magenta(variables, photo, 1), "style-01")


def _onnx(folder: Path) -> Original:
    from .test_onnx import by_onnxruntime, examples

    path = folder / "file.onnx"
    examples("means", "input").write(path, sides=("height", "width"))
    return Original(path, lambda photo, _: by_onnxruntime(path, photo))


def _any_style(name: str) -> Callable[[Path], Original]:
    def make(folder: Path) -> Original:
        file, plain = ANY_STYLE[name][1](folder / "file")
        return Original(file, plain, takes_pictures=True)

    return make


MAKERS: dict[str, Callable[[Path], Original]] = {
    "pytorch-examples": _examples,
    "rrmina": _rrmina,
    "reconet": _reconet,
    "jcjohnson": _johnson7(),
    "jcjohnson with zeros": _johnson7(start=False),
    "jcjohnson with batch norm": _johnson7(batch_norm=True),
    "onnx": _onnx,
    "lengstrom-raw": _lengstrom("raw"),
    "lengstrom": _lengstrom("2"),
    "lengstrom, one file": _lengstrom("1"),
    "titu1994": _titu(later=False),
    "titu1994, later": _titu(later=True),
    "magenta": _magenta,
    **{name: _any_style(name) for name in ANY_STYLE},
}


def _rows(image: Tensor) -> Rows:
    return np.asarray((image[0].permute(1, 2, 0) * 255).round().clamp(0, 255), np.uint8)


def _tensor(rows: Rows) -> Tensor:
    return torch.from_numpy(rows).float().permute(2, 0, 1)[None] / 255


@pytest.mark.parametrize("name", MAKERS)
def test_within_a_step_of_the_original(name, tmp_path) -> None:
    pytest.importorskip("onnx")
    original = MAKERS[name](tmp_path)
    photo, style = _rows(picture(*SIZE)), _rows(picture(58, 75, seed=9))
    wanted = original.plain(_tensor(photo), _tensor(style))[0].permute(1, 2, 0).numpy() * 255
    assert wanted.std() > 5
    mine, graph = tmp_path / "mine.safetensors", tmp_path / "mine.onnx"
    import_network(original.file, mine)
    export_onnx(mine, graph)
    chosen = style if original.takes_pictures else original.style
    for model, how in ((original.file, {}), (mine, {}), (mine, {"tile": 16}), (graph, {})):
        painted = np.asarray(
            impasto.stylize(photo, chosen, model=model, style_scale=1, precision="float32", **how), np.float32
        )
        assert painted.shape == wanted.shape
        assert np.abs(painted - wanted).max() < 1.01, (model.name, how)
