"""``impasto lab``: look inside networks and pictures; what looks at runs is in `lab_runs`."""

from __future__ import annotations

import json
from contextlib import closing
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
    SeedOption,
    show_note,
)
from impasto.cli.lab_runs import experiment, timeline
from impasto.cli.usage import Commands
from impasto.errors import OptionError

if TYPE_CHECKING:
    from torch import Tensor

    from impasto.core.vgg import VGG
    from impasto.lab.layers import Layers
    from impasto.optimize.loop import Optimization

__all__ = ["lab_app"]

lab_app = typer.Typer(
    cls=Commands, help="Look inside: layers, textures, Gram matrices, experiments, films.", no_args_is_help=True
)

_Photo = Annotated[str, typer.Argument(metavar="PHOTO", help="A picture; - is standard input.")]
_Picture = Annotated[str, typer.Argument(metavar="PICTURE", help="A picture; - is standard input.")]
_Sheet = Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The sheet: .png, .jpg, .svg or .pdf.")]
_Layers = Annotated[
    list[str] | None, typer.Option("--layer", "-l", metavar="NAME", help="Such as relu3_1; repeat it for more.")
]
_Size = Annotated[int, typer.Option("--size", min=16, help="Long side in px at which the picture is looked at.")]
_Steps = Annotated[int | None, typer.Option("--steps", min=1, help="Steps of the optimiser at each of its sizes.")]


@lab_app.command()
def activations(
    photo: _Photo,
    output: _Sheet,
    layer: _Layers = None,
    filters: Annotated[
        str, typer.Option("--filters", metavar="N|all|strongest", help="Which channels: the first N, or so.")
    ] = "6",
    backbone: BackboneOption = "compact",
    backbone_input: BackboneInputOption = None,
    model: Annotated[
        str | None, typer.Option("--model", metavar="NAME|FILE", help="A network that paints, instead of a backbone.")
    ] = None,
    style: Annotated[
        list[str] | None,
        typer.Option(
            "--style",
            "-s",
            metavar="NAME|PICTURE[:WEIGHT]",
            help="With --model: in which style it paints; its first unless given.",
        ),
    ] = None,
    size: _Size = 512,
    tensors: Annotated[Path | None, typer.Option("--tensors", metavar="NPZ", help="The maps as numbers.")] = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    force: ForceOption = False,
) -> None:
    """Show what the channels of a layer answer to.

    Each map is coloured by its own largest value. Without --layer, the layers there are.
    """
    from impasto.lab.activations import activation_sheet, check_maps, save_maps
    from impasto.lab.activations import activations as look
    from impasto.lab.sheets import check_sheet, save_figure

    inputs = [photo, *_paths(style)]
    check_sheet(output, force=force, inputs=inputs)
    if tensors is not None:
        check_maps(tensors, force=force, inputs=[*inputs, output])
    network: Layers
    if model is None:
        if style:
            raise OptionError("--style belongs to --model: a backbone sees the photo alone")
        network = _backbone(backbone, backbone_input, device, precision)[1]
    else:
        network = _painter(model, style or [], device, precision)
    if not layer:
        raise OptionError(f"which layer? {network.name} has {', '.join(network.layers)}: add --layer NAME")
    image = _look_at(photo, size)
    found = look(network, image, layer)
    figure = activation_sheet(image, found, filters, title=f"{_name(photo)}, seen by {network.name}")
    save_figure(figure, output, force=force, inputs=inputs)
    if tensors is not None:
        save_maps(found, filters, tensors, force=force, inputs=inputs)


@lab_app.command()
def invert(
    photo: _Photo,
    layer: _Layers = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="The sheet: .png, .jpg, .svg or .pdf.")
    ] = None,
    size: _Size = 256,
    steps: _Steps = None,
    tv_weight: Annotated[
        float | None, typer.Option("--tv-weight", metavar="X", help="How smooth the picture should be.")
    ] = None,
    backbone: BackboneOption = "compact",
    backbone_input: BackboneInputOption = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "float32",
    as_json: JsonOption = False,
    force: ForceOption = False,
) -> None:
    """Reconstruct PHOTO from what single layers know of it.

    Prints the PSNR and the error that is left in the features. bfloat16 is faster and too coarse for the first
    layers.
    """
    from impasto.lab.inversion import Inversion, inversion_sheet, reconstruction
    from impasto.lab.sheets import check_sheet, save_figure

    if output is None and not as_json:
        raise OptionError("what should come of it? add -o FILE for a sheet, --json for numbers, or both")
    if output is not None:
        check_sheet(output, force=force, inputs=[photo])
    vgg, network = _backbone(backbone, backbone_input, device, precision)
    if not layer:
        raise OptionError(f"which layer? {network.name} has {', '.join(network.layers)}: add --layer NAME")
    image = _look_at(photo, size).to(vgg.device)
    chosen = {"steps": steps, "tv_weight": tv_weight}
    given: dict[str, Any] = {key: value for key, value in chosen.items() if value is not None}
    jobs = [(name, Inversion(layer=name, **given).begin(image, vgg)) for name in dict.fromkeys(layer)]
    _follow(jobs)
    found = [reconstruction(job) for _, job in jobs]
    rows = [{"layer": one.layer, "psnr": one.psnr, "feature_error": one.feature_error} for one in found]
    if as_json:
        typer.echo(json.dumps({"layers": rows}))
    else:
        for one in found:
            typer.echo(f"{one.layer}  PSNR {one.psnr:.2f} dB  feature error {one.feature_error:.3g}")
    if output is not None:
        title = f"{_name(photo)}, from single layers of {network.name}"
        save_figure(inversion_sheet(image.cpu(), found, title=title), output, force=force, inputs=[photo])


