"""What trainings of any style have in common: pictures of styles by the thousand, one for every photo."""

from __future__ import annotations

import io
from abc import abstractmethod
from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any

from torch import Tensor

from impasto.errors import DataError, ImpastoError
from impasto.imaging import read
from impasto.training.data import PhotoSource
from impasto.training.task import BAD_PHOTOS, SHOWN, Exhibit, Shard, Task

__all__ = ["AnyStyleTask"]

STYLE_SEED = 0x5719  # added to the seed, so that photos and styles do not come in the same order


class AnyStyleTask(Task):
    """A training on photos and on style pictures.

    Attributes:
        pictures: of styles.
    """

    pictures: PhotoSource

    @abstractmethod
    def painter(self, style: Tensor) -> Callable[[Tensor], Tensor]:
        """What paints photos (B, 3, s, s) in the manner of a picture (1, 3, s, s)."""

    def pairs(self, start: int, shard: Shard) -> Generator[tuple[Tensor, Tensor], None, None]:
        """Batches without end from step `start` on: photos, and as many style pictures."""
        seed = self.settings.seed
        with (
            closing(self.photo_batches(self.photos, start, shard, seed=seed, bad=BAD_PHOTOS)) as photos,
            closing(
                self.photo_batches(self.pictures, start, shard, seed=seed + STYLE_SEED, bad="bad_styles.tsv")
            ) as styles,
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
