"""``run="DIR"``: what is painted and how (run.json), how far that is (state.pt), log.csv, frames/000050.jpg."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from impasto.core.backbones import BACKBONES
from impasto.errors import DataError, OptionError
from impasto.files import atomic_path, output_error, sha256
from impasto.imaging import Picture, write
from impasto.networks.shipped import find_model
from impasto.optimize.presets import OptimizeSettings
from impasto.stylizer.job import Output
from impasto.stylizer.request import OutputOptions, StylizeRequest

__all__ = ["RunDescription", "RunFolder", "describe_file", "describe_settings", "same_file", "stored_settings"]

FORMAT = 2
_DESCRIPTION, _STATE, _LOG = "run.json", "state.pt", "log.csv"


@dataclass(frozen=True)
class RunDescription:
    """Whatever it takes to go on with a run, from any folder.

    Attributes:
        photo: path of the photo.
        request: what is asked for, with whole paths.
        output: where the painting goes.
        settings: of an optimisation; None for a network.
        beginning: picture that an optimisation begins with, instead of what `settings` say.
        save_every: steps between the frames that are kept.
        files: every file that the run needs, with its hash.
    """

    photo: str
    request: StylizeRequest
    output: Output
    settings: OptimizeSettings | None = None
    beginning: str | None = None
    save_every: int | None = None
    files: tuple[Mapping[str, Any], ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """For run.json."""
        request = self.request.anywhere()
        return {
            "format": FORMAT,
            "version": version("impasto"),
            "photo": str(Path(self.photo).resolve()),
            "request": request.to_json(),
            "settings": None if self.settings is None else describe_settings(self.settings),
            "beginning": None if self.beginning is None else str(Path(self.beginning).resolve()),
            "output": {
                "path": str(Path(self.output.path).absolute()),
                "options": self.output.options.model_dump(mode="json"),
                "force": self.output.force,
                "recipe": self.output.recipe,
            },
            "save_every": self.save_every,
            "files": [describe_file(path) for path in self._paths(request)],
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any], folder: Path) -> RunDescription:
        """The inverse, of a run in this folder. Raises whatever a damaged one makes it stumble over."""
        for row in found["files"]:
            same_file(row, folder)
        settings, output = found["settings"], found["output"]
        return cls(
            photo=found["photo"],
            request=StylizeRequest.from_json(found["request"]),
            output=Output(
                output["path"], OutputOptions.of(**output["options"]), force=output["force"], recipe=output["recipe"]
            ),
            settings=None if settings is None else stored_settings(settings),
            beginning=found["beginning"],
            save_every=found["save_every"],
            files=tuple(found["files"]),
        )

    def _paths(self, request: StylizeRequest) -> list[str]:
        """The files that must be as they were."""
        styles = [str(row.image) for row in request.style]
        backbone = None if self.settings is None else self.settings.backbone
        paths = [self.photo, *request.mask, *([self.beginning] if self.beginning else [])]
        paths += [style for style in styles if self.settings is not None or Path(style).is_file()]
        if self.settings is None and request.model is not None:
            paths.append(str(find_model(request.model)))
        if backbone is not None and backbone not in BACKBONES:
            paths.append(str(Path(backbone).expanduser()))
        return list(dict.fromkeys(str(path) for path in paths))


class RunFolder:
    """The folder of a run."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
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

    def make(self) -> None:
        """Make the folder, if need be. DataError if it holds a run already, OutputError if it cannot be made."""
        self.check_free()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise output_error(self.folder, error) from error

    def create(self, description: RunDescription) -> None:
        """Begin a run. DataError if the folder holds one already, OutputError if it cannot be written."""
        self.check_free()
        text = json.dumps(description.to_json(), indent=2, ensure_ascii=False) + "\n"
        with atomic_path(self.folder / _DESCRIPTION, make_folders=True) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def description(self) -> RunDescription:
        """What `create` was told, or an earlier version of this program.

        Raises:
            DataError: there is no run here, it is damaged, or its files are gone or changed.
        """
        from impasto.stylizer.run_folder_1 import is_format_1, upgraded

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
            reason = f"the description of the run is damaged ({error}); start a new run"
            raise DataError(f"{self.folder}: {reason}") from error

    def _why_not(self) -> str:
        """Why there is no run here, and which command goes on."""
        found = f"holds no run to resume (no {_DESCRIPTION})"
        if not self.folder.exists():
            return f"{found}, it is not there; if the run was moved: impasto stylize --resume NEW_FOLDER"
        if (self.folder / "recipe.toml").exists():
            return f"{found}, but a training; go on with impasto train --resume {self.folder}"
        return f"{found}; name the folder that `run` was given"

    def close(self) -> None:
        """End a run of which nothing is left to resume: its description goes, and the folder if it is empty then."""
        (self.folder / _DESCRIPTION).unlink(missing_ok=True)
        with suppress(OSError):
            self.folder.rmdir()

    def save_state(self, state: Mapping[str, Any]) -> None:
        """How far an optimisation is, whole or not at all."""
        buffer = io.BytesIO()  # torch's own writing to disk tells no reason when it fails
        torch.save(dict(state), buffer)
        with atomic_path(self.folder / _STATE) as temporary:
            temporary.write_bytes(buffer.getbuffer())

    def state(self) -> dict[str, Any] | None:
        """What `save_state` kept; None if it never got to that. DataError if it is damaged."""
        path = self.folder / _STATE
        if not path.exists():
            return None
        try:
            found = torch.load(path, map_location="cpu", weights_only=True)
            return dict(found)
        except Exception as error:  # torch.load raises whatever a damaged file makes it stumble over
            raise self.damaged(error) from error

    def damaged(self, error: Exception) -> DataError:
        """The error of a state that makes no sense."""
        reason = str(error).partition("\n")[0][:200] or type(error).__name__
        return DataError(f"{self.folder / _STATE}: is damaged or of another run ({reason}); start a new run")

    def keep_frame(self, picture: Picture, step: int) -> None:
        """Keep the picture of a step."""
        frames = self.folder / "frames"
        with suppress(OSError):  # `write` says it better
            frames.mkdir(exist_ok=True)
        write(picture, frames / f"{step:06d}.jpg", force=True)


