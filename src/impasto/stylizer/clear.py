"""Photos with transparency, read by rows: the same values that `Picture` gives by `cleared`, `resized` and `seen`."""

from __future__ import annotations

import torch
from torch import Tensor

from impasto.core.streams import split_rows
from impasto.imaging.ground import Ground, GroundSums, fill, lay
from impasto.imaging.picture import from_rows, nothing_shows, to_rows
from impasto.imaging.pixelfile import Strips
from impasto.imaging.sizes import unweigh
from impasto.tiling.photos import Photo
from impasto.tiling.resized import Resized

__all__ = ["Alpha", "Clear", "Seen", "find_ground"]

SUMMED = 1 << 20  # px that are read at a time to find a photo's ground


def find_ground(photo: Strips) -> Ground | None:
    """The colours that fill a photo where it is transparent, found by reading all of it; None where it is opaque.

    ImageError where nothing of it shows.
    """
    if not photo.has_alpha:
        return None
    sums = GroundSums((photo.height, photo.width))
    for top, bottom in split_rows(photo.height, max(1, SUMMED // photo.width)):
        sums.add(top, to_rows(photo.read(top, bottom)), to_rows(photo.read_alpha(top, bottom)))
    if not sums.visible:
        raise nothing_shows(photo.name)
    return None if sums.opaque else sums.ground()


class Alpha:
    """A photo's transparency, (1, 1, n, W)."""

    def __init__(self, strips: Strips) -> None:
        self.strips, self.height, self.width = strips, strips.height, strips.width

    def read(self, top: int, bottom: int) -> Tensor:
        """See `Photo`."""
        return self.strips.read_alpha(top, bottom)


class _Weighed:
    """Colours times alpha, and alpha, (1, 4, n, W)."""

    def __init__(self, strips: Strips) -> None:
        self.strips, self.height, self.width = strips, strips.height, strips.width

    def read(self, top: int, bottom: int) -> Tensor:
        alpha = self.strips.read_alpha(top, bottom)
        return torch.cat([self.strips.read(top, bottom) * alpha, alpha], 1)


class Clear:
    """A photo at a size, without the colours that its transparency hides, as `Picture.resized` gives them."""

    def __init__(self, strips: Strips, size: tuple[int, int], ground: Ground | None) -> None:
        self.strips, self.ground, (self.height, self.width) = strips, ground, size
        weighed = ground is not None and size != (strips.height, strips.width)
        self.source: Photo = Resized(_Weighed(strips), size, clamp=False) if weighed else Resized(strips, size)
        self.weighed = weighed

    def read(self, top: int, bottom: int) -> Tensor:
        """See `Photo`."""
        rows = self.source.read(top, bottom)
        if self.ground is None:
            return rows
        rgb, alpha = unweigh(rows) if self.weighed else (rows, self.strips.read_alpha(top, bottom))
        ground = self.ground.rows((self.height, self.width), top, bottom)
        return from_rows(fill(to_rows(rgb), to_rows(alpha), ground))


class Seen:
    """What a network is to see of a clear photo, as `Picture.seen` gives it."""

    def __init__(self, photo: Clear, ground: Ground) -> None:
        self.photo, self.ground, self.height, self.width = photo, ground, photo.height, photo.width
        self.alpha = Resized(Alpha(photo.strips), (photo.height, photo.width))

    def read(self, top: int, bottom: int) -> Tensor:
        """See `Photo`."""
        ground = self.ground.rows((self.height, self.width), top, bottom)
        return from_rows(lay(to_rows(self.photo.read(top, bottom)), to_rows(self.alpha.read(top, bottom)), ground))