@lab_app.command()
def texture(
    picture: _Picture,
    output: _Sheet,
    up_to: Annotated[str, typer.Option("--up-to", metavar="NAME", help="The last of the layers.")] = "relu4_1",
    size: _Size = 256,
    steps: _Steps = None,
    seed: SeedOption = 0,
    backbone: BackboneOption = "compact",
    backbone_input: BackboneInputOption = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "float32",
    force: ForceOption = False,
) -> None:
    """Make textures from the style of PICTURE alone, from the first layer to more and more of them."""
    from impasto.lab.sheets import check_sheet, save_figure
    from impasto.lab.textures import Texture, cumulative_layers, texture_sheet

    check_sheet(output, force=force, inputs=[picture])
    vgg, network = _backbone(backbone, backbone_input, device, precision)
    image = _look_at(picture, size).to(vgg.device)
    given = {"seed": seed} if steps is None else {"seed": seed, "steps": steps}
    rows = cumulative_layers(vgg, up_to)
    jobs = [(layers[-1], Texture(layers=layers, **given).begin(image, vgg, size)) for layers in rows]
    _follow(jobs)
    found = [(layers, job.image().float().cpu()) for layers, (_, job) in zip(rows, jobs, strict=True)]
    title = f"Textures of {_name(picture)}, from Gram matrices of {network.name}"
    save_figure(texture_sheet(image.cpu(), found, title=title), output, force=force, inputs=[picture])


@lab_app.command()
def gram(
    picture: _Picture,
    output: _Sheet,
    other: Annotated[
        str | None, typer.Argument(metavar="[OTHER]", help="A second picture, to tell how far apart they are.")
    ] = None,
    layer: _Layers = None,
    size: _Size = 512,
    backbone: BackboneOption = "compact",
    backbone_input: BackboneInputOption = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    as_json: JsonOption = False,
    force: ForceOption = False,
) -> None:
    """Show Gram matrices: as pictures, with the channels that answer together most.

    With OTHER, prints the distance of the two layer by layer, |G - G'|² / |G'|².
    """
    from impasto.evaluation import STYLE_TAPS
    from impasto.lab.grams import gram_distances, gram_sheet, gram_views
    from impasto.lab.sheets import check_sheet, save_figure

    names = [picture] if other is None else [picture, other]
    check_sheet(output, force=force, inputs=names)
    network = _backbone(backbone, backbone_input, device, precision)[1]
    images = [_look_at(name, size) for name in names]
    views = [gram_views(network, image, layer or STYLE_TAPS) for image in images]
    distances = gram_distances(views[0], views[1]) if other is not None else {}
    if as_json:
        facts = [
            {
                "layer": view.layer,
                "pairs": [[i, j, float(view.matrix[i, j])] for i, j in view.pairs],
                "distance": distances.get(view.layer),
            }
            for view in views[0]
        ]
        typer.echo(json.dumps({"layers": facts}))
    else:
        for name, distance in distances.items():
            typer.echo(f"{name}  relative distance {distance:.4g}")
    shown = list(zip(map(_name, names), images, views, strict=True))
    save_figure(gram_sheet(shown, title=f"Gram matrices of {network.name}"), output, force=force, inputs=names)


lab_app.command()(experiment)
lab_app.command()(timeline)


def _name(path: str) -> str:
    return "standard input" if path == "-" else Path(path).name


def _paths(styles: list[str] | None) -> list[str]:
    from impasto.stylizer.styles import parse_style

    return [parse_style(text)[0] for text in styles or []]


def _look_at(path: str, size: int) -> Tensor:
    """A picture (1, 3, H, W), no larger than `size`."""
    from impasto.core.memory import reuse_large_blocks
    from impasto.core.resizing import resize
    from impasto.core.tensors import to_tensor
    from impasto.imaging import fit_long_side, read

    reuse_large_blocks()
    rgb = to_tensor(read(path).seen())
    return resize(rgb, fit_long_side((rgb.shape[2], rgb.shape[3]), size))


def _backbone(name: str, kind: Any, device: str, precision: Any) -> tuple[VGG, Layers]:
    from impasto.core.precision import choose_precision, pick_device
    from impasto.core.weights import load_backbone
    from impasto.lab.layers import BackboneLayers

    where = pick_device(device)
    vgg = load_backbone(name, input=kind, precision=choose_precision(where, precision), device=where)
    return vgg, BackboneLayers(vgg)


def _painter(model: str, styles: list[str], device: str, precision: Any) -> Layers:
    """A network that paints, by a shipped name or a file, with its styles."""
    from impasto.core.tensors import to_tensor
    from impasto.imaging import read
    from impasto.lab.layers import PainterLayers
    from impasto.stylizer.api import load
    from impasto.stylizer.styles import parse_style

    loaded = load(model, device=device, precision=precision)
    chosen = [parse_style(text) for text in styles]
    name = Path(loaded.name).stem
    if loaded.any_style:
        pictures = [(to_tensor(read(path).weighed()), weight) for path, weight in chosen]
        return PainterLayers(loaded.network, name, pictures=pictures)
    if not chosen and len(loaded.styles) > 1:
        chosen = [(loaded.styles[0].name, 1.0)]
        show_note(f"{name} paints in the style {chosen[0][0]} here; another with --style NAME")
    return PainterLayers(loaded.network, name, dict(chosen) or None)


def _follow(jobs: list[tuple[str, Optimization]]) -> None:
    """Run optimisations one after the other, with a bar on a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("", total=sum(job.steps for _, job in jobs))
        for name, job in jobs:
            with closing(job.run()) as records:  # type: ignore[type-var]
                for record in records:
                    if record.note:
                        show_note(record.note.rstrip(";"))
                    bar.update(task, advance=1, description=name)
