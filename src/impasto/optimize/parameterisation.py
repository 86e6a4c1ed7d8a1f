"""What an optimiser moves: a picture as pixels, as a Laplacian pyramid or as decorrelated frequencies.

The same gradient takes different steps in different coordinates. Adam moves every coordinate by about the same
amount, so in pixels it first moves the finest grain; in a pyramid all sizes of stroke move at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.types import Parameterisation

__all__ = ["Canvas", "Fourier", "Parameterisation", "Pixels", "Pyramid", "build_pyramid", "collapse_pyramid"]


class Canvas(ABC):
    """Coordinates of one picture (1, 3, H, W). `parameters` are leaves that an optimiser may move in place."""

    parameters: list[Tensor]

    @abstractmethod
    def image(self) -> Tensor:
        """The picture, differentiable with respect to the parameters; values may leave [0, 1]."""

    def whole(self) -> Tensor:
        """The picture at full size, also where only its coarse levels are being painted."""
        return self.image()

    @property
    def everything(self) -> list[Tensor]:
        """All tensors that the picture is made of, moving or not."""
        return self.parameters

    @abstractmethod
    def clamp_(self) -> None:
        """Bring the picture back into [0, 1] where these coordinates allow it (pixels do)."""

    def _leaves(self, tensors: list[Tensor]) -> list[Tensor]:
        return [t.detach().clone(memory_format=torch.contiguous_format).requires_grad_() for t in tensors]


class Pixels(Canvas):
    """Pixels in units of 1/`levels`: 1 for [0, 1], 255 where a preset's learning rate counts grey levels."""

    def __init__(self, image: Tensor, levels: float = 1.0) -> None:
        self.levels = levels
        self.parameters = self._leaves([image * levels])

    def image(self) -> Tensor:
        """See `Canvas.image`."""
        return self.parameters[0] / self.levels

    @torch.no_grad()
    def clamp_(self) -> None:
        """See `Canvas.clamp_`."""
        self.parameters[0].clamp_(0, self.levels)


class Pyramid(Canvas):
    """A Laplacian pyramid (Burt & Adelson 1983), as in STROTSS (Kolkin et al. 2019, section 3.2).

    `halvings` of the finest levels are left out of `parameters` and of `image`: the picture is then painted at
    that fraction of its size, and the finer levels keep what they had until they join in.
    """

    def __init__(self, image: Tensor, levels: int = 6, halvings: int = 0) -> None:
        self.levels = self._leaves(build_pyramid(image, levels))
        self.halvings = min(halvings, len(self.levels) - 1)

    @property
    def parameters(self) -> list[Tensor]:  # type: ignore[override]
        """What moves: the levels but for the `halvings` finest."""
        return self.levels[self.halvings :]

    def image(self) -> Tensor:
        """See `Canvas.image`."""
        return collapse_pyramid(self.parameters)

    @property
    def everything(self) -> list[Tensor]:
        """See `Canvas.everything`."""
        return self.levels

    def whole(self) -> Tensor:
        """See `Canvas.whole`."""
        return collapse_pyramid(self.levels)

    def clamp_(self) -> None:
        """A pyramid has no bounds; the loss has a term for them instead."""


class Fourier(Canvas):
    """Frequencies scaled by 1/f in decorrelated colours (Olah, Mordvintsev & Schubert 2017, "Lucid")."""

    def __init__(self, image: Tensor) -> None:
        self.size = (image.shape[2], image.shape[3])
        fy = torch.fft.fftfreq(self.size[0], device=image.device)[:, None]
        fx = torch.fft.rfftfreq(self.size[1], device=image.device)
        # Natural pictures have 1/f amplitudes: divided by that, every frequency is about equally large.
        self.scale = 1 / (fy.square() + fx.square()).sqrt().clamp_min(1 / max(self.size))
        spectrum = torch.fft.rfft2(self._mix(image, inverse=True), norm="ortho") / self.scale
        self.parameters = self._leaves([torch.view_as_real(spectrum)])

    def image(self) -> Tensor:
        """See `Canvas.image`."""
        spectrum = torch.view_as_complex(self.parameters[0]) * self.scale
        return self._mix(torch.fft.irfft2(spectrum, s=self.size, norm="ortho"))

    def clamp_(self) -> None:
        """Frequencies have no bounds; the loss has a term for them instead."""

    @staticmethod
    def _mix(image: Tensor, *, inverse: bool = False) -> Tensor:
        """Brightness and two colour differences (orthogonal, like YIQ) to RGB, or back."""
        basis = image.new_tensor([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [1.0, -2.0, 1.0]])
        basis = basis / basis.square().sum(1, keepdim=True).sqrt()
        return torch.einsum("ij,bjhw->bihw", basis if inverse else basis.T, image)


def build_pyramid(image: Tensor, levels: int) -> list[Tensor]:
    """(B, 3, H, W) -> at most `levels` tensors, finest differences first, a small picture last."""
    out: list[Tensor] = []
    while len(out) < levels - 1 and min(image.shape[2:]) >= 4:
        size = ((image.shape[2] + 1) // 2, (image.shape[3] + 1) // 2)
        small = F.interpolate(image, size=size, mode="bilinear", antialias=True)
        out.append(image - F.interpolate(small, size=image.shape[2:], mode="bilinear"))
        image = small
    return [*out, image]


def collapse_pyramid(levels: list[Tensor]) -> Tensor:
    """The picture whose pyramid this is; inverse of `build_pyramid`."""
    image = levels[-1]
    for detail in reversed(levels[:-1]):
        image = F.interpolate(image, size=detail.shape[2:], mode="bilinear") + detail
    return image
