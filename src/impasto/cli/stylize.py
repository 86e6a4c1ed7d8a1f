"""``impasto stylize``: repaint a photo in the manner of one or several pictures."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from impasto.cli.common import (
    BackboneInputOption,
    DeviceOption,
    ForceOption,
    MaxMegapixelsOption,
    PrecisionOption,
    show_note,
)
from impasto.errors import DataError, DivergenceError, OptionError

if TYPE_CHECKING:
    from impasto.imaging import Picture
    from impasto.methods.presets import OptimizeSettings
    from impasto.recording import RunFolder, Timeline
    from impasto.stylizer import Painting

__all__ = ["stylize"]

SAVE_EVERY = 25  # steps between states of a run that can be resumed


def stylize(
    photo: Annotated[str | None, typer.Argument(help="The photo; - reads standard input.", show_default=False)] = None,
    style: Annotated[
        list[str] | None,
        typer.Option(
            "--style", "-s", metavar="PICTURE[:WEIGHT]", help="A style picture; repeat it to mix.", show_default=False
        ),
    ] = None,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", help="Where to; - writes standard output.")
    ] = None,
    method: Annotated[Literal["optimize"], typer.Option("--method", help="How to paint.")] = "optimize",
    preset: Annotated[
        str | None,
        typer.Option("--preset", help="quick, balanced (the default), or a classic: see the README."),
    ] = None,
    size: Annotated[int | None, typer.Option("--size", min=1, help="Longest side in px; preset: 512.")] = None,
    upscale: Annotated[bool, typer.Option("--upscale", help="Enlarge a smaller photo to --size.")] = False,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Steps in all, shared among scales.")] = None,
    content_weight: Annotated[float | None, typer.Option("--content-weight", min=0)] = None,
    style_weight: Annotated[float | None, typer.Option("--style-weight", min=0)] = None,
    tv_weight: Annotated[float | None, typer.Option("--tv-weight", min=0, help="Total variation.")] = None,
    content_layers: Annotated[
        str | None, typer.Option("--content-layers", metavar="NAME[:W],...", help="For example relu4_2.")
    ] = None,
    style_layers: Annotated[
        str | None, typer.Option("--style-layers", metavar="NAME[:W],...", help="For example relu1_1:1,relu3_1:2.")
    ] = None,
    style_loss: Annotated[Literal["gram", "wasserstein"] | None, typer.Option("--style-loss")] = None,
    style_scale: Annotated[
        float | None, typer.Option("--style-scale", help="Size of the style picture beside the result's: its strokes.")
    ] = None,
    keep_colors: Annotated[bool, typer.Option("--keep-colors", help="Keep the photo's colours.")] = False,
    colors_by: Annotated[
        Literal["luminance", "histogram"],
        typer.Option("--colors-by", help="How --keep-colors does it: paint luminance only, or recolour the style."),
    ] = "luminance",
    init: Annotated[
        str | None,
        typer.Option("--init", metavar="KIND|PICTURE", help="content, noise, faint-noise, coursera, or a picture."),
    ] = None,
    optimizer: Annotated[Literal["adam", "lbfgs"] | None, typer.Option("--optimizer")] = None,
    lr: Annotated[float | None, typer.Option("--lr", help="Learning rate; 1 for L-BFGS.")] = None,
    parameterisation: Annotated[
        Literal["pixels", "pyramid", "fourier"] | None,
        typer.Option("--parameterisation", help="What the optimiser moves."),
    ] = None,
    start_size: Annotated[
        int | None, typer.Option("--start-size", min=1, help="Longest side of the first, coarsest scale.")
    ] = None,
    averaging: Annotated[float | None, typer.Option("--averaging", help="Of the iterates, 0 to below 1.")] = None,
    pool: Annotated[Literal["max", "average", "l2"] | None, typer.Option("--pool")] = None,
    backbone: Annotated[
        str | None,
        typer.Option("--backbone", metavar="NAME|PATH", help="Network that sees: `impasto weights list`."),
    ] = None,
    backbone_input: BackboneInputOption = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    seed: Annotated[int | None, typer.Option("--seed", help="Same seed, same machine: same picture.")] = None,
    jpeg_quality: Annotated[int, typer.Option("--jpeg-quality", min=1, max=100)] = 92,
    png_compression: Annotated[int, typer.Option("--png-compression", min=0, max=9)] = 6,
    max_megapixels: MaxMegapixelsOption = 200,
    save_every: Annotated[
        int | None, typer.Option("--save-every", min=1, help="Keep the picture every N steps.")
    ] = None,
    timeline: Annotated[Path | None, typer.Option("--timeline", metavar="GIF", help="A film of the painting.")] = None,
    loss_plot: Annotated[Path | None, typer.Option("--loss-plot", metavar="PNG", help="Losses over steps.")] = None,
    log: Annotated[Path | None, typer.Option("--log", metavar="CSV", help="Losses as a table.")] = None,
    run: Annotated[
        Path | None, typer.Option("--run", metavar="DIR", help="Keep frames, log and state there, to resume from.")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option("--resume", metavar="DIR", help="Go on with the run in DIR; needs no other option.")
    ] = None,
    force: ForceOption = False,
) -> None:
    """Repaint PHOTO in the manner of --style.

    Ctrl-C keeps the picture so far.
    """
    from impasto import recording
    from impasto.imaging import check_output

    del method  # there is one so far, and the parser has checked it
    folder = None
    if resume is not None:
        if photo is not None or style or run is not None or preset is not None:
            raise OptionError("--resume goes on as the run began: leave out PHOTO, --style, --preset and --run")
        folder = recording.RunFolder(resume)
        job, force = _job_of(folder, output), True
    else:
        if photo is None or not style:
            raise OptionError("a photo and at least one style are needed: impasto stylize PHOTO --style PICTURE -o OUT")
        if output is None:
            raise OptionError("where to? add -o FILE, or -o - for standard output")
        start = None if init in (None, "content", "noise", "faint-noise", "coursera") else init
        settings = {
            "size": size,
            "total_steps": steps,
            "content_weight": content_weight,
            "style_weight": style_weight,
            "tv_weight": tv_weight,
            "content_layers": _layers("--content-layers", content_layers),
            "style_layers": _layers("--style-layers", style_layers),
            "style_loss": style_loss,
            "style_scale": style_scale,
            "keep_colors": colors_by if keep_colors else None,
            "init": None if start else init,
            "optimizer": optimizer,
            "lr": lr,
            "parameterisation": parameterisation,
            "start": start_size,
            "averaging": averaging,
            "pool": pool,
            "backbone": backbone,
            "seed": seed,
        }
        how = {"backbone_input": backbone_input, "device": device, "precision": precision, "upscale": upscale}
        job = _new_job(photo, style, output, preset, settings, how | {"start": start})

    check_output(job.output, force=force, inputs=job.inputs)
    for extra in (timeline, loss_plot, log):
        if extra is not None:
            check_output(extra, force=force, inputs=job.inputs, format="png")
    if timeline is not None and timeline.suffix.lower() != ".gif":
        raise OptionError(f"--timeline {timeline}: only .gif is written")

    painting = job.prepare(max_megapixels)
    if run is not None:
        folder = recording.RunFolder(run)
        folder.create(job.description())
    film = recording.Timeline() if timeline else None
    keeper = _Keeper(painting, job, folder, save_every, film, quality=jpeg_quality, compression=png_compression)
    if resume is not None and folder is not None:
        folder.load(painting.optimization, keeper.log)
        if painting.optimization.step >= painting.optimization.steps:
            show_note("this run is finished; its picture is written again")
    finished = _paint(painting, keeper)
    keeper.finish(force=force)
    if timeline is not None and film is not None:
        film.write(timeline)
    if loss_plot is not None and keeper.log.rows:
        recording.plot_losses(keeper.log.rows, loss_plot)
    if log is not None:
        keeper.log.write(log)
    if not finished:
        raise typer.Exit(130)


@dataclass(frozen=True)
class _Job:
    """What is to be painted, from the command line or from the folder of a run."""

    photo: str
    styles: list[tuple[str, float]]
    settings: OptimizeSettings
    how: dict[str, Any]  # arguments of `prepare` that say how, not what
    output: str

    @property
    def inputs(self) -> list[str]:
        """Files that must not be overwritten."""
        start = self.how["start"]
        return [self.photo, *[path for path, _ in self.styles], *([start] if start else [])]

    def prepare(self, max_megapixels: float) -> Painting:
        """Read, resize, load."""
        from impasto.stylizer import Style, prepare

        styles = [Style(path, weight) for path, weight in self.styles]
        return prepare(self.photo, styles, self.settings, max_megapixels=max_megapixels, **self.how)

    def description(self) -> dict[str, Any]:
        """For the folder of a run."""
        from impasto.recording import describe_run

        if "-" in (*self.inputs, self.output):
            raise OptionError("--run needs files: standard input and output are gone when it is resumed")
        start = self.how["start"]
        return describe_run(
            Path(self.photo),
            [(Path(path), weight) for path, weight in self.styles],
            self.settings,
            how=self.how | {"start": start and str(Path(start).resolve())},
            output=str(Path(self.output).resolve()),
        )


def _new_job(
    photo: str, style: list[str], output: str, preset: str | None, changes: dict[str, Any], how: dict[str, Any]
) -> _Job:
    from impasto.methods.presets import DEFAULT_PRESET
    from impasto.methods.presets import preset as settings_of
    from impasto.stylizer import parse_style

    settings = settings_of(preset or DEFAULT_PRESET, **changes)
    return _Job(photo, [parse_style(text) for text in style], settings, how, output)


def _job_of(folder: RunFolder, output: str | None) -> _Job:
    """The job of a run that is resumed; DataError if its files are gone or changed."""
    description = folder.description()
    styles = [(str(_unchanged(row)), float(row["weight"])) for row in description["styles"]]
    photo = str(_unchanged(description["photo"]))
    return _Job(photo, styles, folder.settings(), description["how"], output or description["output"])


class _Keeper:
    """Everything that is written while painting and after."""

    def __init__(
        self,
        painting: Painting,
        job: _Job,
        folder: RunFolder | None,
        save_every: int | None,
        timeline: Timeline | None,
        *,
        quality: int,
        compression: int,
    ) -> None:
        from impasto.recording import Log

        self.painting, self.job, self.folder, self.save_every = painting, job, folder, save_every
        self.log, self.timeline = Log(), timeline
        self.quality, self.compression = quality, compression

    def after(self, record: Any) -> None:
        """Called after every step."""
        self.log.add(record)
        if self.timeline is not None and self.timeline.due(record):
            self.timeline.add(self.painting.optimization.image())
        every = self.save_every or SAVE_EVERY
        if record.step % every and record.step != record.steps:
            return
        if self.folder is not None:
            self.folder.frame(self.painting.result(), record.step)
            self.folder.save(self.painting.optimization, self.log)
        elif self.save_every:
            self._write(self._beside(record.step), self.painting.result(), force=True)

    def finish(self, *, force: bool) -> None:
        """Write the picture."""
        if self.folder is not None:
            self.folder.save(self.painting.optimization, self.log)
        picture = self.painting.result()
        self._write(self.job.output, picture, force=force)
        optimization = self.painting.optimization
        backbone, precision = optimization.backbone, self.painting.precision
        show_note(
            f"{self.job.output}: {picture.width}x{picture.height} px, {optimization.step} steps on {backbone.name} in "
            f"{str(precision.dtype).removeprefix('torch.')} ({precision.reason})"
        )

    def _beside(self, step: int) -> str:
        if self.job.output == "-":
            raise OptionError("--save-every needs -o FILE or --run DIR to know where to")
        path = Path(self.job.output)
        return str(path.with_name(f"{path.stem}-{step:06d}{path.suffix}"))

    def _write(self, path: str, picture: Picture, *, force: bool) -> None:
        from impasto.imaging import write

        inputs = self.job.inputs
        write(picture, path, force=force, inputs=inputs, quality=self.quality, compression=self.compression)


def _paint(painting: Painting, keeper: _Keeper) -> bool:
    """Run to the end with a bar on the terminal; False if the user stopped it."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    optimization = painting.optimization
    console = Console(file=sys.stderr)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.4g}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("painting", total=optimization.steps, completed=optimization.step, loss=float("nan"))
        try:
            for record in optimization.run():
                keeper.after(record)
                if record.note:
                    show_note(record.note.rstrip(";"))
                height, width = record.scale
                bar.update(
                    task, completed=record.step, loss=record.losses["total"], description=f"painting {width}x{height}"
                )
        except KeyboardInterrupt:
            show_note(f"stopped at step {optimization.step} of {optimization.steps}: keeping the picture so far")
            return False
        except DivergenceError:
            if optimization.step:
                keeper.finish(force=True)
                show_note(f"the picture of step {optimization.step}, the last good one, was kept")
            raise
    return True


def _layers(option: str, text: str | None) -> dict[str, float] | None:
    """``relu1_1:2,relu2_1`` -> {"relu1_1": 2.0, "relu2_1": 1.0}."""
    if text is None:
        return None
    layers = {}
    for part in text.split(","):
        name, colon, weight = part.strip().partition(":")
        try:
            layers[name] = float(weight) if colon else 1.0
        except ValueError:
            raise OptionError(f"{option} {part!r}: the weight after the colon must be a number") from None
        if not name or not layers[name] > 0:
            raise OptionError(f"{option} {part!r}: write NAME or NAME:WEIGHT with a weight above 0")
    return layers


def _unchanged(row: dict[str, Any]) -> Path:
    """The file of a run that is resumed; DataError if it is gone or another."""
    from impasto.files import sha256

    path = Path(row["path"])
    if not path.is_file():
        raise DataError(f"{path}: is not there any more, so the run cannot go on")
    if sha256(path) != row["sha256"]:
        raise DataError(f"{path}: has changed since the run began; start a new run")
    return path
