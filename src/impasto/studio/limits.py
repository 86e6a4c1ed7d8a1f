"""What one client may ask of the studio, and what all of them together may take."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from impasto.core.memory import parse_memory
from impasto.errors import OptionError, in_figures
from impasto.fields import option

if TYPE_CHECKING:
    from impasto.stylizer.job import Job
    from impasto.stylizer.request import StylizeRequest

__all__ = ["Limits", "check_job", "check_size"]


@dataclass(frozen=True)
class Limits:
    """What one client may ask for, and what all may take together. OptionError for a limit that makes no sense.

    Each is described below, where it is defined; the options of ``impasto studio`` are made from here.
    """

    upload: str = option("64MB", "Largest request: the photo with all style pictures and masks.", "SIZE")
    upload_seconds: float = option(60.0, "Seconds in which a request must have arrived.", "N", above=0)
    megapixels: float = option(50.0, "Largest picture that is read, and largest painting.", "N", above=0)
    steps: int = option(5000, "Most steps of an optimisation.", "N", least=1)
    seconds: float = option(3600.0, "Seconds of painting after which a job is ended.", "N", above=0)
    jobs_per_client: int = option(8, "Jobs that a client may have waiting and running.", "N", least=1)
    queue: int = option(64, "Jobs of all clients that may wait.", "N", least=1)
    memory: str | None = option(None, "Memory for all worker processes together; what is free if not said.", "SIZE")
    kept: int = option(64, "Finished jobs whose pictures are kept to be fetched; the oldest go first.", "N", least=1)
    kept_seconds: float = option(600.0, "Seconds for which they are kept.", "N", above=0)

    def __post_init__(self) -> None:
        for field in fields(self):
            value, bounds = getattr(self, field.name), field.metadata
            if isinstance(value, int | float) and not _within(value, bounds):
                least = f"from {bounds['least']} up" if "least" in bounds else f"above {bounds['above']}"
                raise OptionError(f"`{field.name}` is {value!r}, need a number {least}", field.name)
        parse_memory(self.upload, "upload")
        parse_memory(self.memory, "memory")

    @property
    def told(self) -> str:
        """What a client must know of them, in sentences."""
        return (
            f"A request may have {self.upload} in all, and {self.upload_seconds:g} s to arrive; a picture that is "
            f"sent, and a painting, {self.megapixels:g} megapixels; an optimisation {self.steps} steps; a job "
            f"{self.seconds:g} s of painting. A client may have {self.jobs_per_client} jobs waiting and running; "
            f"{self.queue} of all clients may wait. {self.kept} finished jobs are kept, for {self.kept_seconds:g} s, "
            "to be fetched."
        )

    @property
    def upload_bytes(self) -> int:
        """The largest request, in bytes."""
        return parse_memory(self.upload)

    @property
    def memory_bytes(self) -> int | None:
        """Bytes for all worker processes together; None is what is free."""
        return parse_memory(self.memory)


def check_size(photo: Path, request: StylizeRequest, megapixels: float) -> None:
    """OptionError for a painting larger than the server allows; of the photo the header alone is read.

    For before there is a job: one that would not fit into memory is refused for that.
    """
    if not request.size:
        return
    from impasto.imaging import fit_long_side
    from impasto.imaging.reading import read_header

    found = read_header(photo, max_megapixels=request.max_megapixels).size
    _check_megapixels(fit_long_side(found, request.size, upscale=request.upscale), megapixels)


def check_job(job: Job, *, steps: int, megapixels: float) -> None:
    """OptionError for a job that is larger than the server allows, known before anything is painted."""
    optimisation = job.as_optimisation()
    if optimisation is not None and optimisation.steps > steps:
        raise OptionError(f"{optimisation.steps} steps are asked for, and at most {steps} are made here", "steps")
    _check_megapixels(job.painting_size, megapixels)


def _check_megapixels(size: tuple[int, int], megapixels: float) -> None:
    height, width = size
    if height * width > megapixels * 1e6:
        raise OptionError(
            f"a painting of {width}x{height} px is {in_figures(height * width / 1e6)} megapixels, and at most "
            f"{megapixels:g} are painted here: choose a smaller `size`",
            "size",
        )


def _within(value: float, bounds: Mapping[str, Any]) -> bool:
    return math.isfinite(value) and bool(value >= bounds["least"] if "least" in bounds else value > bounds["above"])
