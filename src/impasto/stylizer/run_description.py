"""What ``run.json`` says: whatever it takes to go on with a run, whichever folder one is in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from impasto.core.backbones import BACKBONES
from impasto.errors import DataError
from impasto.files import at_home, sha256
from impasto.networks.shipped import find_model
from impasto.optimize.presets import OptimizeSettings
from impasto.stylizer.job import Output
from impasto.stylizer.request import OutputOptions, StylizeRequest
from impasto.stylizer.strokes import AUTO

__all__ = ["FORMAT", "RunDescription", "describe_file", "describe_settings", "same_file", "stored_settings"]

FORMAT = 2


@dataclass(frozen=True)
class RunDescription:
    """Whatever it takes to go on with a run, whichever folder one is in.

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
        if self.settings is None and request.style_scale is None:
            request = request.with_changes(style_scale=AUTO)  # or it would be taken for one from before there was that
        return {
            "format": FORMAT,
            "version": version("impasto"),
            "photo": str(Path(self.photo).resolve()),
            "request": {"ground": None, **request.to_json()},  # which is not that of runs from before there was one
            "settings": None if self.settings is None else describe_settings(self.settings),
            "beginning": None if self.beginning is None else str(Path(self.beginning).resolve()),
            "output": {
                "path": str(Path(self.output.path).absolute()),
                "options": self.output.options.plain(),
                "force": self.output.force,
                "recipe": self.output.recipe,
            },
            "save_every": self.save_every,
            "files": [describe_file(path) for path in self._paths(request)],
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any], folder: Path) -> RunDescription:
        """The description that `to_json` made, of a run in this folder; a damaged one raises KeyError and the like."""
        for row in found["files"]:
            same_file(row, folder)
        settings, output = found["settings"], found["output"]
        if not all(isinstance(path, str) for path in (found["photo"], output["path"], found["beginning"] or "")):
            raise TypeError("a path is no text")
        by_network: dict[str, Any] = {"style_scale": 1.0, "ground": 0.0} if settings is None else {}
        return cls(
            photo=found["photo"],
            request=StylizeRequest.from_json({**by_network, **found["request"]}),
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
            paths.append(str(at_home(backbone)))
        return list(dict.fromkeys(str(path) for path in paths))


def describe_file(path: str | Path) -> dict[str, Any]:
    """Where a file lies and what is in it, for the description of a run. DataError if it cannot be read."""
    try:
        return {"path": str(Path(path).resolve()), "sha256": sha256(Path(path))}
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


def same_file(row: Mapping[str, Any], folder: Path) -> str:
    """The path of a file that `describe_file` described for a run; DataError if it is gone or another by now.

    `folder` is the run's, to go on with.
    """
    path = str(row["path"])
    if not Path(path).is_file():
        raise DataError(
            f"{path}: is not there any more, so the run cannot go on; put it back, or a link to where it is now, then "
            f"go on with `resume` {folder}"
        )
    if describe_file(path)["sha256"] != row["sha256"]:
        raise DataError(f"{path}: has changed since the run began; start a new run")
    return path


ADDED: Final[Mapping[str, Any]] = {"sees_clamped": False, "second_backbone": None, "second_every": 2, "falling": 0.0}
"""Settings that came after the first runs were kept, as they were painted without saying so."""


def describe_settings(settings: OptimizeSettings) -> dict[str, Any]:
    """Settings as plain values, for JSON."""
    return {key: dict(value) if isinstance(value, Mapping) else value for key, value in _plain(settings).items()}


def _plain(settings: OptimizeSettings) -> dict[str, Any]:
    return {f.name: getattr(settings, f.name) for f in fields(settings)}


def stored_settings(stored: Mapping[str, Any]) -> OptimizeSettings:
    """The inverse of `describe_settings`. DataError if they are of another version of this program."""
    stored = {**ADDED, **stored}
    odd = sorted(stored.keys() ^ {f.name for f in fields(OptimizeSettings)})
    if odd:
        raise DataError(f"the run was begun by another version, whose settings differ in {', '.join(odd)}")
    return OptimizeSettings(**{**stored, "betas": tuple(stored["betas"])})
