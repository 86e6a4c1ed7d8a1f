"""Networks of any style, by the kind of file that each is written as."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from .any_style_samples import MicroAST, MSGNet, Naoto
from .tf_samples import AdaINTF, MagentaAny

Plain = Callable[[Tensor, Tensor], Tensor]


def _tfjs(folder: Path) -> tuple[Path, Plain]:
    plain = MagentaAny(separable=True, border="zeros")
    return plain.write_tfjs(folder), plain


def _frozen(folder: Path) -> tuple[Path, Plain]:
    plain = MagentaAny()
    return plain.write_frozen(folder.with_name("any.pb")), plain


def _saved(version: int) -> Callable[[Path], tuple[Path, Plain]]:
    def write(folder: Path) -> tuple[Path, Plain]:
        plain = MagentaAny(separable=version == 1)
        return plain.write_saved_model(folder, version), plain

    return write


def _adain(form: str) -> Callable[[Path], tuple[Path, Plain]]:
    def write(folder: Path) -> tuple[Path, Plain]:
        plain = AdaINTF(form)  # type: ignore[arg-type]
        return plain.write(folder.with_name("model.ckpt-15000")), plain

    return write


def _of(make: Callable[[], MicroAST | Naoto | MSGNet]) -> Callable[[Path], tuple[Path, Plain]]:
    def write(folder: Path) -> tuple[Path, Plain]:
        plain = make()
        return plain.write(folder), plain

    return write


KINDS: dict[str, tuple[str, Callable[[Path], tuple[Path, Plain]]]] = {
    "microast": ("microast", _of(MicroAST)),
    "naoto-adain": ("naoto-adain", _of(Naoto)),
    "msg-net": ("msg-net", _of(MSGNet)),
    "tfjs": ("magenta-any", _tfjs),
    "frozen": ("magenta-any", _frozen),
    "saved model of TensorFlow 1": ("magenta-any", _saved(1)),
    "saved model of TensorFlow 2": ("magenta-any", _saved(2)),
    "adain-tf by Keras' names": ("adain-tf", _adain("keras")),
    "adain-tf by VGG's names": ("adain-tf", _adain("named")),
}
"""By what a test shows: the kind that it must be told to be, and what writes it (file, plain network)."""
