"""Trained networks, loaded once and used for many photos."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from impasto.core.host import in_our_settings
from impasto.core.memory import room_within
from impasto.core.precision import Precision
from impasto.errors import OptionError
from impasto.files import sha256
from impasto.imaging import Picture, fit_long_side, resize, to_pil
from impasto.imaging.reduced import read_reduced, reading_bytes
from impasto.networks.encoded import EncodedStyle
from impasto.networks.inference import bind, encode
from impasto.networks.registry import Network, kind_of
from impasto.stylizer.request import StylizeRequest
from impasto.stylizer.strokes import factor_for_network
from impasto.stylizer.styles import Style, records

if TYPE_CHECKING:
    from PIL.Image import Image

    from impasto.networks.bound import BoundStyle
    from impasto.stylizer.engine import Engine
    from impasto.stylizer.job import JobPlan
    from impasto.types import PictureSource, Styles

__all__ = ["Model", "scaled"]

REMEMBERED = 64  # encoded style pictures
STYLE_SIZE = 512  # long side in px at which they are looked at, as in training


class Model:
    """A network, and what its file says of itself. `impasto.load` makes it; threads may share it.

    Attributes:
        name: the shipped name or the path it was loaded by.
        path: its file.
        styles: the styles it knows by name; none for a network of any style.
        description: what its file says: method, sizes, licence, recipe.
        kind: what networks of its method can do.
        sha256: of its file.
    """

    def __init__(
        self,
        engine: Engine,
        network: Network,
        description: Mapping[str, Any],
        name: str,
        path: Path,
        device: torch.device,
        precision: Precision,
    ) -> None:
        self.engine, self.network, self.description, self.name, self.path = engine, network, description, name, path
        self.device, self.precision, self.kind = device, precision, kind_of(network)
        self.sha256 = sha256(path)
        self.styles = () if self.any_style else records(description)
        self._encoded: OrderedDict[str, EncodedStyle] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def any_style(self) -> bool:
        """Whether styles are pictures instead of names."""
        return self.kind.styled_by == "pictures"

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
        with self.engine.job(image, self._request(style, options), model=self) as job:
            for record in job.run():
                if progress is not None:
                    progress(record)
            return job.result()

    def plan(self, image: PictureSource, style: Styles | None = None, **options: Any) -> JobPlan:
        """How a photo would be painted; arguments and errors as of `paint`."""
        with self.engine.job(image, self._request(style, options), model=self) as job:
            return job.plan()

    def _request(self, style: Styles | None, options: Mapping[str, Any]) -> StylizeRequest:
        return StylizeRequest.of(**{**options, "style": style, "model": self.name})

    @in_our_settings
    def bind(self, styles: Sequence[Style], max_megapixels: float, limit: int | None = None) -> BoundStyle:
        """The network with these styles, a function from photo to painting.

        `limit` is how many bytes the process may need at most while style pictures are read.

        Raises:
            OptionError: a style that it does not know, or none where it knows several.
            ImageError: a picture that cannot be read.
        """
        if self.any_style:
            return bind(self.network, [(self._encode(row, max_megapixels, limit), row.weight) for row in styles])
        for row in styles:
            if not isinstance(row.image, str):
                name = self.styles[0].name
                raise OptionError(f"{self.name} knows its own styles alone: give a name such as {name!r}, no picture")
        return bind(self.network, [(row.image, row.weight) for row in styles])

    def _encode(self, style: Style, max_megapixels: float, limit: int | None) -> EncodedStyle:
        """What the network keeps of a style picture, remembered by the file or the picture's content."""
        with self._lock:
            key = _file_key(style.image)
            if key is not None and (known := self._remembered(key)) is not None:
                return known
            room = room_within(limit)
            found = read_reduced(style.image, long_side=STYLE_SIZE, max_megapixels=max_megapixels, room=room)
            picture = found.weighed()
            small = resize(picture, fit_long_side((picture.shape[2], picture.shape[3]), STYLE_SIZE))
            key = key or hashlib.sha256(f"{tuple(small.shape)}".encode() + small.numpy().tobytes()).hexdigest()
            known = self._remembered(key)
            if known is None:
                with torch.inference_mode():
                    known = self._encoded[key] = encode(self.network, small.to(self.device))
                while len(self._encoded) > REMEMBERED:
                    self._encoded.popitem(last=False)
            return known

    def reading_bytes(self, request: StylizeRequest, size: tuple[int, int], limit: int | None) -> int:
        """Bytes that reading the request's styles and masks takes at most; nothing is decoded.

        `size` is the (height, width) of the painting, `limit` what the process may need at most.
        """
        room, largest = room_within(limit), request.max_megapixels
        pictures = [row.image for row in request.style] if self.any_style else []
        needs = [reading_bytes(one, long_side=STYLE_SIZE, max_megapixels=largest, room=room) for one in pictures]
        needs += [reading_bytes(one, size=size, light=True, max_megapixels=largest, room=room) for one in request.mask]
        return max(needs, default=0)

    def _remembered(self, key: str) -> EncodedStyle | None:
        if key in self._encoded:
            self._encoded.move_to_end(key)
        return self._encoded.get(key)


def _file_key(source: Any) -> str | None:
    """What changes when a file does; None for a picture in memory."""
    if not isinstance(source, str | os.PathLike) or os.fspath(source) == "-":
        return None
    try:
        found = Path(source).stat()
    except (OSError, ValueError):  # reading it will tell
        return None
    return f"{os.path.realpath(source)}|{found.st_ino}|{found.st_size}|{found.st_mtime_ns}"


def scaled(size: tuple[int, int], style_scale: float | str | None) -> tuple[int, int]:
    """The (height, width) at which a network sees a photo, so that its strokes, enlarged, become that much larger."""
    factor = 1.0 if style_scale is None else factor_for_network(style_scale, size)
    height, width = (max(1, round(side / factor)) for side in size)
    return height, width
