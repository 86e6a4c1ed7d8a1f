"""What ``impasto stylize`` is asked for: from the command line, or from the folder of a run that is resumed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from impasto.core.precision import PrecisionName
from impasto.core.weights import BACKBONES, Input
from impasto.errors import DataError, OptionError
from impasto.imaging import check_output
from impasto.optimize.presets import DEFAULT_PRESET, OptimizeSettings
from impasto.optimize.presets import preset as settings_of
from impasto.recording import RunFolder, describe_file, describe_settings, same_file, stored_settings
from impasto.stylizer import Finish, Painting, Style, parse_layers, parse_style, prepare, split_init

__all__ = ["How", "Job", "Keep", "new_job", "resumed_job"]


@dataclass(frozen=True)
class How:
    """Arguments of `prepare` that say how to paint, not what, and the strength."""

    backbone_input: Input | None
    device: str
    precision: PrecisionName
    upscale: bool
    max_megapixels: float
    strength: float = 1.0
    max_memory: str | None = None


@dataclass(frozen=True)
class Keep:
    """How often and how well pictures are written, and whether with all that the photo's file said."""

    save_every: int | None
    quality: int
    compression: int
    metadata: bool = False

    @property
    def writing(self) -> dict[str, Any]:
        """Arguments of `imaging.write`, and of painting by strips."""
        return {"quality": self.quality, "compression": self.compression, "keep_metadata": self.metadata}


@dataclass(frozen=True)
class Job:
    """What is to be painted, from the command line or from the folder of a run."""

    photo: str
    styles: list[tuple[str, float]]
    beginning: str | None
    settings: OptimizeSettings
    how: How
    keep: Keep
    output: str
    mask: str | None = None

    @property
    def inputs(self) -> list[str]:
        """Files that must not be overwritten."""
        return [self.photo, *[path for path, _ in self.styles], *filter(None, (self.beginning, self.mask))]

    def check(self, *, force: bool, with_run: bool) -> None:
        """Refuse now what would fail after the work."""
        if self.inputs.count("-") > 1:
            raise OptionError("- stands for standard input, which holds one picture: name a file for the others")
        if with_run and "-" in (*self.inputs, self.output):
            raise OptionError("--run needs files: standard input and output are gone when it is resumed")
        if self.output == "-" and self.keep.save_every and not with_run:
            raise OptionError("--save-every needs -o FILE or --run DIR to know where to")
        check_output(self.output, force=force, inputs=self.inputs)

    def prepare(self) -> Painting:
        """Read, resize, load."""
        styles = [Style(path, weight) for path, weight in self.styles]
        how = {key: value for key, value in vars(self.how).items() if key != "strength"}
        finish = Finish(self.how.strength, masks=(self.mask,) if self.mask else ())
        return prepare(self.photo, styles, self.settings, beginning=self.beginning, finish=finish, **how)

    def description(self) -> dict[str, Any]:
        """For the folder of a run: whatever it takes to go on, from any folder."""
        backbone = None if self.settings.backbone in BACKBONES else self.settings.backbone
        return {
            "photo": describe_file(self.photo),
            "styles": [describe_file(path) | {"weight": weight} for path, weight in self.styles],
            "beginning": self.beginning and describe_file(self.beginning),
            "mask": self.mask and describe_file(self.mask),
            "backbone": backbone and describe_file(Path(backbone).expanduser()),
            "settings": describe_settings(self.settings),
            "how": vars(self.how),
            "keep": vars(self.keep),
            "output": str(Path(self.output).absolute()),
        }


def new_job(
    photo: str,
    style: list[str],
    output: str,
    preset: str | None,
    changes: dict[str, Any],
    how: How,
    keep: Keep,
    mask: str | None = None,
) -> Job:
    """The job that the command line asks for; `changes` are settings over the preset's, where not None."""
    kind, beginning = split_init(changes["init"])
    layers = {name: parse_layers(changes[name]) for name in ("content_layers", "style_layers")}
    settings = settings_of(preset or DEFAULT_PRESET, **changes | layers | {"init": kind})
    return Job(photo, [parse_style(text) for text in style], beginning, settings, how, keep, output, mask)


def resumed_job(folder: RunFolder, output: str | None) -> Job:
    """The job of a run that is resumed; DataError if its description is damaged, or its files gone or changed."""
    found = folder.description()
    try:
        settings = dict(found["settings"])
        if found["backbone"]:
            settings["backbone"] = same_file(found["backbone"], folder.folder)
        return Job(
            same_file(found["photo"], folder.folder),
            [(same_file(row, folder.folder), float(row["weight"])) for row in found["styles"]],
            found["beginning"] and same_file(found["beginning"], folder.folder),
            stored_settings(settings),
            How(**found["how"]),
            Keep(**found["keep"]),
            output or str(found["output"]),
            found["mask"] and same_file(found["mask"], folder.folder),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OptionError) as error:
        raise DataError(f"{folder.folder}: the description of the run is damaged ({error}); start a new run") from error
