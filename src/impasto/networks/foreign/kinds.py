"""The kinds of other people's files that can be read, a row each, and reading whichever a file is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from impasto.core.host import in_our_settings
from impasto.core.strangers import stranger
from impasto.errors import ImpastoError, OptionError, WeightsError, nearest
from impasto.networks.foreign import (
    adain_tf,
    jcjohnson,
    lengstrom,
    magenta,
    magenta_any,
    microast,
    msgnet,
    naoto,
    onnx_chain,
    pytorch_examples,
    reconet,
    rrmina,
    titu,
)
from impasto.networks.foreign.places import place_of
from impasto.networks.foreign.source import Found, Options, Source
from impasto.networks.registry import as_chain

__all__ = ["KINDS", "ForeignKind", "kind_of_file", "read_foreign"]

LONGEST = 600  # letters of a sentence


@dataclass(frozen=True)
class ForeignKind:
    """One kind of file.

    Attributes:
        name: on the command line.
        what: it is, for people.
        matches: whether a file is one, told by its content; WeightsError where that is damaged.
        read: the network in it; WeightsError says in one sentence what is wrong.
        takes: fields of `Options` that mean something to it, beside the median.
    """

    name: str
    what: str
    matches: Callable[[Source], bool]
    read: Callable[[Source, Options], Found]
    takes: tuple[str, ...] = ()


KINDS: tuple[ForeignKind, ...] = (
    ForeignKind(
        "pytorch-examples",
        "pytorch/examples fast_neural_style (.pth, .model)",
        pytorch_examples.matches,
        pytorch_examples.read,
    ),
    ForeignKind("rrmina", "rrmina/fast-neural-style-pytorch (.pth)", rrmina.matches, rrmina.read),
    ForeignKind("reconet", "ReCoNet, of film (.pth)", reconet.matches, reconet.read),
    ForeignKind("microast", "EndyWon/MicroAST (four .pth.tar)", microast.matches, microast.read),
    ForeignKind("naoto-adain", "naoto0804/pytorch-AdaIN (decoder.pth)", naoto.matches, naoto.read),
    ForeignKind("msg-net", "MSG-Net, PyTorch-Multi-Style-Transfer (21styles.model)", msgnet.matches, msgnet.read),
    ForeignKind("jcjohnson", "jcjohnson/fast-neural-style (.t7)", jcjohnson.matches, jcjohnson.read),
    ForeignKind(
        "onnx",
        "one style as ONNX: model zoo, Windows ML, torch.onnx",
        onnx_chain.matches,
        onnx_chain.read,
        ("channels", "values"),
    ),
    ForeignKind(
        "lengstrom-raw", "lengstrom's, for deeplearn.js and ml5 (manifest.json)", lengstrom.matches, lengstrom.read
    ),
    ForeignKind(
        "lengstrom",
        "lengstrom/fast-style-transfer (.ckpt)",
        lengstrom.matches_checkpoint,
        lengstrom.read_of_checkpoint,
    ),
    ForeignKind("titu1994", "titu1994/Fast-Neural-Style, Keras 1 (.h5)", titu.matches, titu.read),
    ForeignKind(
        "magenta",
        "Magenta's N styles, multistyle-pastiche-generator (.ckpt)",
        magenta.matches,
        magenta.read,
        ("style_names",),
    ),
    ForeignKind("adain-tf", "eridgd/AdaIN-TF, elleryqueenhomels' AdaIN (.ckpt)", adain_tf.matches, adain_tf.read),
    ForeignKind(
        "magenta-any",
        "Magenta's any style: a saved model, a frozen graph (.pb), TensorFlow.js (model.json)",
        magenta_any.matches,
        magenta_any.read,
    ),
)


def kind_of_file(source: Source, name: str | None = None) -> ForeignKind:
    """The kind of a file, or the one named.

    Raises:
        OptionError: no kind has this name.
        WeightsError: the file is of no kind, of several, or so damaged that none can be told.
    """
    if name is not None:
        for kind in KINDS:
            if kind.name == name:
                return kind
        names = [kind.name for kind in KINDS]
        raise OptionError(f"`kind` {name!r} is unknown{nearest(name, names)}: there are {', '.join(names)}", "kind")
    found: list[ForeignKind] = []
    trouble: WeightsError | None = None
    for kind in KINDS:
        try:
            if kind.matches(source):
                found.append(kind)
        except WeightsError as error:
            trouble = trouble or error
    if len(found) > 1:
        several = ", ".join(kind.name for kind in found)
        raise WeightsError(f"{source.path}: may be of several kinds: choose one by `kind`: {several}")
    if found:
        return found[0]
    if trouble is not None:
        raise trouble
    raise WeightsError(f"{source.path}: {_unknown(source)}")


@in_our_settings
def read_foreign(path: Path, kind: str | None = None, options: Options | None = None) -> tuple[ForeignKind, Found]:
    """The network in somebody else's file.

    Args:
        path: a file; or a folder, or the prefix of a checkpoint, see `place_of`.
        kind: which it is; None is what its content tells.
        options: what the file leaves out.

    Raises:
        OptionError: no such kind, or options that mean nothing to it.
        WeightsError: of no kind, damaged, or a network that cannot be rebuilt; in one sentence.
    """
    source = Source(place_of(path))
    row: ForeignKind | None = None
    try:
        if told := stranger(source.path):
            raise WeightsError(f"{source.path}: {told}, need a network of a kind that can be read: {_names()}")
        row = kind_of_file(source, kind)
        _refuse_idle(options or Options(), row)
        with np.errstate(all="ignore"):  # what is not finite is found when all of it is there
            found = row.read(source, options or Options())
        if options is not None and options.median:
            _smooth(found, row)
        return row, found
    except WeightsError as error:
        said = str(error)
        if row is not None and not said.startswith(str(source.path)):
            said = f"{path}: {_taken_for(row, kind)}, but {said}"
        raise WeightsError(_one_line(said)) from error
    except ImpastoError:
        raise
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror or error}") from error
    except Exception as error:  # a damaged file can fail in any way whatever
        what = "looks like a network" if row is None else _taken_for(row, kind)
        raise WeightsError(_one_line(f"{path}: {what}, but is damaged or cut short: get it again")) from error


def _taken_for(row: ForeignKind, kind: str | None) -> str:
    """What a file seems to be, or was said to be."""
    return f"looks like {row.what}" if kind is None else f"was to be read as {row.what}, by `kind` {kind}"


def _refuse_idle(options: Options, row: ForeignKind) -> None:
    for name in options.given:
        if name not in (*row.takes, "median"):
            whose = ", ".join(kind.name for kind in KINDS if name in kind.takes)
            raise OptionError(
                f"`{name}` is for files of kind {whose}, and this one is of kind {row.name}: leave it out"
            )


def _smooth(found: Found, row: ForeignKind) -> None:
    """Have the network smooth what it paints."""
    chain = as_chain(found.network)
    if chain is None:
        raise OptionError(f"`median` is for networks of one style that become chains, not for {row.name}", "median")
    chain.config = replace(chain.config, median=True)


def _one_line(text: str) -> str:
    """What may have come from a file, fit to be shown."""
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    words = " ".join(plain.split())
    return words if len(words) <= LONGEST else f"{words[:LONGEST]} ..."


def _unknown(source: Source) -> str:
    if source.is_torch:
        keys = sorted(source.state)
        first = ", ".join(keys[:3])
        return (
            f"neither a model of ours nor one of pytorch/examples, nor of another kind that can be read: it has"
            f" {len(keys)} tensors ({first} ...); kinds are {_names()}"
        )
    return f"no network of a kind that can be read: it begins with {source.head[:8]!r}; kinds are {_names()}"


def _names() -> str:
    return ", ".join(kind.name for kind in KINDS)
