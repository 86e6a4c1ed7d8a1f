"""Using a trained network: one pass through it, whichever of ours it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from impasto.core.precision import Precision
from impasto.errors import OptionError
from impasto.methods.adain import AdaIN
from impasto.methods.files import Network
from impasto.methods.johnson import Johnson
from impasto.methods.layers import use_precision
from impasto.methods.styled import StyledNetwork

__all__ = ["paint", "ready"]


def ready(network: Network, precision: Precision, device: torch.device | str = "cpu") -> Network:
    """The network for use, in place: on the device, its weights in this precision and layout, in eval mode."""
    network.to(device)
    use_precision(network, precision)
    return network.eval()


@torch.inference_mode()
def paint(
    network: Network,
    photo: Tensor,
    *,
    styles: str | Mapping[str, float] | None = None,
    pictures: Sequence[tuple[Tensor, float]] = (),
    masks: Sequence[Tensor] | None = None,
    alpha: float = 1.0,
) -> Tensor:
    """Repaint (B, 3, H, W) in [0, 1], any size, with a trained network -> the same shape, float32.

    Args:
        network: from `load_model`, made `ready`.
        photo: on the network's device.
        styles: for a network that knows its styles by name: a name, or names with weights, which need not sum to
            1. May be left out where it knows but one.
        pictures: for a network of any style: style pictures (1, 3, h, w), each with a weight.
        masks: for a network of any style: the region of each picture, (1, 1, h, w) in [0, 1], stretched over the
            photo.
        alpha: strength in [0, 1]: 0 gives the photo back, 1 is the full style. Between them AdaIN mixes features
            (Huang & Belongie 2017, eq. 14), the others mix pictures.

    Raises:
        OptionError: styles that the network does not know, a choice that it does not have, or alpha out of range.
    """
    if not 0 <= alpha <= 1:
        raise OptionError(f"alpha is {alpha}, need a number from 0 to 1")
    if isinstance(network, AdaIN):
        if styles is not None or not pictures:
            raise OptionError("this network paints in the manner of any picture: give pictures as styles, not names")
        shown, weights = [picture for picture, _ in pictures], [weight for _, weight in pictures]
        painted = network(photo, shown, weights=weights, masks=masks, alpha=alpha)
        return photo if alpha == 0 else painted.clamp(0, 1)  # at 0 the decoder would still leave its traces
    if pictures or masks is not None:
        raise OptionError(f"this network knows its own styles alone ({_known(network)}): give names, not pictures")
    painted = (
        network(photo, _mix(network, styles)) if isinstance(network, StyledNetwork) else _one(network, photo, styles)
    )
    return torch.lerp(photo.float(), painted.clamp(0, 1), alpha)


def _one(network: Johnson, photo: Tensor, styles: str | Mapping[str, float] | None) -> Tensor:
    if styles is not None:
        raise OptionError("this network has a single style: leave its name out")
    painted: Tensor = network(photo)
    return painted


def _mix(network: StyledNetwork, styles: str | Mapping[str, float] | None) -> Tensor:
    if styles is None:
        if len(network.styles) > 1:
            raise OptionError(f"which style? this network has {', '.join(network.styles)}")
        styles = network.styles[0]
    return network.mix(styles)


def _known(network: Network) -> str:
    return ", ".join(network.styles) if isinstance(network, StyledNetwork) else "one without a name"
