"""Using a trained network, whichever of ours it is: made ready, bound to styles, called."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from impasto.core.host import in_our_settings
from impasto.core.precision import Precision, PrecisionName, choose_precision
from impasto.errors import OptionError
from impasto.networks.bound import BoundStyle, WeightedStyles, check_share
from impasto.networks.encoded import EncodedStyle
from impasto.networks.layers import use_precision
from impasto.networks.registry import Network, as_encoded, build, kind_of

__all__ = ["SEEN", "bind", "check_alpha", "choose_for", "encode", "off_in_bfloat16", "ready"]


SEEN: Final = 3.0  # of 255: what differs by more is seen
TRIED: Final = (96, 128)  # height and width of the picture on which precisions are compared


def choose_for(network: Network, device: torch.device | str, requested: PrecisionName = "auto") -> Precision:
    """`choose_precision` for a network: ``auto`` is float32 where bfloat16 would be seen.

    Of ours that is known; networks of others, most of which have values up to 255, are tried, see `off_in_bfloat16`.
    """
    chosen = choose_precision(device, requested)
    if requested != "auto" or chosen.dtype == torch.float32 or not getattr(network, "FLOAT32_ALONE", False):
        return chosen
    off = off_in_bfloat16(network)
    if off <= SEEN:
        return Precision(chosen.dtype, chosen.channels_last, f"{chosen.reason}; it differs by {off:.1f} of 255 here")
    reason = f"bfloat16 would differ by up to {off:.0f} of 255 in this network"
    return Precision(torch.float32, chosen.channels_last, reason)


@in_our_settings
@torch.inference_mode()
def off_in_bfloat16(network: Network) -> float:
    """By how much of 255 a painting in bfloat16 differs at most from one in float32, of a little picture of noise.

    For a network in float32, which stays as it is.
    """
    draw = torch.Generator().manual_seed(0)
    photo = torch.rand(1, 3, *TRIED, generator=draw)
    coarse = torch.rand(1, 3, 6, 8, generator=draw)
    photo = (0.7 * torch.nn.functional.interpolate(coarse, TRIED, mode="bilinear") + 0.3 * photo).clamp(0, 1)
    twin = build(network.config, getattr(network, "encoder", None)).eval()
    twin.load_state_dict(network.state_dict())
    ready(twin, Precision(torch.bfloat16, True, "to compare"))
    exact, rounded = (bind(one, _any_style_of(one, photo))(photo) for one in (network, twin))
    return float((exact - rounded).abs().max() * 255)


def _any_style_of(network: Network, picture: Tensor) -> WeightedStyles:
    """Some style: the first, or a picture."""
    if kind_of(network).styled_by == "pictures":
        return [(picture.flip(3), 1.0)]
    return [(name, 1.0) for name in network.styles[:1]]


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
