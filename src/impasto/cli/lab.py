"""``impasto lab``: look inside networks and pictures; what looks at runs is in `lab_runs`."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from impasto.cli.common import (
    BackboneInputOption,
    BackboneOption,
    DeviceOption,
    ForceOption,
    JsonOption,
    PrecisionOption,
    bar,
    print_json,
    show_note,
)
from impasto.cli.lab_runs import experiment, timeline
from impasto.cli.options import takes
from impasto.cli.usage import Commands
from impasto.errors import OptionError

if TYPE_CHECKING:
    from impasto.lab.layers import BackboneLayers
    from impasto.optimize.loop import Optimization

__all__ = ["lab_app"]

lab_app = typer.Typer(
    cls=Commands, help="Look inside: layers, textures, Gram matrices, experiments, films.", no_args_is_help=True
)

SHEET = {"metavar": "FILE", "help": "The sheet: .png, .jpg, .svg or .pdf."}
PICTURE = "A picture; - is standard input."
LayersOption = Annotated[list[str], typer.Option("--layer", "-l", metavar="NAME", help="Such as relu3_1; repeat it.")]
SizeOption = Annotated[int, typer.Option(min=16, help="Long side in px at which the picture is looked at.")]
StepsOption = Annotated[int | None, typer.Option(min=1, help="Steps of the optimiser at each of its sizes.")]


@dataclass(frozen=True, kw_only=True)
class Seeing:
    """Options of a backbone that looks at pictures, which all commands of the lab have."""

    backbone: BackboneOption = "compact"
    backbone_input: BackboneInputOption = None
    device: DeviceOption = "auto"
    precision: PrecisionOption = "auto"
    force: ForceOption = False

    def layers(self) -> BackboneLayers:
        """The backbone, ready."""
        from impasto.lab.layers import BackboneLayers

        return BackboneLayers.load(self.backbone, self.backbone_input, self.device, self.precision)


@dataclass(frozen=True, kw_only=True)
class ActivationsOptions(Seeing):
    """The options of ``impasto lab activations``."""

    photo: str = typer.Argument(metavar="PHOTO", help=PICTURE)
    output: Path = typer.Option(..., "--output", "-o", **SHEET)
    layer: LayersOption = field(default_factory=list)
    filters: str = typer.Option("6", metavar="N|all|strongest", help="Which channels: the first N, or so.")
    model: str | None = typer.Option(None, metavar="NAME|FILE", help="A network that paints, instead of a backbone.")
    style: list[str] = typer.Option(
        [],
        "--style",
        "-s",
        metavar="NAME|PICTURE[:WEIGHT]",
        help="With --model: in which style it paints; its first unless given.",
    )
    size: SizeOption = 512
    tensors: Path | None = typer.Option(None, metavar="NPZ", help="The maps as numbers.")


@lab_app.command()
@takes(ActivationsOptions)
def activations(options: ActivationsOptions) -> None:
    """Show what the channels of a layer answer to.

    Each map is coloured by its own largest value. Without --layer, the layers there are.
    """
    from impasto.lab.activations import activation_sheet, check_maps, save_maps
    from impasto.lab.activations import activations as look
    from impasto.lab.layers import Layers, PainterLayers, read_picture
    from impasto.lab.sheets import check_sheet, save_figure
    from impasto.stylizer.styles import as_styles

    styles = list(as_styles(options.style))
    inputs = [options.photo, *(style.image for style in styles)]
    check_sheet(options.output, force=options.force, inputs=inputs)
    if options.tensors is not None:
        check_maps(options.tensors, force=options.force, inputs=[*inputs, options.output])
    network: Layers
    if options.model is None:
        if styles:
            raise OptionError("--style belongs to --model: a backbone sees the photo alone")
        network = options.layers()
    else:
        network = PainterLayers.load(options.model, styles, options.device, options.precision)
        if network.chosen is not None:
            show_note(f"{network.name} paints in the style {network.chosen} here; another with --style NAME")
    image = read_picture(options.photo, options.size)
    found = look(network, image, _named(options.layer, network))
    figure = activation_sheet(image, found, options.filters, title=f"{_name(options.photo)}, seen by {network.name}")
    save_figure(figure, options.output, force=options.force, inputs=inputs)
    if options.tensors is not None:
        save_maps(found, options.filters, options.tensors, force=options.force, inputs=inputs)


@dataclass(frozen=True, kw_only=True)
class InvertOptions(Seeing):
    """The options of ``impasto lab invert``."""

    photo: str = typer.Argument(metavar="PHOTO", help=PICTURE)
    layer: LayersOption = field(default_factory=list)
    output: Path | None = typer.Option(None, "--output", "-o", **SHEET)
    size: SizeOption = 256
    steps: StepsOption = None
    tv_weight: float | None = typer.Option(None, metavar="X", help="How smooth the picture should be.")
    precision: PrecisionOption = "float32"
    as_json: JsonOption = False


@lab_app.command()
@takes(InvertOptions)
def invert(options: InvertOptions) -> None:
    """Reconstruct PHOTO from what single layers know of it.

    Prints the PSNR and the error that is left in the features. bfloat16 is faster and too coarse for the first
    layers.
    """
    from impasto.lab.inversion import Inversion, inversion_sheet, reconstruction
    from impasto.lab.layers import read_picture
    from impasto.lab.sheets import check_sheet, save_figure

    if options.output is None and not options.as_json:
        raise OptionError("what should come of it? add -o FILE for a sheet, --json for numbers, or both")
    if options.output is not None:
        check_sheet(options.output, force=options.force, inputs=[options.photo])
    network = options.layers()
    layers, vgg = _named(options.layer, network), network.backbone
    image = read_picture(options.photo, options.size).to(vgg.device)
    given = _said(steps=options.steps, tv_weight=options.tv_weight)
    jobs = [(name, Inversion(layer=name, **given).begin(image, vgg)) for name in dict.fromkeys(layers)]
    _follow(jobs)
    found = [reconstruction(job) for _, job in jobs]
    if options.as_json:
        rows = [{"layer": one.layer, "psnr": one.psnr, "feature_error": one.feature_error} for one in found]
        print_json({"layers": rows})
    else:
        for one in found:
            typer.echo(f"{one.layer}  PSNR {one.psnr:.2f} dB  feature error {one.feature_error:.3g}")
    if options.output is not None:
        title = f"{_name(options.photo)}, from single layers of {network.name}"
        sheet = inversion_sheet(image.cpu(), found, title=title)
        save_figure(sheet, options.output, force=options.force, inputs=[options.photo])


@dataclass(frozen=True, kw_only=True)
class TextureOptions(Seeing):
    """The options of ``impasto lab texture``."""

    picture: str = typer.Argument(metavar="PICTURE", help=PICTURE)
    output: Path = typer.Option(..., "--output", "-o", **SHEET)
    up_to: str = typer.Option("relu4_1", metavar="NAME", help="The last of the layers.")
    size: SizeOption = 256
    steps: StepsOption = None
    seed: int = typer.Option(0, help="Same seed, same machine: same picture.")
    precision: PrecisionOption = "float32"


@lab_app.command()
@takes(TextureOptions)
def texture(options: TextureOptions) -> None:
    """Make textures from the style of PICTURE alone, from the first layer to more and more of them."""
    from impasto.lab.layers import read_picture
    from impasto.lab.sheets import check_sheet, save_figure
    from impasto.lab.textures import Texture, cumulative_layers, texture_sheet

    check_sheet(options.output, force=options.force, inputs=[options.picture])
    network = options.layers()
    vgg, size = network.backbone, options.size
    image = read_picture(options.picture, size).to(vgg.device)
    given, rows = _said(seed=options.seed, steps=options.steps), cumulative_layers(vgg, options.up_to)
    jobs = [(layers[-1], Texture(layers=layers, **given).begin(image, vgg, size)) for layers in rows]
    _follow(jobs)
    found = [(layers, job.image().float().cpu()) for layers, (_, job) in zip(rows, jobs, strict=True)]
    title = f"Textures of {_name(options.picture)}, from Gram matrices of {network.name}"
    sheet = texture_sheet(image.cpu(), found, title=title)
    save_figure(sheet, options.output, force=options.force, inputs=[options.picture])


@dataclass(frozen=True, kw_only=True)
class GramOptions(Seeing):
    """The options of ``impasto lab gram``."""

    picture: str = typer.Argument(metavar="PICTURE", help=PICTURE)
    output: Path = typer.Option(..., "--output", "-o", **SHEET)
    other: str | None = typer.Argument(
        None, metavar="[OTHER]", help="A second picture, to tell how far apart they are."
    )
    layer: LayersOption = field(default_factory=list)
    size: SizeOption = 512
    as_json: JsonOption = False


@lab_app.command()
@takes(GramOptions)
def gram(options: GramOptions) -> None:
    """Show Gram matrices: as pictures, with the channels that answer together most.

    With OTHER, prints the distance of the two layer by layer, |G - G'|² / |G'|².
    """
    from impasto.evaluation import STYLE_TAPS
    from impasto.lab.grams import gram_distances, gram_facts, gram_sheet, gram_views
    from impasto.lab.layers import read_picture
    from impasto.lab.sheets import check_sheet, save_figure

    names = [name for name in (options.picture, options.other) if name is not None]
    check_sheet(options.output, force=options.force, inputs=names)
    network = options.layers()
    images = [read_picture(name, options.size) for name in names]
    views = [gram_views(network, image, options.layer or STYLE_TAPS) for image in images]
    distances = gram_distances(*views) if len(views) == 2 else {}
    if options.as_json:
        print_json({"layers": gram_facts(views[0], distances)})
    else:
        for name, distance in distances.items():
            typer.echo(f"{name}  relative distance {distance:.4g}")
    sheet = gram_sheet(
        list(zip(map(_name, names), images, views, strict=True)), title=f"Gram matrices of {network.name}"
    )
    save_figure(sheet, options.output, force=options.force, inputs=names)


lab_app.command()(experiment)
lab_app.command()(timeline)


def _name(path: str) -> str:
    return "standard input" if path == "-" else Path(path).name


def _said(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _named(layers: list[str], network: Any) -> list[str]:
    if not layers:
        raise OptionError(f"which layer? {network.name} has {', '.join(network.layers)}: add --layer NAME")
    return layers


def _follow(jobs: list[tuple[str, Optimization]]) -> None:
    """Run optimisations one after the other, with a bar on a terminal."""
    total, done = sum(job.steps for _, job in jobs), 0
    with bar() as show:
        for name, job in jobs:
            with closing(job.run()) as records:  # type: ignore[type-var]
                for record in records:
                    if record.note:
                        show_note(record.note)
                    done += 1
                    show(done, total, name)
