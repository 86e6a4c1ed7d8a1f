"""A picture inside the program."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from impasto.errors import ImageError
from impasto.imaging.ground import Ground, fill, ground_of, lay, texture
from impasto.imaging.metadata import Metadata
from impasto.imaging.profiles import SRGB
from impasto.imaging.sizes import resize, resize_weighed

__all__ = ["Picture", "from_rows", "nothing_shows", "to_pil", "to_rows"]


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture with what a file knows besides its colours.

    Attributes:
        rgb: (1, 3, H, W) float32 in [0, 1], sRGB-encoded, upright.
        alpha: (1, 1, H, W) float32 in [0, 1], straight (not premultiplied), or None.
        bits: 8 or 16, the depth it came with and goes out with where the format can.
        name: the file's name without folders, or a word for where it came from.
        ground: what continues the colours where alpha hides them; None where it hides none, or before `cleared`.
        metadata: what its file said besides; of which `imaging.write` takes the resolution, and more if asked to.
    """

    rgb: Tensor
    alpha: Tensor | None = None
    bits: int = 8
    name: str = "picture"
    ground: Ground | None = None
    metadata: Metadata = field(default_factory=Metadata)

    def __post_init__(self) -> None:
        shape = tuple(self.rgb.shape)
        if len(shape) != 4 or shape[:2] != (1, 3):
            raise ImageError(f"{self.name}: a tensor of shape {shape}, need (1, 3, H, W)")
        if self.alpha is not None and tuple(self.alpha.shape) != (1, 1, *shape[2:]):
            raise ImageError(
                f"{self.name}: alpha of shape {tuple(self.alpha.shape)}, need {(1, 1, *shape[2:])} like the colours"
            )

    @property
    def height(self) -> int:
        """In px."""
        return self.rgb.shape[2]

    @property
    def width(self) -> int:
        """In px."""
        return self.rgb.shape[3]

    def cleared(self) -> Picture:
        """The same picture without the colours that alpha hides: visible ones continue there. Others stay as they are.

        What is to be painted, resized or looked at is cleared first. ``ImageError`` where nothing shows.
        """
        if self.alpha is None or self.ground is not None:
            return self
        colours, alpha = to_rows(self.rgb), to_rows(self.alpha)
        if not alpha.any():
            raise nothing_shows(self.name)
        ground = ground_of(colours, alpha)
        if ground is None:
            return self
        rows = ground.rows((self.height, self.width), 0, self.height)
        return replace(self, rgb=from_rows(fill(colours, alpha, rows)), ground=ground)

    def resized(self, size: tuple[int, int]) -> Picture:
        """The same picture, cleared, at another (height, width); colours are weighed by alpha, see `sizes.resize`."""
        picture = self.cleared()
        if size == (self.height, self.width):
            return picture
        if picture.alpha is None or picture.ground is None:
            return picture.with_rgb(resize(picture.rgb, size))
        rgb, alpha = resize_weighed(picture.rgb, picture.alpha, size)
        rows = picture.ground.rows(size, 0, size[0])
        rgb = from_rows(fill(to_rows(rgb), to_rows(alpha), rows))
        return replace(picture, rgb=rgb, alpha=resize(picture.alpha, size))

    def seen(self) -> Tensor:
        """What a network is to see, (1, 3, H, W): colours laid on what continues them where they are transparent.

        ``ImageError`` where nothing shows.
        """
        picture = self.cleared()
        if picture.alpha is None or picture.ground is None:
            return picture.rgb
        rows = picture.ground.rows((self.height, self.width), 0, self.height)
        return from_rows(lay(to_rows(picture.rgb), to_rows(picture.alpha), rows))

    def textured(self) -> Tensor:
        """As `seen`, but continued with a mirror image of what shows: as a style, whose texture matters."""
        picture = self.cleared()
        if picture.alpha is None or picture.ground is None:
            return picture.rgb
        rows = picture.ground.rows((self.height, self.width), 0, self.height)
        return from_rows(texture(to_rows(picture.rgb), to_rows(picture.alpha), rows))

    def weighed(self) -> Tensor:
        """As `textured`, (1, 3, H, W), or (1, 4, H, W) with alpha, which tells how far a pixel counts."""
        picture = self.cleared()
        if picture.alpha is None or picture.ground is None:
            return picture.rgb
        return torch.cat([picture.textured(), picture.alpha], dim=1).contiguous(memory_format=torch.channels_last)

    def opaque(self) -> Picture:
        """The same picture without transparency, `textured`; ``ImageError`` where nothing shows."""
        return replace(self, rgb=self.textured(), alpha=None, ground=None)

    def with_rgb(self, rgb: Tensor) -> Picture:
        """The same picture repainted.

        ``rgb`` is (1, 3, h, w) of any float type on any device; it is clamped to [0, 1]. Alpha is kept, and
        resized where h, w differ from the old size.
        """
        rgb = rgb.detach().to(device="cpu", dtype=torch.float32).clamp(0, 1)
        alpha = self.alpha
        if alpha is not None and rgb.ndim == 4:
            alpha = resize(alpha, (rgb.shape[2], rgb.shape[3]))
        return replace(self, rgb=rgb, alpha=alpha, ground=None)

    def integers(self, bits: int, with_alpha: bool = True) -> NDArray[Any]:
        """(H, W, 3), or (H, W, 4) with alpha, as uint8 or uint16, rounded to nearest.

        Without alpha a transparent picture is laid on white. ``ImageError`` where a value is NaN or infinite.
        """
        rgb = self.rgb
        # The sum tells at once that all is well, in a thirtieth of the time; values may be finite and their sum not.
        if not bool(rgb.sum().isfinite() or torch.isfinite(rgb).all()):
            raise ImageError(f"{self.name}: NaN or infinite values among the colours, need numbers in [0, 1]")
        if self.alpha is not None and not with_alpha:
            rgb = torch.lerp(torch.ones_like(rgb), rgb, self.alpha)
        elif self.alpha is not None:
            rgb = torch.cat([rgb, self.alpha], dim=1)
        top = 2**bits - 1
        whole = rgb[0].mul(top).round_().clamp_(0, top)  # (C, H, W), still float32
        if bits == 8:
            return whole.to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
        return whole.permute(1, 2, 0).numpy().astype(np.uint16, order="C")


def to_pil(picture: Picture | Tensor) -> Image.Image:
    """8-bit RGB, or RGBA where the picture has alpha, with the sRGB profile in ``info["icc_profile"]``.

    A tensor is (3, H, W) or (1, 3, H, W) with values in [0, 1]; what lies outside is clamped. ``ImageError``
    for other shapes and for NaN.
    """
    if isinstance(picture, Tensor):
        rgb = picture[None] if picture.ndim == 3 else picture
        picture = Picture(rgb.detach().to(device="cpu", dtype=torch.float32))
    image = Image.fromarray(picture.integers(8))
    image.info["icc_profile"] = SRGB
    return image


def to_rows(planes: Tensor) -> NDArray[np.float32]:
    """(1, C, H, W) on the processor -> (H, W, C), a view where the layout is channels-last."""
    rows: NDArray[np.float32] = planes[0].permute(1, 2, 0).numpy()
    return rows


def from_rows(rows: NDArray[np.float32]) -> Tensor:
    """(H, W, C) -> (1, C, H, W), channels-last, a view."""
    return torch.from_numpy(rows)[None].permute(0, 3, 1, 2)


def nothing_shows(name: str) -> ImageError:
    """The error for a picture that is transparent everywhere."""
    return ImageError(f"{name}: transparent everywhere, need something that shows; make it opaque or choose another")