def describe_file(path: str | Path) -> dict[str, Any]:
    """Where a file lies and what is in it, for the description of a run. DataError if it cannot be read."""
    try:
        return {"path": str(Path(path).resolve()), "sha256": sha256(Path(path))}
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


def same_file(row: Mapping[str, Any], folder: Path) -> str:
    """The path of a file that `describe_file` described for a run; DataError if it is gone or another by now.

    `folder` is the run's, for the command that goes on.
    """
    path = str(row["path"])
    if not Path(path).is_file():
        raise DataError(
            f"{path}: is not there any more, so the run cannot go on; put it back, or a link to where it is now, then "
            f"go on with impasto stylize --resume {folder}"
        )
    if describe_file(path)["sha256"] != row["sha256"]:
        raise DataError(f"{path}: has changed since the run began; start a new run")
    return path


def describe_settings(settings: OptimizeSettings) -> dict[str, Any]:
    """Settings as plain values, for JSON."""
    return {key: dict(value) if isinstance(value, Mapping) else value for key, value in _plain(settings).items()}


def _plain(settings: OptimizeSettings) -> dict[str, Any]:
    return {f.name: getattr(settings, f.name) for f in fields(settings)}


def stored_settings(stored: Mapping[str, Any]) -> OptimizeSettings:
    """The inverse of `describe_settings`. DataError if they are of another version of this program."""
    odd = sorted(stored.keys() ^ {f.name for f in fields(OptimizeSettings)})
    if odd:
        raise DataError(f"the run was begun by another version, whose settings differ in {', '.join(odd)}")
    return OptimizeSettings(**{**stored, "betas": tuple(stored["betas"])})
