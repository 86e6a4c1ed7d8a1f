"""A trained network in torch: bound to styles, which are encoded once."""

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
from impasto.core.resizing import bicubic_rows, resize
from impasto.core.tensors import to_tensor
from impasto.files import sha256
from impasto.imaging import fit_long_side
from impasto.imaging.reduced import read_reduced, reading_bytes
from impasto.networks.encoded import EncodedStyle
from impasto.networks.inference import bind, encode
from impasto.networks.registry import Network, kind_of
from impasto.stylizer.model import Model
from impasto.stylizer.request import EngineName, StylizeRequest
from impasto.stylizer.styles import Style

if TYPE_CHECKING:
    from impasto.networks.bound import BoundStyle
    from impasto.stylizer.engine import Engine
    from impasto.types import PictureSource

__all__ = ["TorchModel"]

REMEMBERED = 64  # encoded style pictures, each by its file and by its content
STYLE_SIZE = 512  # long side in px at which they are looked at, as in training


class TorchModel(Model):
    """A network of torch's, on a device, in a precision.

    Attributes:
        network: of `networks.registry`, made `ready`.
        kind: what networks of its method can do.
        device, precision: where it is, and in which numbers its features are computed.
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
        self.network, self.device, self.precision, self.kind = network, device, precision, kind_of(network)
        super().__init__(engine, description, name, path, sha256(path))
        self._encoded: OrderedDict[str, EncodedStyle] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def computes_in(self) -> EngineName:
        """See `Model`."""
        return "torch"

    @property
    def any_style(self) -> bool:
        """See `Model`."""
        return self.kind.styled_by == "pictures"

    @property
    def mixes_features(self) -> bool:
        """See `Model`."""
        return self.kind.alpha

    @property
    def method(self) -> str:
        """See `Model`."""
        return self.kind.method

    @in_our_settings
    def bind(self, styles: Sequence[Style], max_megapixels: float, limit: int | None = None) -> BoundStyle:
        """The network with these styles, a function from photo to painting.

        `limit` is how many bytes the process may need at most while style pictures are read.

        Raises:
            OptionError: a style that it does not know, or none where it knows several.
            ImageError: a picture that cannot be read.
        """
        self.check_styles(styles)
        if self.any_style:
            return bind(self.network, [(self._encode(row, max_megapixels, limit), row.weight) for row in styles])
        return bind(self.network, [(str(row.image), row.weight) for row in styles])

    def _encode(self, style: Style, max_megapixels: float, limit: int | None) -> EncodedStyle:
        """What the network keeps of a style picture, remembered by the file or the picture's content."""
        with self._lock:
            file = _file_key(style.image)
            if file is not None and (known := self._remembered(file)) is not None:
                return known
            room = room_within(limit)
            found = read_reduced(
                style.image, long_side=STYLE_SIZE, max_megapixels=max_megapixels, room=room, by=bicubic_rows
            )
            picture = to_tensor(found.weighed())
            small = resize(picture, fit_long_side((picture.shape[2], picture.shape[3]), STYLE_SIZE))
            content = hashlib.sha256(f"{tuple(small.shape)}".encode() + small.numpy().tobytes()).hexdigest()
            known = self._remembered(content)
            if known is None:
                with torch.inference_mode():
                    known = encode(self.network, small.to(self.device))
            self._encoded |= {key: known for key in (content, file) if key is not None}
            while len(self._encoded) > 2 * REMEMBERED:
                self._encoded.popitem(last=False)
            return known

    def reading_bytes(self, request: StylizeRequest, size: tuple[int, int], limit: int | None) -> int:
        """Bytes that reading the request's styles and masks takes at most; nothing is decoded.

        `size` is the (height, width) of the painting, `limit` what the process may need at most.
        """
        pictures = [row.image for row in request.style] if self.any_style else []
        if not pictures and not request.mask:
            return 0
        room, largest = room_within(limit), request.max_megapixels
        needs = [reading_bytes(one, long_side=STYLE_SIZE, max_megapixels=largest, room=room) for one in pictures]
        needs += [reading_bytes(one, size=size, light=True, max_megapixels=largest, room=room) for one in request.mask]
        return max(needs, default=0)

    def _remembered(self, key: str) -> EncodedStyle | None:
        if key in self._encoded:
            self._encoded.move_to_end(key)
        return self._encoded.get(key)


def _file_key(source: PictureSource) -> str | None:
    """What changes when a file does; None for a picture in memory."""
    if not isinstance(source, str | os.PathLike) or os.fspath(source) == "-":
        return None
    try:
        found = Path(source).stat()
    except (OSError, ValueError):  # reading it will tell
        return None
    return f"{os.path.realpath(source)}|{found.st_ino}|{found.st_size}|{found.st_mtime_ns}"
