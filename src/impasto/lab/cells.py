"""One cell of a grid, run in a process of its own: ``python -m impasto.lab.cells FOLDER``.

A process of its own tells how much memory the cell took, and may crash without taking the others along. It reads
``cell.json`` in its folder and leaves ``painting.png``, ``losses.csv`` and at last ``result.json`` there.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from impasto.core.precision import choose_precision, pick_device
from impasto.core.resizing import resize
from impasto.core.tensors import to_array, to_tensor
from impasto.core.weights import load_backbone
from impasto.errors import DataError, ImpastoError
from impasto.evaluation import measure
from impasto.files import atomic_path
from impasto.imaging import Picture, fit_long_side, read, write
from impasto.lab.grid import HOW, OPTIMIZE, SIZE, optimize_settings, train_settings
from impasto.networks.bound import WeightedStyles
from impasto.networks.checkpoint import load_model
from impasto.networks.inference import bind, ready
from impasto.networks.registry import kind_of
from impasto.stylizer.engine import Engine
from impasto.stylizer.job import Progress
from impasto.stylizer.optimize_job import OptimizeJob
from impasto.stylizer.request import StylizeRequest
from impasto.stylizer.run_log import Log
from impasto.training.loop import train
from impasto.training.sources import gather_styles

__all__ = ["Result", "read_result", "run_cell", "write_json"]

PAINTING, LOSSES, RESULT = "painting.png", "losses.csv", "result.json"


@dataclass(frozen=True)
class Result:
    """What came of a cell.

    Attributes:
        error: why it failed; None where it is done.
        steps: of the optimiser.
        losses: of the last step: ``total``, and its terms without their weights.
        distances: ``content``, ``style`` and ``share``, as `evaluation.Distances`.
        seconds: of the work, without the start of the process.
        memory_mib: the process's largest memory; None where the system does not tell.
    """

    error: str | None = None
    steps: int = 0
    losses: Mapping[str, float] = field(default_factory=dict)
    distances: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    memory_mib: float | None = None


@dataclass(frozen=True, eq=False)
class _Outcome:
    """Pictures on the CPU, (1, 3, h, w), with a fourth channel in a style that is transparent, and the last step."""

    photo: Tensor
    style: Tensor
    painted: Tensor
    steps: int
    losses: Mapping[str, float]


def run_cell(folder: Path) -> Result:
    """Do what ``cell.json`` in the folder says; a failure is a result as well."""
    told = json.loads((folder / "cell.json").read_text("utf-8"))
    began = time.perf_counter()
    try:
        values = told["values"]
        outcome = _optimize(values, folder) if told["method"] == OPTIMIZE else _train(told["method"], values, folder)
        write(Picture(to_array(outcome.painted)), folder / PAINTING, force=True)
        result = Result(steps=outcome.steps, losses=dict(outcome.losses), distances=_distances(told["judge"], outcome))
    except ImpastoError as error:
        result = Result(error=str(error))
    except Exception as error:  # noqa: BLE001  whatever it is, the other cells go on, and this one says why not
        result = Result(error=f"{type(error).__name__}: {error}")
    result = replace(result, seconds=time.perf_counter() - began, memory_mib=_peak_memory())
    write_json(folder / RESULT, asdict(result))
    return result


def read_result(folder: Path) -> Result | None:
    """What came of the cell in this folder; None if it did not get so far."""
    with suppress(OSError, ValueError, TypeError):
        return Result(**json.loads((folder / RESULT).read_text("utf-8")))
    return None


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a file, and its folder if need be, whole or not at all."""
    with atomic_path(path, make_folders=True) as temporary:
        temporary.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def _optimize(values: Mapping[str, Any], folder: Path) -> _Outcome:
    settings = optimize_settings(values)
    styles = values["style"] if isinstance(values["style"], list) else [values["style"]]
    how = {key: values[key] for key in HOW if key in values}
    request = StylizeRequest.of(style=[(path, 1.0) for path in styles], method="optimize", **how)
    log, steps, last = Log(), 0, None
    weights = {"content": settings.content_weight, "style": settings.style_weight, "tv": settings.tv_weight}
    with OptimizeJob(Engine(), values["photo"], request, settings) as job:
        for record in job.run():
            if record.losses:
                seen = _without_weights(record, weights)
                log.add(seen)
                steps = int(seen.done)
                # Where networks see in turns, losses are the first one's: of whichever saw last they would not compare.
                last = seen if last is None or seen.seen_by == last.seen_by else last
        log.write(folder / LOSSES)
        if last is None:
            raise DataError("no step was taken: raise steps")
        photo, painted = to_tensor(job.picture().seen()), to_tensor(job.result().rgb)
    return _Outcome(photo, _shown(read(styles[0]), max(painted.shape)), painted, steps, last.losses)


def _without_weights(record: Progress, weights: Mapping[str, float]) -> Progress:
    """Terms of different weights compare only without them; `total` is what was minimised."""
    losses = {name: value / (weights.get(name) or 1.0) for name, value in record.losses.items()}
    return replace(record, losses=losses)


def _train(method: str, values: Mapping[str, Any], folder: Path) -> _Outcome:
    settings = train_settings(method, values)
    steps, model = 0, None
    losses: dict[str, float] = {}
    for record in train(settings, folder / "run", resume=True):
        steps, losses, model = record.step, dict(record.losses) or losses, record.model
    if model is None:
        raise DataError("the training ended without a model")
    with atomic_path(folder / LOSSES) as temporary:
        temporary.write_bytes((folder / "run" / "loss.csv").read_bytes())
    where = pick_device(settings.device)
    network = ready(load_model(model)[0], choose_precision(where, settings.precision), where)
    photo = _shown(read(values["photo"]), values.get("size", SIZE))[:, :3]
    sources = gather_styles(settings.style)
    style = _shown(sources[0].picture(), max(photo.shape))
    chosen: dict[str, WeightedStyles] = {
        "pictures": [(style.to(where), 1.0)],
        "names": [(name, 1.0) for name in network.styles[-len(sources) :][:1]],  # added ones come after the others
        "single": [],
    }
    painted = bind(network, chosen[kind_of(network).styled_by])(photo.to(where))
    kept = {name: value for name, value in losses.items() if "/" not in name}  # not the single layers'
    return _Outcome(photo, style, painted.float().cpu(), steps, kept)


def _shown(picture: Picture, long: int) -> Tensor:
    """What is seen of it, (1, 3 or 4, h, w), see `Picture.weighed`."""
    return resize(to_tensor(picture.weighed()), fit_long_side((picture.height, picture.width), long))


def _distances(judge: str, outcome: _Outcome) -> dict[str, float]:
    found = measure(load_backbone(judge), outcome.photo, outcome.style, outcome.painted)
    return {"content": found.content, "style": found.style, "share": found.share}


def _peak_memory() -> float | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / 2**20 if sys.platform == "darwin" else peak / 2**10, 1)


def _end_with_parent() -> None:
    """Wait until the process that began this one is gone, which closes its end of our standard input, and go too."""
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(int(sys.argv[2]))
    run_cell(Path(sys.argv[1]))
