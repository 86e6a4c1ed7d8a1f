"""Every network there is, a row each: its classes, and what it can do.

A new network is a class with `METHOD`, `config`, `styles`, `constrain`, `stages` and `bind` (most come from
`StagedNetwork`, `StyledNetwork` or `EncodedNetwork`), and a row here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from impasto.core.vgg import VGG
from impasto.errors import OptionError
from impasto.networks.adain import AdaIN, AdaINConfig
from impasto.networks.brisk import Brisk, BriskConfig
from impasto.networks.chain import Chain, ChainConfig
from impasto.networks.encoded import EncodedConfig, EncodedNetwork
from impasto.networks.johnson import Johnson, JohnsonConfig
from impasto.networks.multistyle import MultiStyle, MultiStyleConfig
from impasto.networks.operators import Operators, OperatorsConfig
from impasto.networks.staged import StagedNetwork
from impasto.networks.styled import StyledNetwork
from impasto.networks.universal import Universal, UniversalConfig

__all__ = [
    "NETWORKS",
    "Config",
    "Network",
    "NetworkKind",
    "as_adain",
    "as_brisk",
    "as_chain",
    "as_encoded",
    "as_operators",
    "as_styled",
    "as_universal",
    "build",
    "config_from",
    "kind_named",
    "kind_of",
    "painter_of",
    "with_encoder",
]

Network = Johnson | MultiStyle | Brisk | AdaIN | Universal | Chain | Operators
Config = JohnsonConfig | MultiStyleConfig | BriskConfig | AdaINConfig | UniversalConfig | ChainConfig | OperatorsConfig


@dataclass(frozen=True)
class NetworkKind:
    """What there is to know of a network without making one.

    Attributes:
        method: its name in files and on the command line.
        network, config: its classes.
        styled_by: what chooses its style: nothing, for it has a ``single`` one; ``names`` of those that it was
            trained on; or ``pictures``, any at all, which an encoder looks at.
        alpha: whether `alpha` means something to it, since it mixes features.
        blends: whether it paints in several styles at once.
        resumable: whether a painting in strips can be stopped and resumed.
        strength_in_strips: whether it has a strength when painting in strips.
    """

    method: str
    network: Callable[..., Network]
    config: type[Config]
    styled_by: Literal["single", "names", "pictures"]
    alpha: bool = False
    blends: bool = True
    resumable: bool = True
    strength_in_strips: bool = True


NETWORKS: tuple[NetworkKind, ...] = (
    NetworkKind("johnson", Johnson, JohnsonConfig, "single", blends=False),
    NetworkKind("multistyle", MultiStyle, MultiStyleConfig, "names"),
    NetworkKind("brisk", Brisk, BriskConfig, "names"),
    NetworkKind("adain", AdaIN, AdaINConfig, "pictures", alpha=True, resumable=False, strength_in_strips=False),
    NetworkKind("universal", Universal, UniversalConfig, "pictures"),
    NetworkKind("chain", Chain, ChainConfig, "single", blends=False),
    NetworkKind("operators", Operators, OperatorsConfig, "pictures"),
)


def kind_named(method: str) -> NetworkKind:
    """The row of a method; OptionError, listing those there are, where it has no network."""
    for kind in NETWORKS:
        if kind.method == method:
            return kind
    known = ", ".join(kind.method for kind in NETWORKS)
    raise OptionError(f"no method {method!r} has a network; those that have are {known}")


def kind_of(network: Network) -> NetworkKind:
    """The row of a network."""
    return kind_named(network.METHOD)


def config_from(method: str, values: Mapping[str, Any]) -> Config:
    """The method's config with these fields, as ``dataclasses.asdict`` gave them.

    Raises:
        OptionError: an unknown method or field, or a value that the config refuses.
    """
    config = kind_named(method).config
    known = {field.name for field in fields(config)}
    stranger = next((name for name in values if name not in known), None)
    if stranger is not None:
        raise OptionError(f"{method} has no setting {stranger!r}; it has {', '.join(sorted(known))}")
    try:
        return config(**values)
    except TypeError as error:  # a field without default is missing
        raise OptionError(f"{method} needs more settings: {error}") from error


def build(config: Config, encoder: VGG | None = None) -> Network:
    """A new network of these sizes; `encoder` is for networks that have one, see `EncodedNetwork`."""
    kind = next(kind for kind in NETWORKS if kind.config is type(config))
    return kind.network(config, encoder) if with_encoder(config) is not None else kind.network(config)


def as_encoded(network: Network) -> EncodedNetwork | Operators | None:
    """The network itself, where it takes pictures as styles."""
    return network if isinstance(network, EncodedNetwork | Operators) else None


def with_encoder(config: Config) -> EncodedConfig | None:
    """The config itself, where it names a backbone that belongs to the network."""
    return config if isinstance(config, EncodedConfig) else None


def painter_of(network: Network) -> StagedNetwork:
    """The network made of stages, from picture to picture, that paints: it or a part of it.

    Raises:
        TypeError: there is none in AdaIN, nor in networks of operators.
    """
    if isinstance(network, StagedNetwork):
        return network
    if isinstance(network, Universal):
        return network.painter
    raise TypeError(f"{network.METHOD} has no painter made of stages alone")


def as_adain(network: Network) -> AdaIN | None:
    """The network itself, where it is AdaIN."""
    return network if isinstance(network, AdaIN) else None


def as_universal(network: Network) -> Universal | None:
    """The network itself, where it is Universal."""
    return network if isinstance(network, Universal) else None


def as_brisk(network: Network) -> Brisk | None:
    """The network itself, where it is Brisk."""
    return network if isinstance(network, Brisk) else None


def as_chain(network: Network | StagedNetwork) -> Chain | None:
    """The network itself, where it is a chain."""
    return network if isinstance(network, Chain) else None


def as_operators(network: Network) -> Operators | None:
    """The network itself, where it is a list of operators."""
    return network if isinstance(network, Operators) else None


def as_styled(network: Network) -> StyledNetwork | None:
    """The network itself, where it knows styles by name and can learn more."""
    return network if isinstance(network, StyledNetwork) else None
