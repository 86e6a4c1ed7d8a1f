"""Photos as networks see them, read by rows.

Of those with transparency, the same values that `Picture` gives by `cleared`, `resized` and `seen`.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from impasto.core.streams import split_rows
from impasto.core.tensors import to_array, to_tensor
from impasto.imaging.ground import Ground, GroundSums, fill, lay
from impasto.imaging.noise import CELL, GroundNoise
from impasto.imaging.picture import nothing_shows
from impasto.imaging.pixelfile import Strips
from impasto.imaging.sizes import unweigh
from impasto.tiling.photos import Photo
from impasto.tiling.resized import Resized

__all__ = ["Alpha", "Clear", "Primed", "Seen", "find_ground"]

SUMMED = 1 << 20  # px that are read at a time to find a photo's ground


def find_ground(photo: Strips) -> Ground | None:
    """The colours that fill a photo where it is transparent, found by reading all of it; None where it is opaque.

    ImageError where nothing of it shows.
    """
    if not photo.has_alpha:
        return None
    sums = GroundSums((photo.height, photo.width))
    for top, bottom in split_rows(photo.height, max(1, SUMMED // photo.width)):
        sums.add(top, photo.read(top, bottom), photo.read_alpha(top, bottom)[:, :, None])
    if not sums.visible:
        raise nothing_shows(photo.name)
    return None if sums.opaque else sums.ground()


class Alpha:
    """A photo's transparency, (1, 1, n, W)."""

    def __init__(self, strips: Strips) -> None:
        self.strips, self.height, self.width = strips, strips.height, strips.width

    def read(self, top: int, bottom: int) -> Tensor:
        """See `Photo`."""
        return to_tensor(self.strips.read_alpha(top, bottom))


class _Colours:
    """A photo's colours, (1, 3, n, W)."""

    def __init__(self, strips: Strips) -> None:
        self.strips, self.height, self.width = strips, strips.height, strips.width

    def read(self, top: int, bottom: int) -> Tensor:
        return to_tensor(self.strips.read(top, bottom))


class _Weighed:
    """Colours times alpha, and alpha, (1, 4, n, W)."""

    def __init__(self, strips: Strips) -> None:
        self.strips, self.height, self.width = strips, strips.height, strips.width

    def read(self, top: int, bottom: int) -> Tensor:
        alpha = self.strips.read_alpha(top, bottom)[:, :, None]
        return to_tensor(np.concatenate([self.strips.read(top, bottom) * alpha, alpha], axis=2))


class Clear:
    """A photo at a size, without the colours that its transparency hides, as `Picture.resized` gives them."""

    def __init__(self, strips: Strips, size: tuple[int, int], ground: Ground | None) -> None:
        self.strips, self.ground, (self.height, self.width) = strips, ground, size
        weighed = ground is not None and size != (strips.height, strips.width)
        self.source: Photo = (
            Resized(_Weighed(strips), size, clamp=False) if weighed else Resized(_Colours(strips), size)
        )
        self.weighed = weighed

    def read(self, top: int, bottom: int) -> Tensor:
        """See `Photo`."""
        rows = self.source.read(top, bottom)
        if self.ground is None:
            return rows
        found = to_array(rows)
        rgb, alpha = unweigh(found) if self.weighed else (found, self.strips.read_alpha(top, bottom))
        ground = self.ground.rows((self.height, self.width), top, bottom)
        return to_tensor(fill(rgb, alpha[:, :, None], ground))


class Seen:
    """What a network is to see of a clear photo, as `Picture.seen` gives it."""

    def __init__(self, photo: Clear, ground: Ground) -> None:
        self.photo, self.ground, self.height, self.width = photo, ground, photo.height, photo.width
        self.alpha = Resized(Alpha(photo.strips), (photo.height, photo.width))

    def read(self, top: int, bottom: int) -> Tensor:
        """See `Photo`."""
        ground = self.ground.rows((self.height, self.width), top, bottom)
        return to_tensor(lay(to_array(self.photo.read(top, bottom)), to_array(self.alpha.read(top, bottom)), ground))


class Primed:
    """A photo with a painter's ground, as `imaging.noise.on_ground` gives it; all of it is read once before."""

    def __init__(self, photo: Photo, strength: float) -> None:
        self.photo, self.height, self.width = photo, photo.height, photo.width
        self.noise = GroundNoise((photo.height, photo.width), strength)
        step = CELL * max(1, SUMMED // (CELL * photo.width))
        for top in range(0, photo.height, step):
            self.noise.look(top, to_array(photo.read(top, min(photo.height, top + step))))

    def read(self, top: int, bottom: int) -> Tensor:
        """See `Photo`."""
        return to_tensor(self.noise.add(top, to_array(self.photo.read(top, bottom))))
