"""One style per network (Johnson, Alahi & Fei-Fei 2016), with instance normalisation (Ulyanov et al. 2016).

Layers and their names are those of pytorch/examples' fast_neural_style, so that its checkpoints load.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, get_args

import torch
from torch import Tensor

from impasto.errors import OptionError, WeightsError
from impasto.networks.bound import BoundStaged, WeightedStyles, names_alone
from impasto.networks.layers import ReflectConv, state_dict_mismatch
from impasto.networks.norms import InstanceNorm
from impasto.networks.staged import Norm, Output, ResidualBlock, Stage, StagedNetwork, check_size

__all__ = ["Johnson", "JohnsonConfig", "JohnsonLayout"]

IGNORED = re.compile(r"\.(running_(mean|var)|num_batches_tracked)$")  # older torch saved them, unused


@dataclass(frozen=True)
class JohnsonConfig:
    """Sizes of the network.

    Attributes:
        output: how the last layer's values become colours: ``sigmoid`` (Magenta), ``linear`` on the 0–255
            scale, the input being 0–255 too (pytorch/examples), or ``tanh`` scaled to the range (the paper).
        width: channels at full resolution; twice and four times as many at 1/2 and 1/4.
        blocks: residual blocks.
    """

    output: Output = "sigmoid"
    width: int = 32
    blocks: int = 5

    def __post_init__(self) -> None:
        if self.output not in get_args(Output):
            raise OptionError(f"output is one of {', '.join(get_args(Output))}, got {self.output!r}")
        check_size("width", self.width, 1024)
        check_size("blocks", self.blocks, 64)


class JohnsonLayout(StagedNetwork):
    """Johnson's layers, whatever normalises between them."""

    def lay_out(self, width: int, blocks: int, norm: Callable[[int], Norm], last: Norm | None = None) -> None:
        """Make the layers: two steps down, `blocks` residual blocks at 1/4 resolution, two steps up.

        `norm` makes a normalisation of so many channels; `last` normalises the output.
        """
        half, quarter = 2 * width, 4 * width
        self.conv1, self.in1 = ReflectConv(3, width, 9), norm(width)
        self.conv2, self.in2 = ReflectConv(width, half, 3, stride=2), norm(half)
        self.conv3, self.in3 = ReflectConv(half, quarter, 3, stride=2), norm(quarter)
        for i in range(1, blocks + 1):
            self.add_module(f"res{i}", ResidualBlock(quarter, (norm(quarter), norm(quarter))))
        self.deconv1, self.in4 = ReflectConv(quarter, half, 3), norm(half)
        self.deconv2, self.in5 = ReflectConv(half, width, 3), norm(width)
        self.deconv3, self.in6 = ReflectConv(width, 3, 9), last

    def stages(self) -> tuple[Stage, ...]:
        """All stages in order."""
        blocks = [module.stages() for module in self.children() if isinstance(module, ResidualBlock)]
        return (
            Stage(self.conv1, self.in1),
            Stage(self.conv2, self.in2),
            Stage(self.conv3, self.in3),
            *(stage for block in blocks for stage in block),
            Stage(self.deconv1, self.in4, upsample=2),
            Stage(self.deconv2, self.in5, upsample=2),
            Stage(self.deconv3, self.in6, relu=False),
        )


class Johnson(JohnsonLayout):
    """One style in one network; weights are initialised as torch initialises convolutions."""

    METHOD: ClassVar[str] = "johnson"

    def __init__(self, config: JohnsonConfig | None = None) -> None:
        super().__init__()
        self.config = config or JohnsonConfig()
        self.INPUT_SCALE = 255.0 if self.config.output == "linear" else 1.0
        self.FLOAT32_ALONE = self.config.output == "linear"
        self.lay_out(self.config.width, self.config.blocks, InstanceNorm)

    @property
    def output(self) -> Output:
        """As configured."""
        return self.config.output

    @classmethod
    def from_pytorch_examples(cls, state: Mapping[str, Tensor]) -> Johnson:
        """A network from a state dict of pytorch/examples; the running statistics of old ones are ignored.

        Raises:
            WeightsError: keys or shapes are not such a network's.
        """
        state = {key: value for key, value in state.items() if not IGNORED.search(key)}
        first = state.get("conv1.conv2d.weight")
        if first is None or first.ndim != 4:
            raise WeightsError("not a pytorch/examples style network: it has no conv1.conv2d.weight of four dimensions")
        blocks = len({key.split(".")[0] for key in state if key.startswith("res")})
        try:
            network = cls(JohnsonConfig("linear", width=len(first), blocks=blocks))
        except OptionError as error:
            raise WeightsError(f"not a pytorch/examples style network: {error}") from error
        reason = state_dict_mismatch(network, state)
        if reason is not None:
            raise WeightsError(f"not a pytorch/examples style network: {reason}")
        network.load_state_dict(state)
        return network

    def bind(self, styles: WeightedStyles = ()) -> BoundStaged:
        """Ready to paint; there is no style to choose. OptionError where one is given."""
        if names_alone(styles, ()):
            raise OptionError("this network has a single style: leave its name out", "style")
        return BoundStaged(self)

    def to_picture(self, features: Tensor, image: Tensor, mix: Tensor | None = None) -> Tensor:
        """Colours by the configured output; ``linear`` ones are clamped in eval mode, where they are looked at.

        In training they are left free, because a clamped value has no gradient that could bring it back.
        """
        x = features.float()
        if self.config.output == "sigmoid":
            return x.sigmoid_()
        if self.config.output == "tanh":
            return (torch.tanh(x) + 1) / 2
        x = x / 255
        return x if self.training else x.clamp(0, 1)

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) float32 in [0, 1], any size -> the same, painted."""
        return self.paint(image)
