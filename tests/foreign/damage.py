"""Files with bytes changed, cut off or put in, for every reader; as many as wanted, in processes of their own.

``python -m tests.foreign.damage --files 10000`` makes so many for each reader, one after the other, reads each with a
clock running, and prints how many gave a network, how many a sentence, and what else happened. Nothing is kept of them.
"""

from __future__ import annotations

import argparse
import collections
import multiprocessing
import random
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType

import torch

from impasto.errors import ImpastoError

from .any_style_samples import MicroAST, MSGNet, Naoto
from .foreign_samples import Johnson7, Lengstrom, write_checkpoint, write_first_version
from .test_kinds import examples_state, magenta_variables, rrmina_state
from .test_more_kinds import Titu, reconet_state
from .tf_samples import AdaINTF, MagentaAny

SECONDS = 20  # of processor, for one file
MEMORY = 1 << 30  # bytes that reading may add
LARGE = (b"\xff\xff\xff\x7f", b"\xff" * 4, b"\0\0\0\x80", b"\0\0\x10\0")


@dataclass(frozen=True)
class Sample:
    """A good file: what writes it into a folder and says what to read; whether it is a backbone."""

    write: Callable[[Path], Path]
    backbone: bool = False

    def read(self, path: Path) -> None:
        """Read a file as a user would have it read."""
        if self.backbone:
            from impasto.core.weights import load_backbone

            load_backbone(
                path, input="caffe" if path.suffix == ".h5" else "torchvision" if path.suffix == ".pth" else None
            )
        else:
            from impasto.networks.foreign.kinds import read_foreign

            read_foreign(path)


def _plain(write: Callable[[Path], object], name: str = "a") -> Callable[[Path], Path]:
    def run(folder: Path) -> Path:
        write(folder / name)
        return folder / name

    return run


def _onnx(*, of_windows: bool) -> Callable[[Path], None]:
    def run(path: Path) -> None:
        from .test_onnx import examples, windows

        (windows() if of_windows else examples("views", "computed")).write(path)

    return run


def _titu(path: Path) -> None:
    Titu(later=True).write(path, 1e-3)


def _mat(version: str) -> Callable[[Path], None]:
    def run(path: Path) -> None:
        from ..core.test_backbone_files import WRITERS, network, of_today

        WRITERS[version](path, of_today(network()))

    return run


def _caffe(*, early: bool) -> Callable[[Path], None]:
    def run(path: Path) -> None:
        from ..core.test_backbone_files import network, write_caffe

        write_caffe(path, network(), early=early)

    return run


def _keras(path: Path) -> None:
    from ..core.test_keras import network, write

    write(path, network(), theano=False, backend=None)


def _torchvision(path: Path) -> None:
    from ..core.test_backbone_files import layers, network

    places, out = {"conv1_1": 0, "conv1_2": 2, "conv2_1": 5}, {}
    for name, weight, bias in layers(network()):
        out |= {f"features.{places[name]}.weight": weight, f"features.{places[name]}.bias": bias}
    torch.save(out, path)


SAMPLES: dict[str, Sample] = {
    "pytorch-examples": Sample(_plain(lambda path: torch.save(examples_state(), path))),
    "pytorch-examples, legacy": Sample(
        _plain(lambda path: torch.save({"state_dict": examples_state()}, path, _use_new_zipfile_serialization=False))
    ),
    "rrmina": Sample(_plain(lambda path: torch.save(rrmina_state(), path))),
    "reconet": Sample(_plain(lambda path: torch.save(reconet_state(), path))),
    "microast": Sample(lambda folder: next(MicroAST().write(folder / "m").glob("decoder*"))),
    "naoto-adain": Sample(lambda folder: Naoto().write(folder / "n") / "decoder.pth"),
    "msg-net": Sample(_plain(lambda path: MSGNet(1).write(path))),
    "jcjohnson": Sample(_plain(lambda path: Johnson7(blocks=1).write(path, preprocessing="vgg"))),
    "jcjohnson, text": Sample(_plain(lambda path: Johnson7(blocks=1).write(path, as_text=True))),
    "onnx": Sample(_plain(_onnx(of_windows=False))),
    "onnx, of Windows": Sample(_plain(_onnx(of_windows=True))),
    "lengstrom-raw": Sample(_plain(lambda path: Lengstrom(2).write(path))),
    "lengstrom": Sample(_plain(lambda path: write_checkpoint(path, Lengstrom(2).names()))),
    "titu1994": Sample(_plain(_titu)),
    "magenta, one file": Sample(_plain(lambda path: write_first_version(path, magenta_variables()))),
    "magenta-any, tfjs": Sample(lambda folder: MagentaAny(separable=True, border="zeros").write_tfjs(folder)),
    "magenta-any, frozen": Sample(lambda folder: MagentaAny().write_frozen(folder / "any.pb")),
    "magenta-any, saved model 1": Sample(lambda folder: MagentaAny().write_saved_model(folder / "any", 1)),
    "magenta-any, saved model 2": Sample(lambda folder: MagentaAny().write_saved_model(folder / "any", 2)),
    "adain-tf": Sample(lambda folder: AdaINTF("keras").write(folder / "model.ckpt")),
    "backbone, .mat 5": Sample(_plain(_mat("5"), "a.mat"), backbone=True),
    "backbone, .mat 5 packed": Sample(_plain(_mat("5, packed"), "a.mat"), backbone=True),
    "backbone, .mat 7.3": Sample(_plain(_mat("7.3"), "a.mat"), backbone=True),
    "backbone, .caffemodel": Sample(_plain(_caffe(early=True), "a.caffemodel"), backbone=True),
    "backbone, later .caffemodel": Sample(_plain(_caffe(early=False), "a.caffemodel"), backbone=True),
    "backbone, .h5": Sample(_plain(_keras, "a.h5"), backbone=True),
    "backbone, torchvision": Sample(_plain(_torchvision, "a.pth"), backbone=True),
}


