"""What a file tells before it is decoded."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Header"]


@dataclass(frozen=True)
class Header:
    """What a file tells before it is decoded.

    Attributes:
        width, height: as they are stored, px.
        orientation: the EXIF value.
        alpha: which of the channels after the colours, if there are any, is transparency; None if none of them is.
        profile: the ICC profile, embedded or made from other descriptions of colour.
        page: of a TIFF, the number of the page and of the SubIFD within it, -1 for none.
        by_vips: whether pyvips reads its pixels as we mean them.
    """

    width: int
    height: int
    orientation: int = 1
    alpha: int | None = 0
    profile: bytes | None = field(default=None, repr=False)
    page: tuple[int, int] = (0, -1)
    by_vips: bool = True

    @property
    def turned(self) -> bool:
        """Whether width and height change places when the picture is looked at upright."""
        return self.orientation in (5, 6, 7, 8)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width), upright."""
        return (self.width, self.height) if self.turned else (self.height, self.width)
