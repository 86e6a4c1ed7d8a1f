"""What is looked at in gradients before a step is taken: whether they are finite, and how large they usually are."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["GradientLimit"]

LIMIT = 5.0  # times the usual norm
SMOOTHING = 0.9


class GradientLimit:
    """Scales gradients down whose norm is far above that of the steps before.

    A photo with next to nothing on it can have gradients a hundred times the others'; Adam's second moment would
    remember them for a thousand steps, in which nothing is learned. (Pascanu et al. 2013 clip at a fixed norm;
    here it is relative, because losses and networks differ.)

    Attributes:
        usual: mean norm of the gradients of late, None before the first.
    """

    def __init__(self, usual: float | None = None) -> None:
        self.usual = usual

    def apply(self, gradients: Mapping[str, Tensor]) -> str:
        """Scale the gradients, by parameter, in place; what of them is not finite, in words, or nothing."""
        norm = float(torch.nn.utils.get_total_norm(list(gradients.values())))
        if norm != norm or norm == float("inf"):  # the norm may overflow where no value does
            return f"gradient ({_not_finite(gradients) or 'its norm'})"
        most = norm if self.usual is None else LIMIT * self.usual
        if norm > most:
            torch._foreach_mul_(list(gradients.values()), most / norm)
        norm = min(norm, most)
        self.usual = norm if self.usual is None else SMOOTHING * self.usual + (1 - SMOOTHING) * norm
        return ""


def _not_finite(values: Mapping[str, Tensor]) -> str:
    """The names of those that hold something infinite or no number: the first three, and how many more there are."""
    names = [name for name, value in values.items() if not value.isfinite().all()]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