def damaged(content: bytes, draw: random.Random) -> bytes:
    """From one to six changes. Half of them are near the beginning or the end, where formats keep their structure."""
    out = bytearray(content)
    for _ in range(draw.randint(1, 6)):
        at = min(_place(out, draw), max(0, len(out) - 1))
        match draw.choice(["set", "cut", "put", "large", "swap"]):
            case "set":
                out[at : at + 1] = bytes([draw.randint(0, 255)])
            case "cut":
                del out[at : at + draw.randint(1, 5000)]
            case "put":
                out[at:at] = bytes(draw.randint(0, 255) for _ in range(draw.randint(1, 12)))
            case "large":
                out[at : at + 4] = draw.choice(LARGE)
            case "swap":
                other = _place(out, draw)
                out[at : at + 16], out[other : other + 16] = out[other : other + 16], out[at : at + 16]
    return bytes(out)


def _place(content: bytearray, draw: random.Random) -> int:
    last = max(0, len(content) - 1)
    near = draw.randint(0, min(last, 600))
    return draw.choice([near, last - near, draw.randint(0, last)])


class Files:
    """A sample in a folder, of which one file at a time is damaged."""

    def __init__(self, sample: Sample, folder: Path) -> None:
        self.sample, self.path = sample, sample.write(folder)
        self.good = {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
        # What names others, or is read first, more often than each of forty files of numbers.
        self.first = [path for path in self.good if path.suffix in (".json", ".pb", ".index") or path == self.path]

    def read_damaged(self, draw: random.Random) -> str:
        """The sentence that was said, or none where there is a network."""
        path = draw.choice(self.first if self.first and draw.random() < 0.7 else list(self.good))
        try:
            path.write_bytes(damaged(self.good[path], draw))
            self.sample.read(self.path)
        except ImpastoError as error:
            return str(error)
        finally:
            path.write_bytes(self.good[path])
        return ""


# -- many of them -----------------------------------------------------------------------------------------------------


class _TooLong(BaseException):
    """Not an Exception: a reader must not take it for damage."""


def _ring(number: int, frame: FrameType | None) -> None:
    raise _TooLong


def _work(name: str, numbers: range, results: Connection) -> None:
    """Damaged files by their numbers; what became of each is sent."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGPROF, _ring)
    with tempfile.TemporaryDirectory(prefix="impasto-damage-") as folder:
        files = Files(SAMPLES[name], Path(folder))
        files.sample.read(files.path)  # whole, it is read
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for number in numbers:
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            try:
                said = files.read_damaged(random.Random(f"{name} {number}"))
                became = "a network" if not said else "a sentence" if "\n" not in said else "two lines"
            except _TooLong:
                became = "too long"
            except Exception as error:  # noqa: BLE001 - this is what is looked for
                became = f"{type(error).__name__}"
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)
            more = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
            results.send((number, became, more))
    results.close()


def outcomes(name: str, count: int, begin: int = 0) -> Iterator[tuple[int, str, int]]:
    """Number of each file, what became of it, and bytes of memory added so far. A process that dies is replaced."""
    context = multiprocessing.get_context("spawn")
    at = begin
    while at < begin + count:
        here, there = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(name, range(at, begin + count), there))
        process.start()
        there.close()
        try:
            while True:
                number, became, more = here.recv()
                at = number + 1
                yield number, became, more
        except EOFError:
            process.join()
        if process.exitcode == 1:  # by an exception that no damage caused: it is printed
            raise RuntimeError(f"{name}: the good file could not be read")
        if at < begin + count:
            yield at, f"the process ended with {process.exitcode}", 0
            at += 1


def main() -> int:
    """Print a table; 0 if nothing but networks and sentences came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=100, help="for each reader")
    parser.add_argument("--begin", type=int, default=0, help="the number of the first")
    parser.add_argument("--only", default="", help="readers whose names have this in them")
    options = parser.parse_args()
    bad = 0
    for name in SAMPLES:
        if options.only not in name:
            continue
        counts, strange, most, began = collections.Counter[str](), [], 0, time.perf_counter()
        for number, became, more in outcomes(name, options.files, options.begin):
            counts[became] += 1
            most = max(most, more)
            if became not in ("a network", "a sentence"):
                strange.append(f"{number}: {became}")
        bad += len(strange) + (most > MEMORY)
        told = ", ".join(f"{count} {became}" for became, count in counts.most_common())
        print(f"{name}: {told}; {most >> 20} MiB more; {time.perf_counter() - began:.0f} s", flush=True)
        for row in strange[:20]:
            print(f"    {row}", flush=True)
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
