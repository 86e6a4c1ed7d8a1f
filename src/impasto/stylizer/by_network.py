"""What jobs that a trained network paints have in common, whatever computes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Generator
from typing import TYPE_CHECKING, Generic, TypeVar

from impasto.imaging import Picture
from impasto.stylizer.job import Job, Output, Phase, Progress, Steps
from impasto.stylizer.model import Model
from impasto.stylizer.request import StylizeRequest
from impasto.stylizer.sizes import Sizes, sizes_of

if TYPE_CHECKING:
    from impasto.stylizer.engine import Engine
    from impasto.types import PictureSource

__all__ = ["ByNetwork", "InMemory"]

M = TypeVar("M", bound=Model)


class ByNetwork(Job, Generic[M]):
    """A photo and a network.

    Args:
        model: what paints.
        frame: whether it is one of a film. Each is painted once, at whatever `style_scale`: large forms, which every
            frame would find anew, would jump. And a ground, which would not move with what is seen, is only for those
            who ask for one.

    Attributes:
        sizes: of the photo, of its painting, and of what the network sees.
        ground: how strong the painter's ground is.
    """

    def __init__(
        self,
        engine: Engine,
        photo: PictureSource,
        request: StylizeRequest,
        model: M,
        output: Output | None = None,
        *,
        frame: bool = False,
    ) -> None:
        super().__init__(engine, photo, request, output)
        self.model = model
        self.sizes: Sizes = sizes_of(self.photo_size, request, coarse_to_fine=model.coarse_to_fine and not frame)
        usual = 0.0 if frame else model.ground
        self.ground: float = usual if request.ground is None else request.ground

    def summary(self) -> str:
        """See `Job.summary`."""
        height, width = self.sizes.painting
        return f"{width}x{height} px, by {self.model.name}"

    @property
    def painting_size(self) -> tuple[int, int]:
        """See `Job.painting_size`."""
        return self.sizes.painting

    def networks(self) -> dict[str, str]:
        """See `Job.networks`."""
        return {"model": self.model.sha256}


class InMemory(ByNetwork[M]):
    """A photo and its painting that are both in memory."""

    _photo: Picture | None = None  # at the size of the painting
    _result: Picture | None = None

    @abstractmethod
    def paint_phase(self, phase: Phase, room: int) -> Generator[Progress, None, Picture]:
        """Paint as a phase of this or of another job, within so many bytes; gives the painting back."""

    def preview(self) -> Picture:
        """See `Job.preview`."""
        return self._result or self._photo or self.read_photo(self.sizes.painting)

    def result(self) -> Picture:
        """See `Job.result`."""
        if self._result is None:
            self._check_open()
            raise RuntimeError("nothing is painted yet")
        return self._result

    def _forget(self) -> None:
        super()._forget()
        self._photo = self._result = None

    def _work(self) -> Steps:
        self._result = yield from self.paint_phase("painting", self._room)
        if self.output is not None:
            yield Progress("writing", 0, 1)
            self.write()
