"""A picture inside the program."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from impasto.errors import ImageError
from impasto.imaging.ground import Ground, fill, ground_of, lay, texture
from impasto.imaging.metadata import Metadata
from impasto.imaging.profiles import SRGB
from impasto.imaging.sizes import Bicubic, bicubic, resize, resize_weighed

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Picture", "is_tensor", "nothing_shows", "to_pil"]

Floats: TypeAlias = NDArray[np.float32]
PART = 1 << 18  # px that are made whole numbers at a time


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture with what a file knows besides its colours.

    Attributes:
        rgb: (H, W, 3) float32 in [0, 1], sRGB-encoded, upright.
        alpha: (H, W) float32 in [0, 1], straight (not premultiplied), or None.
        bits: 8 or 16, the depth it came with and goes out with where the format can.
        name: the file's name without folders, or a word for where it came from.
        ground: what continues the colours where alpha hides them; None where it hides none, or before `cleared`.
        metadata: what its file said besides; of which `imaging.write` takes the resolution, and more if asked to.
        digest: SHA-256 of the bytes that it was read from where they can be read but once; empty otherwise.
    """

    rgb: Floats
    alpha: Floats | None = None
    bits: int = 8
    name: str = "picture"
    ground: Ground | None = None
    metadata: Metadata = field(default_factory=Metadata)
    digest: str = field(default="", init=False)  # of this very picture: `replace` leaves it behind

    def __post_init__(self) -> None:
        for part in (self.rgb, self.alpha):
            if part is not None and not isinstance(part, np.ndarray):
                raise ImageError(f"{self.name}: of {type(part).__name__}, need arrays; `as_picture` takes tensors, too")
        shape = self.rgb.shape
        if len(shape) != 3 or shape[2] != 3:
            raise ImageError(f"{self.name}: an array of shape {shape}, need (H, W, 3)")
        if self.alpha is not None and self.alpha.shape != shape[:2]:
            raise ImageError(f"{self.name}: alpha of shape {self.alpha.shape}, need {shape[:2]} like the colours")

    def __repr__(self) -> str:
        seen = ", with transparency" if self.alpha is not None else ""
        return f"Picture({self.name!r}, {self.width}x{self.height} px, {self.bits} bits{seen})"

    @property
    def height(self) -> int:
        """In px."""
        return int(self.rgb.shape[0])

    @property
    def width(self) -> int:
        """In px."""
        return int(self.rgb.shape[1])

    def cleared(self) -> Picture:
        """The same picture without the colours that alpha hides: visible ones continue there. Others stay as they are.

        What is to be painted, resized or looked at is cleared first. ``ImageError`` where nothing shows.
        """
        if self.alpha is None or self.ground is not None:
            return self
        if not self.alpha.any():
            raise nothing_shows(self.name)
        alpha = self.alpha[:, :, None]
        ground = ground_of(self.rgb, alpha)
        if ground is None:
            return self
        rows = ground.rows((self.height, self.width), 0, self.height)
        return replace(self, rgb=fill(self.rgb, alpha, rows), ground=ground)

    def resized(self, size: tuple[int, int], by: Bicubic = bicubic) -> Picture:
        """The same picture, cleared, at another (height, width); colours are weighed by alpha, see `sizes.resize`."""
        picture = self.cleared()
        if size == (self.height, self.width):
            return picture
        alpha = None if picture.alpha is None else resize(picture.alpha, size, by)
        if picture.alpha is None or picture.ground is None:
            return replace(picture, rgb=resize(picture.rgb, size, by), alpha=alpha)
        rgb, shows = resize_weighed(picture.rgb, picture.alpha, size, by)
        rows = picture.ground.rows(size, 0, size[0])
        return replace(picture, rgb=fill(rgb, shows[:, :, None], rows), alpha=alpha)

    def seen(self) -> Floats:
        """What a network is to see, (H, W, 3): colours laid on what continues them where they are transparent.

        ``ImageError`` where nothing shows.
        """
        picture = self.cleared()
        if picture.alpha is None or picture.ground is None:
            return picture.rgb
        rows = picture.ground.rows((self.height, self.width), 0, self.height)
        return lay(picture.rgb, picture.alpha[:, :, None], rows)

    def textured(self) -> Floats:
        """As `seen`, but continued with a mirror image of what shows: as a style, whose texture matters."""
        picture = self.cleared()
        if picture.alpha is None or picture.ground is None:
            return picture.rgb
        rows = picture.ground.rows((self.height, self.width), 0, self.height)
        return texture(picture.rgb, picture.alpha[:, :, None], rows)

    def weighed(self) -> Floats:
        """As `textured`, (H, W, 3), or (H, W, 4) with alpha, which tells how far a pixel counts."""
        picture = self.cleared()
        if picture.alpha is None or picture.ground is None:
            return picture.rgb
        return np.concatenate([picture.textured(), picture.alpha[:, :, None]], axis=2)

    def opaque(self) -> Picture:
        """The same picture without transparency, `textured`; ``ImageError`` where nothing shows."""
        return replace(self, rgb=self.textured(), alpha=None, ground=None)

    def with_rgb(self, rgb: Floats) -> Picture:
        """The same picture repainted.

        ``rgb`` is (h, w, 3); it is clamped to [0, 1]. Alpha is kept, and resized where h, w differ from the old size.
        """
        alpha = self.alpha
        if alpha is not None and rgb.ndim == 3:
            alpha = resize(alpha, (rgb.shape[0], rgb.shape[1]))
        return replace(self, rgb=rgb.clip(0, 1), alpha=alpha, ground=None)

    def integers(self, bits: int, with_alpha: bool = True) -> NDArray[Any]:
        """(H, W, 3), or (H, W, 4) with alpha, as uint8 or uint16, rounded to nearest.

        Without alpha a transparent picture is laid on white. ``ImageError`` where a value is NaN or infinite.
        """
        # The sum tells at once that all is well, in a thirtieth of the time; values may be finite and their sum not.
        with np.errstate(over="ignore", invalid="ignore"):
            total = self.rgb.sum()
        if not (np.isfinite(total) or np.isfinite(self.rgb).all()):
            raise ImageError(f"{self.name}: NaN or infinite values among the colours, need numbers in [0, 1]")
        channels = 4 if self.alpha is not None and with_alpha else 3
        whole = np.empty((self.height, self.width, channels), np.uint8 if bits == 8 else np.uint16)
        step = max(1, PART // self.width)
        for top in range(0, self.height, step):
            rows = slice(top, top + step)
            rgb = self.rgb[rows]
            if self.alpha is not None and with_alpha:
                whole[rows, :, 3] = _rounded(self.alpha[rows], bits)
            elif self.alpha is not None:
                rgb = rgb + (1 - self.alpha[rows, :, None]) * (1 - rgb)
            whole[rows, :, :3] = _rounded(rgb, bits)
        return whole


def _rounded(values: Floats, bits: int) -> Floats:
    """Of [0, 1], in whole numbers up to the largest of so many bits, still float32."""
    top = np.float32(2**bits - 1)
    scaled = values * top
    return np.clip(np.rint(scaled, out=scaled), 0, top, out=scaled)


def to_pil(picture: Picture | Floats | Tensor) -> Image.Image:
    """8-bit RGB, or RGBA where the picture has alpha, with the sRGB profile in ``info["icc_profile"]``.

    An array is (H, W, 3), a tensor (3, H, W) or (1, 3, H, W), with values in [0, 1]; what lies outside is clamped.
    ``ImageError`` for other shapes and for NaN.
    """
    if not isinstance(picture, Picture):
        picture = Picture(_rows(picture))
    image = Image.fromarray(picture.integers(8))
    image.info["icc_profile"] = SRGB
    return image


def _rows(values: Any) -> Floats:
    """A tensor (3, H, W) or (1, 3, H, W) as (H, W, 3); an array as it is."""
    if is_tensor(values):
        shape = tuple(values.shape)
        if shape[:-2] not in ((3,), (1, 3)):
            raise ImageError(f"tensor: shape {shape}, need (3, H, W) or (1, 3, H, W)")
        values = values.detach().cpu().float().numpy().reshape(shape[-3:]).transpose(1, 2, 0)
    rows: Floats = np.asarray(values, np.float32)
    return rows


def is_tensor(value: Any) -> bool:
    """Whether it is one of torch's, which nobody has who has not imported torch."""
    return hasattr(value, "detach") and any(kind.__module__.split(".")[0] == "torch" for kind in type(value).__mro__)


def nothing_shows(name: str) -> ImageError:
    """The error for a picture that is transparent everywhere."""
    return ImageError(f"{name}: transparent everywhere, need something that shows; make it opaque or choose another")
