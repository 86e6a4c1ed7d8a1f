"""Colours of a style: a linear map from the photo's colours, which a network's strokes are painted onto.

Instance normalisation takes away what is light and what is dark on the whole, and a network takes long to learn
it back. A matrix and an offset per style bring it for twelve numbers; the network is left with the strokes.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impasto.core.statistics import split_weights
from impasto.networks.fast_cpu import at_least_float32

__all__ = ["ConditionalPalette", "colour_map"]

# Mean and covariance of 2 · RGB - 1 over photographs (1,694 of them, every eighth looked at).
PHOTO_MEAN = (-0.080, -0.128, -0.235)
PHOTO_COVARIANCE = ((0.276, 0.235, 0.202), (0.235, 0.252, 0.237), (0.202, 0.237, 0.281))
RIDGE = 0.1  # keeps the faint hues of a photo from becoming loud ones
GENTLE = 0.7  # of the style's contrast, or highlights would be white before there is a stroke
EPS = 0.02  # how near to black and white colours may come in logits
PIXELS = 4  # multiplied at once, as a matrix of 12 x 12: a third of the time of one


class ConditionalPalette(nn.Module):
    """A matrix (3, 3) and an offset (3) of every style, mixed by the weights of the styles.

    Untrained, it gives the photo back at a lower contrast.
    """

    ROWS: ClassVar[tuple[str, ...]] = ("matrix", "offset")

    def __init__(self, styles: int) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.zeros(styles, 3, 3))
        if not self.matrix.is_meta:  # where torch would load its compiler to look at the diagonal
            nn.init.constant_(self.matrix.data.diagonal(dim1=1, dim2=2), 2.0)
        self.offset = nn.Parameter(torch.zeros(styles, 3))

    def forward(self, image: Tensor, mix: Tensor) -> Tensor:
        """(B, 3, h, w) in [0, 1], (B, N) or (1, N) weights -> colours before the sigmoid, (B, 3, h, w).

        They are float32, or float64 where the image is.
        """
        # Products and sums by element, because autocast would take a matrix product in bfloat16.
        weights = at_least_float32(mix)
        matrix = (weights[:, :, None, None] * self.matrix).sum(1)  # (B, 3, 3)
        offset = (weights[:, :, None] * self.offset).sum(1) - matrix.sum(2)  # of 2 · RGB - 1, written for RGB
        b, _, h, w = image.shape
        # Of pixels as they lie one after the other, channels last; a few at once fill the processor's vectors.
        n = math.gcd(w, PIXELS)
        one = torch.eye(n, device=image.device)[:, None, :, None] * 2 * matrix[:, None, :, None, :]
        with torch.autocast(image.device.type, enabled=False):
            groups = at_least_float32(image).permute(0, 2, 3, 1).reshape(b, h, w // n, 3 * n).permute(0, 3, 1, 2)
            kernels = one.view(-1, 3 * n, 3 * n, 1, 1)
            # A picture or, where all share the weights, all of them at once.
            parts = zip(torch.tensor_split(groups, len(kernels)), kernels, offset.repeat(1, n), strict=True)
            outs = [F.conv2d(group, kernel, bias) for group, kernel, bias in parts]
        out = outs[0] if len(outs) == 1 else torch.cat(outs)
        return out.permute(0, 2, 3, 1).reshape(b, h, w, 3).permute(0, 3, 1, 2)


def colour_map(style: Tensor) -> tuple[Tensor, Tensor]:
    """The matrix (3, 3) and the offset (3) that give an average photo the colours of `style` (1, 3 or 4, h, w).

    Its values are in [0, 1]; pixels count as far as its fourth channel says, all the same if there is none.
    Mean and covariance of the style's logits are matched through matrix square roots (as in colour transfer by
    Pitié & Kokaram 2007, section 3), with a ridge and at a lower contrast.
    """
    # On the processor: not every GPU has float64, nor does a matrix of nine numbers gain anything there.
    colours, weights = split_weights(style.cpu().double())
    logits = torch.logit(colours[0].flatten(1), eps=EPS)  # (3, h · w)
    share = logits.new_ones(1, logits.shape[1]) if weights is None else weights[0].flatten(1)
    share = share / share.sum()
    mean = (logits * share).sum(1)
    centred = logits - mean[:, None]
    covariance = (centred * share) @ centred.T
    photo = torch.tensor(PHOTO_MEAN, dtype=torch.double), torch.tensor(PHOTO_COVARIANCE, dtype=torch.double)
    matrix = GENTLE * _power(covariance, 0.5) @ _power(photo[1], -0.5)
    return matrix.float().to(style.device), (mean - matrix @ photo[0]).float().to(style.device)


def _power(covariance: Tensor, exponent: float) -> Tensor:
    values, vectors = torch.linalg.eigh(covariance + RIDGE * torch.eye(3, dtype=covariance.dtype))
    root: Tensor = (vectors * values**exponent) @ vectors.T
    return root
