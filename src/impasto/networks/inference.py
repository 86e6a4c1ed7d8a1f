"""Using a trained network: one pass through it, whichever of ours it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from impasto.core.host import in_our_settings
from impasto.core.precision import Precision
from impasto.errors import OptionError
from impasto.networks.adain import AdaIN, Moments
from impasto.networks.checkpoint import Network
from impasto.networks.johnson import Johnson
from impasto.networks.layers import use_precision
from impasto.networks.staged import StagedNetwork
from impasto.networks.styled import StyledNetwork
from impasto.networks.universal import Look, Universal

__all__ = ["AtOnce", "Encoded", "Renderer", "Styles", "check_alpha", "encode", "paint", "ready", "walked"]

Encoded = Moments | Look
"""What a network of any style keeps of a style picture."""
Styles = str | Mapping[str, float] | Sequence[tuple[str, float]]
"""A name, or names with weights, which need not sum to 1."""


@in_our_settings
def ready(network: Network, precision: Precision, device: torch.device | str = "cpu") -> Network:
    """The network for use, in place: on the device, its weights in this precision and layout, in eval mode."""
    network.to(device)
    use_precision(network, precision)
    return network.eval()


@in_our_settings
@torch.no_grad()
def encode(network: AdaIN | Universal, style: Tensor) -> Encoded:
    """What the network keeps of a style picture (1, 3, h, w) in [0, 1], for `paint`.

    A fourth channel, where there is one, says how far a pixel counts.
    """
    return network.look(style) if isinstance(network, Universal) else network.moments(style)


def check_alpha(network: Network, alpha: float) -> None:
    """OptionError for a network to which `alpha` means nothing, unless it is 1."""
    if alpha < 1 and not isinstance(network, AdaIN):
        raise OptionError("alpha is for networks that decode features (adain): use strength")


class Renderer(Protocol):
    """How a network is walked, whatever is made of what it gives; photos are (B, 3, H, W), and so is what comes."""

    def staged(self, network: StagedNetwork, photo: Tensor, mix: Tensor | None) -> Tensor:
        """A network that is trained on its styles."""

    def adain(
        self,
        network: AdaIN,
        photo: Tensor,
        styles: Sequence[Tensor | Moments],
        weights: Sequence[float],
        masks: Sequence[Tensor] | None,
        alpha: float,
    ) -> Tensor:
        """A network of any style, see `AdaIN.forward`."""


class AtOnce:
    """The whole photo in one go, in as much memory as that takes."""

    def staged(self, network: StagedNetwork, photo: Tensor, mix: Tensor | None) -> Tensor:
        """See `Renderer`."""
        painted: Tensor = network(photo) if mix is None else network(photo, mix)
        return painted

    def adain(
        self,
        network: AdaIN,
        photo: Tensor,
        styles: Sequence[Tensor | Moments],
        weights: Sequence[float],
        masks: Sequence[Tensor] | None,
        alpha: float,
    ) -> Tensor:
        """See `Renderer`."""
        painted: Tensor = network(photo, styles, weights=weights, masks=masks, alpha=alpha)
        return painted


@in_our_settings
@torch.inference_mode()
def paint(
    network: Network,
    photo: Tensor,
    *,
    styles: Styles | None = None,
    pictures: Sequence[tuple[Tensor | Encoded, float]] = (),
    masks: Sequence[Tensor] | None = None,
    alpha: float = 1.0,
    strength: float = 1.0,
    renderer: Renderer | None = None,
) -> Tensor:
    """Repaint (B, 3, H, W) in [0, 1], any size, with a trained network -> the same shape, float32.

    Args:
        network: from `load_model`, made `ready`.
        photo: on the network's device.
        styles: for a network that knows its styles by name: a name, or names with weights, which need not sum to
            1. May be left out where it knows but one.
        pictures: for a network of any style: style pictures (1, 3 or 4, h, w), see `encode`, or what `encode` kept of
            them, each with a weight.
        masks: the region of each of several styles, (1, 1, H, W) in [0, 1]; where they overlap, weights decide, and
            where there is none, they all count.
        alpha: for AdaIN: how far features are restyled (Huang & Belongie 2017, eq. 14).
        strength: in [0, 1]: 0 gives the photo back, 1 is the full style. Between them AdaIN mixes features, and what
            decoding loses of the photo fades in; other networks mix pictures.
        renderer: `AtOnce` if None, or `fitting.InBands` for a photo that is too large for that.

    Raises:
        OptionError: styles that the network does not know, a choice that it does not have, or alpha or strength out
            of range.
    """
    renderer = renderer or AtOnce()
    for name, value in (("alpha", alpha), ("strength", strength)):
        if not 0 <= value <= 1:
            raise OptionError(f"{name} is {value}, need a number from 0 to 1")
    check_alpha(network, alpha)
    if isinstance(network, AdaIN):
        _only_pictures(styles, pictures)
        return _restyle(network, photo, _encoded(network, pictures), masks, alpha, strength, renderer)
    painter, chosen = _dressed(network, styles, pictures)
    if masks is not None and isinstance(painter, StyledNetwork):
        painted = _by_regions(painter, photo, _some_style(painter, chosen), masks, renderer)
    else:
        painted = renderer.staged(painter, photo, _mix(painter, chosen))
    painted = painted.clamp_(0, 1)
    return painted if strength == 1 else torch.lerp(photo.float(), painted, strength)


def walked(
    network: Johnson | StyledNetwork | Universal,
    styles: Styles | None = None,
    pictures: Sequence[tuple[Tensor | Encoded, float]] = (),
) -> tuple[StagedNetwork, Tensor | None]:
    """What `tiled.paint_staged` is to walk for these styles, and its `mix`; arguments and errors as of `paint`."""
    painter, chosen = _dressed(network, styles, pictures)
    return painter, _mix(painter, chosen)


def _only_pictures(styles: Styles | None, pictures: Sequence[object]) -> None:
    if styles is not None or not pictures:
        raise OptionError("this network paints in the manner of any picture: give pictures as styles, not names")


def _dressed(
    network: Johnson | StyledNetwork | Universal,
    styles: Styles | None,
    pictures: Sequence[tuple[Tensor | Encoded, float]],
) -> tuple[Johnson | StyledNetwork, Styles | None]:
    """A network that knows the styles by name, and their names."""
    if isinstance(network, Universal):
        _only_pictures(styles, pictures)
        looks = _encoded(network, pictures)
        painter = network.dressed([look for look, _ in looks])
        return painter, list(zip(painter.styles, (weight for _, weight in looks), strict=True))
    if pictures:
        raise OptionError(f"this network knows its own styles alone ({_known(network)}): give names, not pictures")
    return network, styles


def _mix(network: Johnson | StyledNetwork, styles: Styles | None) -> Tensor | None:
    if isinstance(network, StyledNetwork):
        return network.mix(_some_style(network, styles))
    if styles is not None:
        raise OptionError("this network has a single style: leave its name out")
    return None


def _some_style(network: StyledNetwork, styles: Styles | None) -> Styles:
    if styles is None and len(network.styles) > 1:
        raise OptionError(f"which style? this network has {', '.join(network.styles)}")
    return network.styles[0] if styles is None else styles


def _encoded(network: AdaIN | Universal, pictures: Sequence[tuple[Tensor | Encoded, float]]) -> list[tuple[Any, float]]:
    return [
        (encode(network, picture) if isinstance(picture, Tensor) else picture, weight) for picture, weight in pictures
    ]


def _restyle(
    network: AdaIN,
    photo: Tensor,
    pictures: Sequence[tuple[Moments, float]],
    masks: Sequence[Tensor] | None,
    alpha: float,
    strength: float,
    renderer: Renderer,
) -> Tensor:
    shown, weights = [picture for picture, _ in pictures], [weight for _, weight in pictures]
    painted = renderer.adain(network, photo, shown, weights, masks, alpha * strength).clamp(0, 1)
    if strength == 1:
        return painted
    if strength == 0:
        return photo.float()
    redrawn = renderer.adain(network, photo, shown, weights, None, 0.0)
    return (painted + (1 - strength) * (photo - redrawn)).clamp(0, 1)


def _by_regions(
    network: StyledNetwork, photo: Tensor, styles: Styles, masks: Sequence[Tensor], renderer: Renderer
) -> Tensor:
    pairs = (
        [(styles, 1.0)]
        if isinstance(styles, str)
        else list(dict(styles).items() if isinstance(styles, Mapping) else styles)
    )
    if len(pairs) != len(masks):
        raise OptionError(f"{len(pairs)} styles with {len(masks)} masks: give a mask to each style, or none at all")
    shares = torch.stack([weight * (mask.to(photo) + 1e-6) for (_, weight), mask in zip(pairs, masks, strict=True)])
    shares = shares / shares.sum(0)
    out = torch.zeros_like(photo, dtype=torch.float32)
    for (name, _), share in zip(pairs, shares, strict=True):
        out += share * renderer.staged(network, photo, network.mix(name))
    return out


def _known(network: Johnson | StyledNetwork) -> str:
    return ", ".join(network.styles) if isinstance(network, StyledNetwork) else "one without a name"
