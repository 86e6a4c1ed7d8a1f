"""The training loop: one for all networks; it goes on after a crash, and around a loss that is no number."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR

from impasto.core.host import step_by_step
from impasto.core.memory import reuse_large_blocks
from impasto.errors import DataError, DivergenceError
from impasto.files import check_named
from impasto.networks.checkpoint import save_model
from impasto.training.adain_task import AdaINTask
from impasto.training.data import steps_per_epoch
from impasto.training.gradients import GradientLimit
from impasto.training.gram_task import GramTask, TeacherTask
from impasto.training.logging import RunLog
from impasto.training.processes import Place, running
from impasto.training.run_folder import RunFolder, refuse_changes
from impasto.training.settings import AdaINSettings, GramSettings, MultiStyleSettings, TrainSettings, UniversalSettings
from impasto.training.task import Batch, Shard, Task
from impasto.training.universal_task import UniversalTask

__all__ = ["TrainProgress", "train"]

PATIENCE = 3  # losses in a row that are no numbers, before going back
RESTARTS = 6  # times it goes back before it gives up
WARM_UP = 0.05  # share of the steps in which the cosine schedule rises
SMOOTHING = 0.9


@dataclass(frozen=True)
class TrainProgress:
    """One step done, or the beginning (no losses), or the end (`model` is there).

    Attributes:
        step, steps: how far.
        losses: ``total``, which is minimised, and its terms without their weights: ``content``, ``style``, ``tv``,
            and ``style/relu1_2`` … by layer. Means over the batches of all processes.
        rate: the learning rate of this step.
        images_per_second: of all processes, smoothed.
        notes: sentences the user should read, each once.
        model: the trained file, in the last record.
    """

    step: int
    steps: int
    losses: Mapping[str, float] = field(default_factory=dict)
    rate: float = 0.0
    images_per_second: float = 0.0
    notes: tuple[str, ...] = ()
    model: Path | None = None


def train(
    settings: TrainSettings, out: str | PathLike[str], *, resume: bool = False
) -> Generator[TrainProgress, None, None]:
    """Train what `settings` say in the folder `out`, a record per step; ``out/model.safetensors`` is the result.

    Closing the generator stops after the step that was done, and keeps it as a checkpoint. With `resume` a run
    in `out` goes on from its last checkpoint; the same settings and pictures are needed. Started by ``torchrun``,
    the processes share the work; only the first writes.

    Raises:
        OutputError: `out` holds a run and `resume` is not set, or something cannot be written.
        OptionError: settings that do not go together.
        DataError: no photos, too many unreadable ones, or a run that cannot go on with these settings.
        ImageError, WeightsError, LayerError: styles, backbone, model or layers are not usable.
        DivergenceError: the loss stays infinite or no number after every remedy.
    """
    check_named("out", out)
    return step_by_step(_train(settings, Path(out), resume), deterministic=settings.deterministic)


def _train(settings: TrainSettings, out: Path, resume: bool) -> Generator[TrainProgress, None, None]:
    reuse_large_blocks()
    with running(settings) as place:
        folder = RunFolder(out)
        if place.fabric.is_global_zero:
            folder.check(resume=resume)
        yield from _Run(settings, folder, place).run()


def make_task(settings: TrainSettings, place: Place, begun: Path | None) -> Task:
    """The task of a family; `begun` is the folder of the run, if it goes on."""
    if isinstance(settings, UniversalSettings):
        return UniversalTask(settings, place.device, place.precision, begun)
    if isinstance(settings, MultiStyleSettings) and settings.teacher:
        return TeacherTask(settings, place.device, place.precision, begun)
    if isinstance(settings, GramSettings):
        return GramTask(settings, place.device, place.precision, begun)
    if isinstance(settings, AdaINSettings):
        return AdaINTask(settings, place.device, place.precision, begun)
    raise TypeError(f"no training for {type(settings).__name__}")


class _Run:
    """One process's part of a training."""

    def __init__(self, settings: TrainSettings, folder: RunFolder, place: Place) -> None:
        self.settings, self.folder, self.fabric = settings, folder, place.fabric
        self.task = make_task(settings, place, folder.path if folder.checkpoints.steps() else None)
        self.world = self.fabric.world_size
        self.steps = settings.steps
        if settings.epochs is not None:
            self.steps = settings.epochs * steps_per_epoch(len(self.task.photos), settings.batch_size, self.world)
        trained = self.task.trained
        if place.precision.channels_last:
            trained.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.task.network.to(place.device).train()
        self.learning = {name: p for name, p in trained.named_parameters() if p.requires_grad}
        self.parameters = list(self.learning.values())
        self.optimizer = torch.optim.Adam(self.parameters, lr=settings.lr)
        self.scheduler = LambdaLR(self.optimizer, self._factor)
        self.paint, self.stepper = self.fabric.setup(trained, self.optimizer)
        self.limit = GradientLimit()
        self.step = self.restarts = self.bad = 0
        self.skipped: set[int] = set()  # steps of which it was told
        self.wrong = ""  # what was not finite in the last step that was skipped
        self.best: tuple[int, float] | None = None
        self.window: list[float] = []  # losses since the last checkpoint
        self.saved: int | None = None
        self.speed, self.clock = 0.0, time.perf_counter()
        self.notes: list[str] = []
        self.log: RunLog | None = None

    # -- the loop -------------------------------------------------------------------------------------------

    def run(self) -> Generator[TrainProgress, None, None]:
        """From the beginning or the last checkpoint to the end."""
        try:
            self._begin()
            yield self._record({})
            yield from self._learn_all()
            yield self._finish()
        finally:
            if self.log is not None:
                self.log.close()
            self.folder.unlock()

    def _learn_all(self) -> Generator[TrainProgress, None, None]:
        """All steps that are left; where it is stopped, or photos cannot be read, those that were done are kept."""
        try:
            while self.step < self.steps:
                self.clock = time.perf_counter()
                with closing(self._batches()) as batches:
                    for batch in batches:
                        yield self._advance(batch)
                        if self._must_go_back():
                            self._go_back()
                            break  # for the batches of an earlier step
                        if self.step == self.steps:
                            break
        except (GeneratorExit, DataError):
            self._save()
            raise

    def _batches(self) -> Generator[Batch, None, None]:
        return self.task.batches(self.step, Shard(self.fabric.global_rank, self.world, self.folder.path))

    def _advance(self, batch: Batch) -> TrainProgress:
        """One step, with what belongs to it: log, checkpoint, sheet."""
        rate = self.optimizer.param_groups[0]["lr"]
        losses, good = self._learn(batch)
        self.step += 1
        self.bad = 0 if good else self.bad + 1
        if self.bad == 1 and self.step not in self.skipped:
            self.skipped.add(self.step)
            photos = self.task.photo_names(self.step - 1, self.world, self.folder.path)
            self.notes.append(
                f"step {self.step} is skipped: its {self.wrong} is infinite or no number (photos: {photos})"
            )
        if good:
            self.window.append(losses["total"])
        self._measure()
        if self.log is not None:
            self.log.add(self.step, losses, rate, self.speed)
        if self.step % self.settings.save_every == 0 or self.step == self.steps:
            self._save()
            self._show()
            self.clock = time.perf_counter()  # checkpoints and sheets are not counted in images a second
        return self._record(losses, rate)

    def _learn(self, batch: Batch) -> tuple[dict[str, float], bool]:
        """Losses of a batch, means over processes, and whether the step was taken; all processes agree on it."""
        terms = self.task.terms(self.paint, batch)
        values: Any = self.fabric.all_reduce(torch.stack([t.detach() for t in terms.values()]), reduce_op="mean")
        losses = dict(zip(terms, values.tolist(), strict=True))
        self.wrong = _wrong_terms(losses)
        if not self.wrong:
            self.fabric.backward(terms["total"])
            self.wrong = self.limit.apply({k: p.grad for k, p in self.learning.items() if p.grad is not None})
        if not self.wrong:
            self.stepper.step()
            self.task.constrain()
            self.scheduler.step()
        self.optimizer.zero_grad()
        return losses, not self.wrong

    def _measure(self) -> None:
        before, self.clock = self.clock, time.perf_counter()
        now = self.settings.batch_size * self.world / (self.clock - before)
        self.speed = now if not self.speed else SMOOTHING * self.speed + (1 - SMOOTHING) * now

    def _record(self, losses: Mapping[str, float], rate: float = 0.0, model: Path | None = None) -> TrainProgress:
        notes, self.notes = tuple(self.notes), []
        return TrainProgress(self.step, self.steps, losses, rate, self.speed, notes, model)

    def _factor(self, step: int) -> float:
        """What the learning rate is multiplied by after `step` steps."""
        decay = 1 / (1 + self.settings.lr_decay * step)
        if self.settings.schedule == "constant":
            return decay
        rising = max(1, round(WARM_UP * self.steps))
        if step < rising:
            return decay * (step + 1) / rising
        return decay * (1 + math.cos(math.pi * (step - rising) / max(1, self.steps - rising))) / 2

    # -- beginning, end, and what lies between two processes ----------------------------------------------------

    def _begin(self) -> None:
        state = None
        if self.fabric.is_global_zero:
            self.folder.lock()
            state, notes = self.folder.checkpoints.load_latest()
            self.notes += notes
            if state is None:
                self.folder.create(self.settings)
        state = self.fabric.broadcast(state)
        if state is not None:
            refuse_changes(self.folder.path, state, self.settings, self.task.contents, self.world)
            self._restore(state)
            ended = f"all {self.steps} steps are done: the model is written again"
            going_on = f"going on after step {self.step} of {self.steps}"
            self.notes.append(going_on if self.step < self.steps else ended)
            if gone := self.task.missing():
                self.notes.append(f"removed since it began: {gone} that could not be read; others take their place")
        else:
            self.notes += self.task.notes
        if self.fabric.is_global_zero:
            self.log = RunLog(self.folder.path, self.step)
        if state is None:
            self._save()

    def _finish(self) -> TrainProgress:
        path = self.folder.path / "model.safetensors"
        if self.fabric.is_global_zero:
            save_model(
                path,
                self.task.network,
                styles=self.task.styles(),
                recipe={**self.task.describe(), "steps": self.step, "processes": self.world},
                licence=self.task.licence(),
            )
        return self._record({}, model=path)

    def _save(self) -> None:
        """A checkpoint, unless there is one of this step or nothing good to keep."""
        if self.saved == self.step or self.bad or not self._finite():
            return
        if self.window:
            loss = sum(self.window) / len(self.window)
            if self.best is None or loss < self.best[1]:
                self.best = (self.step, loss)
            self.window = []
        if self.fabric.is_global_zero:
            self.folder.checkpoints.save(self.step, self._state(), self.best and self.best[0])
        self.saved = self.step

    def _show(self) -> None:
        if self.log is not None and self._finite():
            with self.fabric.autocast():
                sheet = self.task.sheet()
            self.log.sheet(sheet, self.step)
            self.log.plot()

    def _finite(self) -> bool:
        return all(bool(p.isfinite().all()) for p in self.parameters)

    def _state(self) -> dict[str, Any]:
        """All that decides what comes next. The data's position is the step: batches are made from it and the seed."""
        return {
            "family": self.settings.FAMILY,
            "settings": self.settings.values(),
            "contents": self.task.contents,
            "processes": self.world,
            "network": dict(self.task.network.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "restarts": self.restarts,
            "gradient": self.limit.usual,
            "best": self.best,
        }

    def _restore(self, state: Mapping[str, Any]) -> None:
        self.task.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.limit = GradientLimit(state.get("gradient"))  # older versions did not keep it
        self.step = self.saved = int(state["step"])
        self.restarts, self.best, self.window = max(self.restarts, state["restarts"]), state["best"], []

    # -- divergence -----------------------------------------------------------------------------------------

    def _must_go_back(self) -> bool:
        return self.bad >= PATIENCE or (self.step == self.steps and (self.bad > 0 or not self._finite()))

    def _go_back(self) -> None:
        """To the last checkpoint, with half the rate it had then for every time this happened since."""
        self.restarts += 1
        if self.restarts > RESTARTS:
            raise DivergenceError(
                f"the {self.wrong or 'network'} is infinite or no number at step {self.step}, after going back "
                f"{RESTARTS} times with half the rate: lower `lr` or `style_weight`, or use `precision` float32"
            )
        failed, why = self.step, self._why_back()
        state = self.folder.checkpoints.load_latest()[0] if self.fabric.is_global_zero else None
        state = self.fabric.broadcast(state)
        if state is None:
            raise DivergenceError(
                f"the {self.wrong or 'network'} is no number at step {failed}, and there is no checkpoint to go back to"
            )
        self._restore(state)
        share = 0.5 ** (self.restarts - state["restarts"])
        self.scheduler.base_lrs = [rate * share for rate in self.scheduler.base_lrs]
        for group in self.optimizer.param_groups:
            group["lr"] *= share
        self.bad = 0
        if self.log is not None:
            self.log.rewind(self.step)
        self.notes.append(
            f"{why}: training goes back to what it had learned by step {self.step}, and goes on from there with half "
            f"the learning rate, as if `lr` were {self.scheduler.base_lrs[0]:.3g} (time {self.restarts} of {RESTARTS})"
        )

    def _why_back(self) -> str:
        if self.bad >= PATIENCE:
            return f"steps {self.step - PATIENCE + 1} to {self.step} were all skipped"
        return f"step {self.step}, the last, {'was skipped' if self.bad else 'left weights that are no numbers'}"


def _wrong_terms(losses: Mapping[str, float]) -> str:
    """Which terms of a loss are not finite, in words, or nothing; the total only where it alone is."""
    names = [name for name, value in losses.items() if not math.isfinite(value)]
    return f"loss ({', '.join([name for name in names if name != 'total'] or names)})" if names else ""
