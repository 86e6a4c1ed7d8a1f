"""``impasto stylize``: repaint photos in the manner of styles. Options here, work in `painting`, `trained`, `many`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from impasto.errors import OptionError

if TYPE_CHECKING:
    from impasto.batch import Work
    from impasto.cli.jobs import Job

__all__ = ["stylize"]

_pictures = partial(typer.Option, rich_help_panel="Pictures")
_counts = partial(typer.Option, rich_help_panel="What counts")
_moves = partial(typer.Option, rich_help_panel="How it moves")
_files = partial(typer.Option, rich_help_panel="Files and runs")
WITH_NETWORK = (  # one pass: nothing to optimise
    *("photo", "style", "model", "method", "output", "force", "size", "upscale", "keep_colors", "device", "precision"),
    *("strength", "alpha", "style_scale", "mask", "jobs", "jpeg_quality", "png_compression", "max_megapixels"),
    *("max_memory", "tile", "statistics", "dry_run", "quality", "run", "keep_metadata"),
)
NOT_FOR_MANY = ("save_every", "timeline", "loss_plot", "log", "run", "resume", "dry_run")  # they are about one painting
WITH_RESUME = ("resume", "output", "timeline", "loss_plot", "log", "force")  # the run knows all the rest


def stylize(
    ctx: typer.Context,
    photo: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PHOTO...",
            help="The photo; - reads standard input. Also several, folders, and patterns such as '*.jpg'.",
            show_default=False,
        ),
    ] = None,
    style: Annotated[
        list[str] | None,
        _pictures(
            "--style",
            "-s",
            metavar="NAME|PICTURE[:WEIGHT]",
            help="A style of the gallery (see `impasto styles`) or a picture; repeat the option to mix several.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None,
        _pictures(
            "--model",
            metavar="NAME|FILE",
            help="A trained network, which paints in one pass; --style then names one of its styles.",
        ),
    ] = None,
    output: Annotated[
        str | None,
        _pictures(
            "--output",
            "-o",
            metavar="FILE|DIR",
            help="Where the painting goes: .jpg, .png, .webp, .tif, .avif; - is standard output, as PNG. For several "
            "photos a folder.",
        ),
    ] = None,
    size: Annotated[
        int | None,
        _pictures(
            "--size",
            metavar="PX",
            min=1,
            help="Longest side of the painting. Networks keep the photo's own, the presets say 512 or what their "
            "authors said.",
        ),
    ] = None,
    upscale: Annotated[
        bool, _pictures("--upscale", help="Enlarge a photo that is smaller than that; else it keeps its size.")
    ] = False,
    strength: Annotated[
        float, _pictures("--strength", metavar="X", min=0, max=1, help="From 0, the photo, to 1, the full style.")
    ] = 1.0,
    mask: Annotated[
        list[str] | None,
        _pictures(
            "--mask",
            metavar="PICTURE",
            help="White: style, black: photo. Repeat it to give each of several styles of a network its own.",
            show_default=False,
        ),
    ] = None,
    init: Annotated[
        str | None,
        _pictures(
            "--init",
            metavar="KIND|PICTURE",
            help="What to begin with: content (the photo), noise, faint-noise, coursera, draft (what --quality draft "
            "paints), or a picture.",
        ),
    ] = None,
    keep_colors: Annotated[bool, _pictures("--keep-colors", help="Keep the photo's colours.")] = False,
    colors_by: Annotated[
        Literal["luminance", "histogram"] | None,
        _pictures(
            "--colors-by",
            help="How to keep them: luminance paints brightness alone and leaves every place its colour (what "
            "--keep-colors does); histogram gives the style the photo's mean and spread of colours first, so that "
            "colours move with the strokes; the painting is never more colourful than the photo.",
        ),
    ] = None,
    max_megapixels: Annotated[
        float, _pictures("--max-megapixels", metavar="N", min=0, help="Refuse to read larger pictures than this.")
    ] = 200,
    preset: Annotated[
        str | None,
        _counts(
            "--preset",
            metavar="NAME",
            help="Optimise; what is not said comes from balanced (used if none is named), quick, good, or a classic: "
            "gatys-paper, gatys-code, neural-style, coursera, tf-tutorial, multiscale.",
        ),
    ] = None,
    quality: Annotated[
        Literal["draft", "good", "best"] | None,
        _counts(
            "--quality",
            help="With a picture as style: draft (used if none is named) paints in one pass, good optimises that for "
            "seconds, best for minutes.",
        ),
    ] = None,
    content_weight: Annotated[
        float | None, _counts("--content-weight", metavar="W", min=0, help="What staying like the photo is worth.")
    ] = None,
    style_weight: Annotated[
        float | None,
        _counts(
            "--style-weight", metavar="W", min=0, help="What becoming like the style is worth; more of it, more paint."
        ),
    ] = None,
    tv_weight: Annotated[
        float | None, _counts("--tv-weight", metavar="W", min=0, help="What smoothness is worth (total variation).")
    ] = None,
    style_scale: Annotated[
        str | None,
        _counts(
            "--style-scale",
            metavar="X|P%",
            help="Size of the strokes: 2 doubles them; 100% makes a large painting look like its proof of 512 px.",
        ),
    ] = None,
    style_loss: Annotated[
        Literal["gram", "wasserstein"] | None,
        _counts("--style-loss", help="Compare Gram matrices, or means and covariances (W2)."),
    ] = None,
    content_layers: Annotated[
        str | None,
        _counts("--content-layers", metavar="NAME[:W],...", help="Layers that see content, with weights: relu4_2."),
    ] = None,
    style_layers: Annotated[
        str | None,
        _counts(
            "--style-layers", metavar="NAME[:W],...", help="Layers that see style, with weights: relu1_1:0.5,relu3_1."
        ),
    ] = None,
    backbone: Annotated[
        str | None,
        _counts("--backbone", metavar="NAME|PATH", help="Network that sees: `impasto weights list` names them."),
    ] = None,
    backbone_input: Annotated[
        Literal["torchvision", "caffe", "none"] | None,
        _counts("--backbone-input", help="Input normalisation of a backbone file that is not in that list."),
    ] = None,
    pool: Annotated[
        Literal["max", "average", "l2"] | None, _counts("--pool", help="How the network shrinks what it sees.")
    ] = None,
    method: Annotated[
        Literal["network", "optimize"] | None,
        _moves(
            "--method", help="How to paint: by a network, in one pass, or by optimisation, which has more to adjust."
        ),
    ] = None,
    alpha: Annotated[
        float | None,
        _moves(
            "--alpha",
            metavar="X",
            min=0,
            max=1,
            help="Of a network trained by `train adain`: how far features are restyled.",
        ),
    ] = None,
    steps: Annotated[
        int | None, _moves("--steps", metavar="N", min=1, help="Steps in all, shared among the scales.")
    ] = None,
    start_size: Annotated[
        int | None, _moves("--start-size", metavar="PX", min=1, help="Longest side of the first, coarsest scale.")
    ] = None,
    optimizer: Annotated[
        Literal["adam", "lbfgs"] | None, _moves("--optimizer", help="What decides on the steps.")
    ] = None,
    lr: Annotated[float | None, _moves("--lr", metavar="X", help="Learning rate, the length of a step.")] = None,
    parameterisation: Annotated[
        Literal["pixels", "pyramid", "fourier"] | None, _moves("--parameterisation", help="What the optimiser moves.")
    ] = None,
    averaging: Annotated[
        float | None, _moves("--averaging", metavar="X", help="Average the last steps: 0 not, 0.99 a hundred.")
    ] = None,
    seed: Annotated[
        int | None, _moves("--seed", metavar="N", min=0, help="Same seed, same machine: same picture.")
    ] = None,
    jobs: Annotated[int, _moves("--jobs", "-j", metavar="N", min=1, help="How many photos at the same time.")] = 1,
    device: Annotated[str, _moves("--device", metavar="NAME", help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"],
        _moves("--precision", help="auto is bfloat16 where the processor multiplies it natively."),
    ] = "auto",
    max_memory: Annotated[
        str | None,
        _moves(
            "--max-memory",
            metavar="SIZE",
            help="Memory to keep within, such as 2GB. Pictures too large for it, or for what is free, are painted "
            "piece by piece, with the same result.",
        ),
    ] = None,
    tile: Annotated[
        int | None, _moves("--tile", metavar="PX", min=1, help="Rows that a network paints at a time.")
    ] = None,
    statistics: Annotated[
        Literal["exact", "sampled"] | None,
        _moves("--statistics", help="sampled: nearly what a network paints, and sooner, for very large photos."),
    ] = None,
    dry_run: Annotated[bool, _moves("--dry-run", help="Tell how it would be painted, and stop.")] = False,
    force: Annotated[bool, _files("--force", help="Replace files that exist, but never an input.")] = False,
    jpeg_quality: Annotated[
        int, _files("--jpeg-quality", metavar="N", min=1, max=100, help="Of JPEG, WebP and AVIF, 1 to 100.")
    ] = 92,
    png_compression: Annotated[
        int, _files("--png-compression", metavar="N", min=0, max=9, help="Of PNG and TIFF, 0 to 9.")
    ] = 6,
    keep_metadata: Annotated[
        bool,
        _files("--keep-metadata", help="Keep what the photo says in EXIF, XMP and IPTC, but never where it was taken."),
    ] = False,
    save_every: Annotated[
        int | None,
        _files(
            "--save-every",
            metavar="N",
            min=1,
            help="Keep the picture of every N-th step, beside the output or in the folder of --run.",
        ),
    ] = None,
    timeline: Annotated[
        Path | None, _files("--timeline", metavar="GIF", help="A film of the picture being painted.")
    ] = None,
    loss_plot: Annotated[
        Path | None, _files("--loss-plot", metavar="PNG", help="The losses over the steps, drawn.")
    ] = None,
    log: Annotated[Path | None, _files("--log", metavar="CSV", help="The losses over the steps, as a table.")] = None,
    run: Annotated[
        Path | None,
        _files(
            "--run",
            metavar="DIR",
            help="Keep frames, log and state, or a network's strips, in this folder, so that the run can be resumed.",
        ),
    ] = None,
    resume: Annotated[
        Path | None, _files("--resume", metavar="DIR", help="Go on with the run in this folder; takes no PHOTO.")
    ] = None,
) -> None:
    """Repaint PHOTO in the manner of one or several --style names or pictures.

    Ctrl-C keeps the picture so far.
    """
    # Here, because torch takes a second that --help does not have.
    from impasto.batch import Work, is_many
    from impasto.cli.jobs import How, Keep, new_job, resumed_job
    from impasto.cli.looks import tell_of_masks
    from impasto.cli.many import optimizer_of, paint_many
    from impasto.cli.painting import Extras, paint, show_layouts
    from impasto.cli.strips import is_run_of_network, resume_run
    from impasto.cli.trained import Look, paint_with_model, painter, show_plan
    from impasto.recording import RunFolder
    from impasto.stylizer import parse_style
    from impasto.stylizer.route import network_for, rung
    from impasto.stylizer.strokes import factor_for_optimisation

    extras = Extras(timeline, loss_plot, log)
    keep = Keep(save_every, jpeg_quality, png_compression, keep_metadata)
    if resume is not None:
        _only(ctx, WITH_RESUME, "--resume goes on as the run began")
        old = RunFolder(resume)
        if is_run_of_network(old):
            _not(ctx, ("timeline", "loss_plot", "log"), "is about steps, and a network paints in one pass")
            resume_run(old, output, force=force)
            return
        job = resumed_job(old, output)
        replace = force or output is None  # what the run itself has written
        job.check(force=replace, with_run=True)
        extras.check(job, force=force)
        paint(job, extras, old, resume=True, force=replace)
        return
    if not photo or not (style or model):
        raise OptionError("a photo and at least one style are needed: impasto stylize PHOTO --style PICTURE -o FILE")
    if output is None:
        if not dry_run:
            raise OptionError("where should the painting go? add -o FILE, or -o - for standard output")
        output = "-"
    many = is_many(photo)
    if many:
        _not(ctx, NOT_FOR_MANY, "is about one painting, and there are several photos")
    styles, masks = style or [], mask or []
    tell_of_masks(masks, max_megapixels)
    # A picture as style is optimised where its run is to be kept.
    tuned = any(name not in WITH_NETWORK or name == "run" for name, _ in _given(ctx))
    names = [parse_style(text)[0] for text in styles]
    network = network_for(names, model, quality=quality, method=method, tuned=tuned)
    if network is not None:
        _only(ctx, WITH_NETWORK, "a network paints in one pass")
        scale, how_far = 1.0 if style_scale is None else style_scale, 1.0 if alpha is None else alpha
        look = Look(
            str(network), tuple(styles), size, upscale, keep_colors, strength, how_far, scale, tuple(masks),
            device, precision, max_megapixels, max_memory, tile, statistics or "exact",
        )  # fmt: skip
        if dry_run:
            show_plan(Work(photo[0], output), look, keep, run)
            return
        if many:
            paint_many(photo, output, lambda: painter(look, keep, force=force), jobs)
        else:
            paint_with_model(Work(photo[0], output), look, keep, force=force, run=run)
        return
    _not(ctx, ("tile", "statistics"), "is for networks")
    if alpha is not None:
        raise OptionError("--alpha is for networks that decode features (adain): use --strength")
    step = rung(quality, preset)
    if len(masks) > 1:
        raise OptionError(f"optimisation takes one mask for all styles, got {len(masks)}: give one --mask")
    changes = {
        "size": size,
        "init": init,
        "keep_colors": colors_by or ("luminance" if keep_colors else None),
        "content_weight": content_weight,
        "style_weight": style_weight,
        "tv_weight": tv_weight,
        "style_scale": None if style_scale is None else factor_for_optimisation(style_scale),
        "style_loss": style_loss,
        "content_layers": content_layers,
        "style_layers": style_layers,
        "backbone": backbone or step.get("backbone"),
        "pool": pool,
        "total_steps": steps,
        "start": start_size,
        "optimizer": optimizer,
        "lr": lr,
        "parameterisation": parameterisation,
        "averaging": averaging,
        "seed": seed,
    }
    how = How(backbone_input, device, precision, upscale, max_megapixels, strength, max_memory)

    def job_of(work: Work) -> Job:
        return new_job(work.photo, styles, work.output, step.get("preset"), changes, how, keep, next(iter(masks), None))

    if many:
        paint_many(photo, output, lambda: optimizer_of(job_of, force=force), jobs)
        return
    job = job_of(Work(photo[0], output))
    if dry_run:
        show_layouts(job)
        return
    job.check(force=force, with_run=run is not None)
    extras.check(job, force=force)
    folder = None if run is None else RunFolder(run)
    if folder is not None:
        folder.check_free()
    paint(job, extras, folder, resume=False, force=force)


def _only(ctx: typer.Context, allowed: tuple[str, ...], why: str) -> None:
    """OptionError for an option that would be ignored."""
    for name, option in _given(ctx):
        if name not in allowed:
            raise OptionError(f"{why}: leave out {option}")


def _not(ctx: typer.Context, refused: tuple[str, ...], why: str) -> None:
    for name, option in _given(ctx):
        if name in refused:
            raise OptionError(f"{option} {why}: leave it out")


def _given(ctx: typer.Context) -> Iterator[tuple[str, str]]:
    """(name, as the user writes it) of every option and argument on the command line."""
    for parameter in ctx.command.params:
        source = ctx.get_parameter_source(parameter.name or "")
        if source is not None and source.name == "COMMANDLINE":
            yield parameter.name or "", parameter.opts[0] if parameter.opts[0].startswith("-") else "PHOTO"
