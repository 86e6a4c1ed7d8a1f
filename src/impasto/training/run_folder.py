"""The folder of a training: recipe.toml, checkpoints, logs, and at the end model.safetensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from impasto.errors import DataError, OptionError, OutputError
from impasto.files import atomic_path, lock_folder
from impasto.training.checkpoint import Checkpoints
from impasto.training.recipe import changes, from_table, read_recipe, to_toml
from impasto.training.settings import TrainSettings, settings_class

if TYPE_CHECKING:
    from filelock import BaseFileLock

__all__ = ["RunFolder", "refuse_changes"]


class RunFolder:
    """Where a run lies."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.recipe = path / "recipe.toml"
        self.checkpoints = Checkpoints(path / "checkpoints")
        self._lock: BaseFileLock | None = None

    def holds_run(self) -> bool:
        """Whether a run was begun here."""
        return self.recipe.exists() or bool(self.checkpoints.steps())

    def check(self, *, resume: bool) -> None:
        """OutputError where a run would be lost, or where no folder can be."""
        if self.path.exists() and not self.path.is_dir():
            raise OutputError(f"{self.path}: is a file, need a folder for the run")
        if self.holds_run() and not resume:
            raise OutputError(
                f"{self.path}: holds a run already: go on with `impasto train --resume {self.path}`, "
                "or choose another folder"
            )

    def lock(self) -> None:
        """Make the folder, if need be, and keep other processes from training here until `unlock`, or our end."""
        self._lock = lock_folder(self.path, "training", extra="train")

    def unlock(self) -> None:
        """Let others in again."""
        if self._lock is not None:
            self._lock.release()

    def create(self, settings: TrainSettings) -> None:
        """Write the recipe; OutputError if that cannot be."""
        with atomic_path(self.recipe, make_folders=True) as temporary:
            temporary.write_text(to_toml(settings), encoding="utf-8")

    def settings(self) -> TrainSettings:
        """The recipe of the run that lies here; DataError if there is none or it was damaged."""
        if not self.holds_run():
            raise DataError(f"{self.path}: holds no run to resume (no recipe.toml)")
        return from_table(read_recipe(self.recipe), self.recipe)


def refuse_changes(
    folder: Path, state: Mapping[str, Any], settings: TrainSettings, contents: Mapping[str, Any], processes: int
) -> None:
    """DataError that names what differs from the run as it began, if anything does."""
    try:
        kind = settings_class(state["family"])
        before = kind.from_values(kind.as_begun(state["settings"]))
    except OptionError as error:
        raise DataError(f"{folder}: was begun by another version of this program: {error}") from error
    found = changes(before, settings)
    if before.FAMILY == settings.FAMILY:  # or else all is made of other things
        found += _content_changes(state["contents"], contents)
    if state["processes"] != processes:
        found.append(f"it runs in {processes} processes, ran in {state['processes']}")
    if found:
        raise DataError(
            f"{folder}: the run cannot go on, because {'; '.join(found)}: change that back, or start anew with "
            "another folder"
        )


def _content_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    if before.keys() != now.keys():
        return ["it is made of other things"]
    return [_told(what, before[what], now[what]) for what in now if before[what] != now[what]]


def _told(what: str, before: Any, now: Any) -> str:
    if what in ("model", "begin_with"):
        return f"the model to {'add to' if what == 'model' else 'begin with'} has changed"
    if what == "teacher":
        return "the teacher has changed"
    if "identity" in now:
        name = what.replace("_", " ")
        return f"the {name} is {now['name']} with other weights or settings than those of {before['name']}"
    if "count" in now:
        return f"there are {now['count']} {what}, were {before['count']}, or they have other names"
    told = [f"the style {name} is {'missing' if name in before else 'new'}" for name in before.keys() ^ now.keys()]
    changed = sorted(name for name in before.keys() & now.keys() if before[name] != now[name])
    return ", ".join(sorted(told) + ([f"the style picture of {', '.join(changed)} has changed"] if changed else []))
