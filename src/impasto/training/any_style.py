"""What trainings of any style have in common: pictures of styles by the thousand, one for every photo."""

from __future__ import annotations

import io
from abc import abstractmethod
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from impasto.core.precision import Precision
from impasto.errors import DataError, ImpastoError
from impasto.imaging import read
from impasto.training.data import PhotoSource, with_removed
from impasto.training.photos import check_left_out
from impasto.training.recipe import anchored
from impasto.training.settings import TrainSettings
from impasto.training.sources import names_digest, open_styles
from impasto.training.task import BAD_PHOTOS, BAD_STYLES, SHOWN, Exhibit, Shard, Task, counted_gone

__all__ = ["AnyStyleTask"]

STYLE_SEED = 0x5719  # added to the seed, so that photos and styles do not come in the same order


class AnyStyleTask(Task):
    """A training on photos and on style pictures.

    Attributes:
        pictures: of styles.
    """

    pictures: PhotoSource

    def __init__(
        self, settings: TrainSettings, device: torch.device, precision: Precision, begun: Path | None = None
    ) -> None:
        super().__init__(settings, device, precision, begun)
        left_out = settings.leave_out if self.LEAVES_OUT_STYLES else ()
        self.pictures = open_styles(anchored(settings.style, Path.cwd()), left_out)
        if self.LEAVES_OUT_STYLES:
            check_left_out(settings.leave_out, self.photos, self.pictures)
        if begun is not None:
            self.pictures = with_removed(self.pictures, begun / BAD_STYLES)
        self.contents["styles"] = {"count": len(self.pictures), "names": names_digest(self.pictures)}

    def missing(self) -> str:
        """How many photos and style pictures are gone, in words, or nothing."""
        return " and ".join(filter(None, map(counted_gone, (self.photos, self.pictures))))

    @abstractmethod
    def painter(self, style: Tensor) -> Callable[[Tensor], Tensor]:
        """What paints photos (B, 3, s, s) in the manner of a picture (1, 3, s, s)."""

    def pairs(self, start: int, shard: Shard) -> Generator[tuple[Tensor, Tensor], None, None]:
        """Batches without end from step `start` on: photos, and as many style pictures."""
        seed = self.settings.seed
        with (
            closing(self.photo_batches(self.photos, start, shard, seed=seed, bad=BAD_PHOTOS)) as photos,
            closing(self.photo_batches(self.pictures, start, shard, seed=seed + STYLE_SEED, bad=BAD_STYLES)) as styles,
        ):
            yield from zip(photos, styles, strict=False)  # neither ends

    def gallery(self) -> list[Exhibit]:
        """Styles spread over the collection; those that cannot be read are passed over."""
        count = min(SHOWN, len(self.pictures))
        found: list[Exhibit] = []
        for i in range(count):
            try:
                picture = read(io.BytesIO(self.pictures.read(i * len(self.pictures) // count)))
            except ImpastoError:
                continue
            shown = self.show(picture)
            found.append((shown, self.painter(shown[None])))
        if not found:
            raise DataError("none of the styles for the sheet of samples can be read")
        return found

    def styles(self) -> list[dict[str, Any]]:
        """None: it knows no style by name."""
        return []
