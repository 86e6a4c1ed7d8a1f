"""A trained network as programs use it: named, described, ready to paint."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from impasto.errors import OptionError
from impasto.imaging import Picture, to_pil
from impasto.stylizer.job import check_progress
from impasto.stylizer.request import EngineName, StylizeRequest
from impasto.stylizer.route import gallery_styles
from impasto.stylizer.strokes import COARSE_TO_FINE, GROUND, GROUNDED
from impasto.stylizer.styles import Style, records

if TYPE_CHECKING:
    from PIL.Image import Image

    from impasto.stylizer.engine import Engine
    from impasto.stylizer.job import JobPlan
    from impasto.types import PictureSource, Styles

__all__ = ["Model"]


class Model(ABC):
    """A network, and what its file says of itself. `impasto.load` makes it; threads may share it.

    Attributes:
        name: the shipped name or the path it was loaded by.
        path: its file.
        styles: the styles it knows by name; none for a network of any style.
        description: what its file says: method, sizes, licence, recipe.
        sha256: of its file, or of the file that it was exported from.
    """

    def __init__(self, engine: Engine, description: Mapping[str, Any], name: str, path: Path, digest: str) -> None:
        self.engine, self.description, self.name, self.path, self.sha256 = engine, description, name, path, digest
        self.styles = () if self.any_style else records(description)

    @property
    @abstractmethod
    def computes_in(self) -> EngineName:
        """What computes: ``torch`` or ``light``."""

    @property
    @abstractmethod
    def any_style(self) -> bool:
        """Whether styles are pictures instead of names."""

    @property
    @abstractmethod
    def mixes_features(self) -> bool:
        """Whether `alpha` says how far features are restyled, as AdaIN does."""

    @property
    @abstractmethod
    def method(self) -> str:
        """The network's method, of `networks.registry`."""

    @property
    def coarse_to_fine(self) -> bool:
        """Whether large pictures are painted so, if nothing is said of `style_scale`."""
        return self.method in COARSE_TO_FINE

    @property
    def ground(self) -> float:
        """The painter's ground where none is asked for, see `StylizeRequest.ground`."""
        return GROUND if self.method in GROUNDED else 0.0

    def stylize(self, image: PictureSource, style: Styles | None = None, **options: Any) -> Image:
        """Repaint a photo and return a PIL image; arguments and errors are those of `paint`."""
        return to_pil(self.paint(image, style, **options))

    def paint(self, image: PictureSource, style: Styles | None = None, **options: Any) -> Picture:
        """Repaint a photo, with its transparency and bit depth.

        Args:
            image: a path, PIL image, array or tensor.
            style: a name of `styles`, ``"name:0.3"``, or a list or mapping of names with weights; for a network of
                any style a picture, or a list of pictures or of (picture, weight). May be left out where the
                network knows but one style.
            **options: those of `StylizeRequest` that a network obeys, such as ``strength=0.8`` or ``mask="mask.png"``.
                `progress` is called with a `Progress` after every piece of the work.

        Raises:
            ImageError: a picture that cannot be read.
            OptionError: a style that the network does not know, an option that is unknown, out of range or not for
                networks, or too little memory.
        """
        progress = options.pop("progress", None)
        check_progress(progress)
        with self.engine.job(image, self._request(style, options), model=self) as job:
            for record in job.run():
                if progress is not None:
                    progress(record)
            return job.result()

    def plan(self, image: PictureSource, style: Styles | None = None, **options: Any) -> JobPlan:
        """How a photo would be painted; arguments and errors as of `paint`."""
        with self.engine.job(image, self._request(style, options), model=self) as job:
            return job.plan()

    def check(self, request: StylizeRequest) -> None:
        """OptionError where this network cannot do what is asked for: as from `check_styles`, or an `alpha`."""
        self.check_styles(request.style)
        if request.alpha is not None and request.alpha < 1 and not self.mixes_features:
            raise OptionError("`alpha` is for networks that decode features (adain): use `strength`")

    def check_styles(self, styles: Sequence[Style]) -> None:
        """OptionError where names are given, or nothing, to a network of any style, or pictures to one of its own.

        What names are known is told by `bind`.
        """
        if self.any_style and not styles:
            raise OptionError(f"{self.name} paints in the manner of any picture: give one as `style`")
        names = [record.name for record in self.styles]
        for image in (row.image for row in styles):
            is_file = not isinstance(image, str) or os.path.exists(image)  # noqa: PTH110  Path raises for long names
            if self.any_style and not is_file and image in [record.name for record in gallery_styles()]:
                raise OptionError(
                    f"{self.name} takes pictures as styles, and {image!r} is a style of the gallery: leave `model` out,"
                    " or give a picture",
                    "style",
                )
            if not self.any_style and is_file and image not in names:
                if len(names) == 1:
                    raise OptionError(f"{self.name} has a single style: leave `style` out")
                raise OptionError(
                    f"{self.name} knows its own styles alone: give a name such as {names[0]!r}, no picture", "style"
                )

    def _request(self, style: Styles | None, options: Mapping[str, Any]) -> StylizeRequest:
        return StylizeRequest.of(**{**options, "style": style, "model": self.name})
