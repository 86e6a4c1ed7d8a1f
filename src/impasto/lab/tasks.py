"""What the lab does from names of pictures and layers to a sheet: one dataclass each, whose fields are its options.

Nothing here imports torch before a task runs, so that the command line can show the options at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from impasto.errors import OptionError
from impasto.fields import option
from impasto.types import BackboneInput, PrecisionName

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from impasto.lab.layers import BackboneLayers, Layers
    from impasto.optimize.loop import Optimization

__all__ = ["TASKS", "Activate", "Gram", "Invert", "LabProgress", "LabResult", "LabTask", "Texture"]

SEEDED = "Same seed, same machine: same picture."
LOOKED_AT = "Long side in px at which the picture is looked at."
STEPS = "Steps of the optimiser at each of its sizes."
LAYER = "Such as relu3_1; repeat it for more."
SHEET = "The sheet: .png, .jpg, .svg or .pdf."
BACKBONE = "compact"
PICTURE = "A picture; - is standard input."


class LabProgress(NamedTuple):
    """Step `done` of `total`, of what is called `name`; `note` is a sentence that should be told."""

    done: int
    total: int
    name: str
    note: str | None = None


class LabResult(NamedTuple):
    """What was found: a sentence each, and the same in types that JSON has."""

    lines: Sequence[str] = ()
    facts: Sequence[Mapping[str, Any]] = ()


Steps = Generator[LabProgress, None, LabResult]


@dataclass(frozen=True, kw_only=True)
class LabTask(ABC):
    """What all tasks have: a backbone that looks at pictures, and a sheet that is drawn."""

    NAME: ClassVar[str]
    ARGUMENTS: ClassVar[tuple[str, ...]]  # the pictures
    TELLS: ClassVar[bool] = False  # whether its result has numbers

    backbone: str | None = option(None, "Network that sees; compact unless given; `impasto weights list`.", "NAME|PATH")
    backbone_input: BackboneInput | None = option(
        None, "Input normalisation of a backbone file that is not in the table."
    )
    device: str = option("auto", "auto, cpu, cuda, cuda:N or mps.", "NAME")
    precision: PrecisionName = option("auto", "auto is bfloat16 where the processor multiplies it natively.")
    force: bool = option(False, "Replace the output if it exists.")

    @abstractmethod
    def run(self) -> Steps:
        """Do it and write the sheet; gives what was found.

        Raises:
            LayerError: the network has no such layer.
            OptionError: options that make no sense.
            OutputError: the sheet cannot be written, or is there already.
            ImageError, WeightsError: a picture or a network that cannot be read.
        """

    def _layers(self) -> BackboneLayers:
        from impasto.lab.layers import BackboneLayers

        return BackboneLayers.load(self.backbone or BACKBONE, self.backbone_input, self.device, self.precision)

    def _check(self, output: Path, inputs: Sequence[str]) -> None:
        from impasto.lab.sheets import check_sheet

        check_sheet(output, force=self.force, inputs=inputs)

    def _save(self, figure: Figure, output: Path, inputs: Sequence[str]) -> None:
        from impasto.lab.sheets import save_figure

        save_figure(figure, output, force=self.force, inputs=inputs)


@dataclass(frozen=True, kw_only=True)
class Activate(LabTask):
    """Show what the channels of a layer answer to.

    Each map is coloured by its own largest value. Without `layer`, the layers there are.
    """

    NAME: ClassVar[str] = "activations"
    ARGUMENTS: ClassVar[tuple[str, ...]] = ("photo",)

    photo: str = option(help=PICTURE, metavar="PHOTO")
    output: Path = option(help=SHEET, metavar="FILE")
    layer: tuple[str, ...] = option((), LAYER, "NAME")
    filters: str = option("6", "Which channels: the first N, or so.", "N|all|strongest")
    model: str | None = option(None, "A network that paints, instead of a backbone.", "NAME|FILE")
    style: tuple[str, ...] = option(
        (), "With `model`: in which style it paints; its first unless given.", "NAME|PICTURE[:WEIGHT]"
    )
    size: int = option(512, LOOKED_AT, least=16)
    tensors: Path | None = option(None, "The maps as numbers.", "NPZ")

    def run(self) -> Steps:
        """See `LabTask.run`."""
        from impasto.lab.activations import activation_sheet, activations, check_maps, save_maps
        from impasto.lab.layers import PainterLayers, read_picture
        from impasto.stylizer.styles import as_styles

        styles = list(as_styles([*self.style]))
        inputs = [self.photo, *(str(style.image) for style in styles)]
        self._check(self.output, inputs)
        if self.tensors is not None:
            check_maps(self.tensors, force=self.force, inputs=[*inputs, self.output])
        network: Layers
        if self.model is None:
            if styles:
                raise OptionError("`style` belongs to `model`: a backbone sees the photo alone")
            network = self._layers()
        else:
            for name, given in (("backbone", self.backbone), ("backbone_input", self.backbone_input)):
                if given is not None:
                    raise OptionError(f"`{name}` goes without `model`, whose own layers are shown: give one of them")
            network = PainterLayers.load(self.model, styles, self.device, self.precision)
            if network.chosen is not None:
                note = f"{network.name} paints in the style {network.chosen} here; another with `style` NAME"
                yield LabProgress(0, 1, network.name, note)
        found = activations(network, image := read_picture(self.photo, self.size), _named(self.layer, network))
        title = f"{_shown(self.photo)}, seen by {network.name}"
        self._save(activation_sheet(image, found, self.filters, title=title), self.output, inputs)
        if self.tensors is not None:
            save_maps(found, self.filters, self.tensors, force=self.force, inputs=inputs)
        return LabResult()


@dataclass(frozen=True, kw_only=True)
class Invert(LabTask):
    """Reconstruct PHOTO from what single layers know of it.

    Prints the PSNR and the error that is left in the features. bfloat16 is faster and too coarse for the first
    layers.
    """

    NAME: ClassVar[str] = "invert"
    ARGUMENTS: ClassVar[tuple[str, ...]] = ("photo",)
    TELLS: ClassVar[bool] = True

    photo: str = option(help=PICTURE, metavar="PHOTO")
    layer: tuple[str, ...] = option((), LAYER, "NAME")
    output: Path | None = option(None, SHEET, "FILE")
    size: int = option(256, LOOKED_AT, least=16)
    steps: int | None = option(None, STEPS, least=1)
    tv_weight: float | None = option(None, "How smooth the picture should be.", "X")
    precision: PrecisionName = option("float32", "auto is bfloat16 where the processor multiplies it natively.")

    def run(self) -> Steps:
        """See `LabTask.run`."""
        from impasto.lab.inversion import Inversion, inversion_sheet, reconstruction
        from impasto.lab.layers import read_picture

        if self.output is not None:
            self._check(self.output, [self.photo])
        network = self._layers()
        layers, vgg = _named(self.layer, network), network.backbone
        image = read_picture(self.photo, self.size).to(vgg.device)
        given = _said(steps=self.steps, tv_weight=self.tv_weight)
        jobs = [(name, Inversion(layer=name, **given).begin(image, vgg)) for name in dict.fromkeys(layers)]
        yield from _optimised(jobs)
        found = [reconstruction(job) for _, job in jobs]
        if self.output is not None:
            title = f"{_shown(self.photo)}, from single layers of {network.name}"
            self._save(inversion_sheet(image.cpu(), found, title=title), self.output, [self.photo])
        return LabResult(
            [f"{one.layer}  PSNR {one.psnr:.2f} dB  feature error {one.feature_error:.3g}" for one in found],
            [{"layer": one.layer, "psnr": one.psnr, "feature_error": one.feature_error} for one in found],
        )


@dataclass(frozen=True, kw_only=True)
class Texture(LabTask):
    """Make textures from the style of PICTURE alone, from the first layer to more and more of them."""

    NAME: ClassVar[str] = "texture"
    ARGUMENTS: ClassVar[tuple[str, ...]] = ("picture",)

    picture: str = option(help=PICTURE, metavar="PICTURE")
    output: Path = option(help=SHEET, metavar="FILE")
    up_to: str = option("relu4_1", "The last of the layers.", "NAME")
    size: int = option(256, LOOKED_AT, least=16)
    steps: int | None = option(None, STEPS, least=1)
    seed: int = option(0, SEEDED)
    precision: PrecisionName = option("float32", "auto is bfloat16 where the processor multiplies it natively.")

    def run(self) -> Steps:
        """See `LabTask.run`."""
        from impasto.lab import textures
        from impasto.lab.layers import read_picture

        self._check(self.output, [self.picture])
        network = self._layers()
        vgg = network.backbone
        image = read_picture(self.picture, self.size).to(vgg.device)
        given, rows = _said(seed=self.seed, steps=self.steps), textures.cumulative_layers(vgg, self.up_to)
        begun = [textures.Texture(layers=layers, **given).begin(image, vgg, self.size) for layers in rows]
        yield from _optimised([(layers[-1], job) for layers, job in zip(rows, begun, strict=True)])
        found = [(layers, job.image().float().cpu()) for layers, job in zip(rows, begun, strict=True)]
        title = f"Textures of {_shown(self.picture)}, from Gram matrices of {network.name}"
        self._save(textures.texture_sheet(image.cpu(), found, title=title), self.output, [self.picture])
        return LabResult()


@dataclass(frozen=True, kw_only=True)
class Gram(LabTask):
    """Show Gram matrices: as pictures, with the channels that answer together most.

    With OTHER, prints the distance of the two layer by layer, |G - G'|² / |G'|².
    """

    NAME: ClassVar[str] = "gram"
    ARGUMENTS: ClassVar[tuple[str, ...]] = ("picture", "other")
    TELLS: ClassVar[bool] = True

    picture: str = option(help=PICTURE, metavar="PICTURE")
    output: Path = option(help=SHEET, metavar="FILE")
    other: str | None = option(None, "A second picture, to tell how far apart they are.", "[OTHER]")
    layer: tuple[str, ...] = option((), LAYER, "NAME")
    size: int = option(512, LOOKED_AT, least=16)

    def run(self) -> Steps:
        """See `LabTask.run`."""
        from impasto.evaluation import STYLE_TAPS
        from impasto.lab.grams import gram_distances, gram_facts, gram_sheet, gram_views
        from impasto.lab.layers import read_picture

        names = [name for name in (self.picture, self.other) if name is not None]
        self._check(self.output, names)
        network = self._layers()
        images = [read_picture(name, self.size) for name in names]
        views = [gram_views(network, image, self.layer or STYLE_TAPS) for image in images]
        yield LabProgress(1, 1, network.name)
        distances = gram_distances(*views) if len(views) == 2 else {}
        shown = list(zip(map(_shown, names), images, views, strict=True))
        self._save(gram_sheet(shown, title=f"Gram matrices of {network.name}"), self.output, names)
        lines = [f"{name}  relative distance {distance:.4g}" for name, distance in distances.items()]
        return LabResult(lines, gram_facts(views[0], distances))


TASKS: tuple[type[LabTask], ...] = (Activate, Invert, Texture, Gram)


def _shown(path: str) -> str:
    return "standard input" if path == "-" else Path(path).name


def _said(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _named(layers: Sequence[str], network: Layers) -> Sequence[str]:
    if not layers:
        raise OptionError(f"which layer? {network.name} has {', '.join(network.layers)}: add `layer` NAME")
    return layers


def _optimised(jobs: Sequence[tuple[str, Optimization]]) -> Generator[LabProgress, None, None]:
    """Run optimisations one after the other."""
    total, done = sum(job.steps for _, job in jobs), 0
    for name, job in jobs:
        with closing(job.run()) as records:  # type: ignore[type-var]
            for record in records:
                done += 1
                yield LabProgress(done, total, name, record.note)
