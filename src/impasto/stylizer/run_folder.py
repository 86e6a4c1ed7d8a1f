"""``run="DIR"``: what is painted and how (run.json), how far that is (state.pt), log.csv, frames/000050.jpg."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from impasto.errors import DataError, OptionError
from impasto.files import atomic_path, check_named, output_error
from impasto.imaging import Picture, write
from impasto.stylizer.run_description import FORMAT, RunDescription
from impasto.stylizer.run_format_1 import is_format_1, upgraded
from impasto.stylizer.sentences import reason_of

__all__ = ["RunFolder", "damaged_state"]

_STATE_HAS = frozenset({"step", "scale", "parameters", "optimizer"})  # of `Optimization.state_dict`
_DESCRIPTION, _STATE, _LOG = "run.json", "state.pt", "log.csv"


class RunFolder:
    """The folder of a run."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        check_named("run", folder)
        self.folder = Path(folder)

    @property
    def log(self) -> Path:
        """Where the losses over the steps are."""
        return self.folder / _LOG

    def check_free(self) -> None:
        """DataError if the folder holds a run already, or is none."""
        if (self.folder / _DESCRIPTION).exists():
            raise DataError(
                f"{self.folder}: holds a run already; go on with `resume` {self.folder} or choose another folder"
            )
        if self.folder.exists() and not self.folder.is_dir():
            raise DataError(f"{self.folder}: is not a folder; choose another name for the run")

    @contextmanager
    def making(self) -> Iterator[None]:
        """Make the folder, if need be; if what is done within fails, it goes again, unless it is in use.

        Raises:
            DataError: it holds a run already.
            OutputError: it cannot be made.
        """
        self.check_free()
        is_new = not self.folder.exists()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise output_error(self.folder, error) from error
        try:
            yield
        except BaseException:
            if is_new:
                with suppress(OSError):  # something was kept
                    self.folder.rmdir()
            raise

    def create(self, description: RunDescription) -> None:
        """Begin a run. DataError if the folder holds one already, OutputError if it cannot be written."""
        self.check_free()
        text = json.dumps(description.to_json(), indent=2, ensure_ascii=False) + "\n"
        with atomic_path(self.folder / _DESCRIPTION, make_folders=True) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def description(self) -> RunDescription:
        """The description that `create` wrote, or that an earlier version of this program did.

        Raises:
            DataError: there is no run here, it is damaged, or its files are gone or changed.
        """
        path = self.folder / _DESCRIPTION
        try:
            found = json.loads(path.read_text("utf-8"))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise DataError(f"{self.folder}: {self._why_not()}") from error
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: cannot be read: {error}") from error
        if isinstance(found, dict) and is_format_1(found):
            read, known = upgraded, found
        elif isinstance(found, dict) and found.get("format") == FORMAT:
            read, known = RunDescription.from_json, found
        else:
            raise DataError(f"{path}: is not the description of a run, or of a later version of impasto")
        try:
            return read(known, self.folder)
        except (KeyError, TypeError, ValueError, AttributeError, OptionError) as error:
            reason = f"the description of the run is damaged ({reason_of(error)}); start a new run"
            raise DataError(f"{self.folder}: {reason}") from error

    def _why_not(self) -> str:
        """Why there is no run here, and which command goes on."""
        found = f"holds no run to resume (no {_DESCRIPTION})"
        if not self.folder.exists():
            return (
                "no such folder; a run by a network removes its own when it is finished; if this one was moved, name "
                "the folder where it is now"
            )
        if (self.folder / "recipe.toml").exists():
            return f"{found}, but a training; go on with `impasto train --resume {self.folder}`"
        return f"{found}; name the folder that `run` was given"

    def close(self) -> None:
        """End a run of which nothing is left to resume: its description goes, and the folder if it is empty then."""
        (self.folder / _DESCRIPTION).unlink(missing_ok=True)
        with suppress(OSError):
            self.folder.rmdir()

    def save_state(self, state: Mapping[str, Any]) -> None:
        """How far an optimisation is, whole or not at all."""
        import torch

        buffer = io.BytesIO()  # torch's own writing to disk tells no reason when it fails
        torch.save(dict(state), buffer)
        with atomic_path(self.folder / _STATE) as temporary:
            temporary.write_bytes(buffer.getbuffer())

    def state(self) -> dict[str, Any] | None:
        """What `save_state` kept; None if it never got to that. DataError if it is damaged."""
        path = self.folder / _STATE
        if not path.exists():
            return None
        import torch

        try:
            found = dict(torch.load(path, map_location="cpu", weights_only=True))
            if missing := _STATE_HAS - found.keys():
                raise ValueError(f"it lacks {', '.join(sorted(missing))}")
        except Exception as error:  # torch.load raises whatever a damaged file makes it stumble over
            raise damaged_state(self, error) from error
        return found

    def keep_frame(self, picture: Picture, step: int) -> None:
        """Keep the picture of a step."""
        frames = self.folder / "frames"
        with suppress(OSError):  # `write` says it better
            frames.mkdir(exist_ok=True)
        write(picture, frames / f"{step:06d}.jpg", force=True)


def damaged_state(run: RunFolder | None, error: Exception) -> DataError:
    """The error of a state that makes no sense, kept in a run's folder if there is one."""
    reason = reason_of(error).partition("\n")[0][:200] or type(error).__name__
    where = "the state" if run is None else str(run.folder / _STATE)
    return DataError(f"{where}: is damaged or of another run ({reason}); start a new run")
