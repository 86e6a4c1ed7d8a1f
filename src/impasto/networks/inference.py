"""Using a trained network, whichever of ours it is: made ready, bound to styles, called."""

from __future__ import annotations

import torch
from torch import Tensor

from impasto.core.host import in_our_settings
from impasto.core.precision import Precision, PrecisionName, choose_precision
from impasto.errors import OptionError
from impasto.networks.bound import BoundStyle, WeightedStyles, check_share
from impasto.networks.encoded import EncodedStyle
from impasto.networks.layers import use_precision
from impasto.networks.registry import Network, as_encoded, kind_of

__all__ = ["bind", "check_alpha", "choose_for", "encode", "ready"]


def choose_for(network: Network, device: torch.device | str, requested: PrecisionName = "auto") -> Precision:
    """`choose_precision` for a network: ``auto`` is float32 where bfloat16 would be seen."""
    chosen = choose_precision(device, requested)
    if requested != "auto" or chosen.dtype == torch.float32 or not getattr(network, "FLOAT32_ALONE", False):
        return chosen
    return Precision(torch.float32, chosen.channels_last, "bfloat16 would be seen in a network of values up to 255")


@in_our_settings
def ready(network: Network, precision: Precision, device: torch.device | str = "cpu") -> Network:
    """The network for use, in place: on the device, its weights in this precision and layout, in eval mode."""
    network.to(device)
    use_precision(network, precision)
    return network.eval()


@in_our_settings
@torch.no_grad()
def encode(network: Network, picture: Tensor) -> EncodedStyle:
    """What the network keeps of a style picture (1, 3 or 4, h, w) in [0, 1] on its device, for `bind`.

    A fourth channel, where there is one, says how far a pixel counts.

    Raises:
        OptionError: the network takes no pictures as styles.
    """
    encoded = as_encoded(network)
    if encoded is None:
        raise OptionError(f"a network of method {network.METHOD} knows its own styles alone: give names, not pictures")
    return encoded.encode_style(picture)


def bind(network: Network, styles: WeightedStyles = ()) -> BoundStyle:
    """The network with its styles chosen, ready to paint photos: ``bind(network, [("wave", 1.0)])(photo)``.

    Args:
        network: from `load_model`, made `ready`.
        styles: each with a weight, which need not sum to 1. For a network that knows its styles: their names, which
            may be left out where it knows but one. For a network of any style: pictures (1, 3 or 4, h, w) in [0, 1] on
            the network's device, or what `encode` kept of them.

    Raises:
        OptionError: styles that the network does not know or take, or weights that are negative or all 0.
    """
    return network.bind(styles)


def check_alpha(network: Network, alpha: float) -> None:
    """OptionError where `alpha` is not from 0 to 1, or is below 1 for a network to which it means nothing."""
    check_share("alpha", alpha)
    if alpha < 1 and not kind_of(network).alpha:
        raise OptionError("alpha is for networks that decode features (adain): use strength")
