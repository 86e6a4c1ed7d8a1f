"""The calls for programs: a photo and styles in, a PIL image out."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import closing
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal

from impasto.core.host import in_our_settings
from impasto.errors import OptionError
from impasto.imaging import to_pil
from impasto.stylizer.engine import default_engine
from impasto.stylizer.job import Output, Progress, check_progress
from impasto.stylizer.model import Model
from impasto.stylizer.recorder import Recorder, begin_run, resume_run
from impasto.stylizer.request import EngineName, Method, OutputOptions, Quality, StylizeRequest
from impasto.stylizer.run_folder import RunFolder
from impasto.types import BackboneInput, PrecisionName, Statistics

if TYPE_CHECKING:
    from PIL.Image import Image

    from impasto.types import Masks, PictureSource, Styles

__all__ = ["load", "resume", "stylize"]


def stylize(
    photo: PictureSource,
    style: Styles | None = None,
    *,
    model: str | PathLike[str] | None = None,
    size: int | None = None,
    upscale: bool | None = None,
    strength: float | None = None,
    mask: Masks | None = None,
    init: PictureSource | None = None,
    keep_colors: bool | str | None = None,
    colors_by: Literal["luminance", "histogram"] | None = None,
    max_megapixels: float | None = None,
    preset: str | None = None,
    quality: Quality | None = None,
    content_weight: float | None = None,
    style_weight: float | None = None,
    tv_weight: float | None = None,
    style_scale: float | str | None = None,
    ground: float | None = None,
    style_loss: Literal["gram", "wasserstein"] | None = None,
    content_layers: Mapping[str, float] | str | None = None,
    style_layers: Mapping[str, float] | str | None = None,
    backbone: str | PathLike[str] | None = None,
    backbone_input: BackboneInput | None = None,
    pool: Literal["max", "average", "l2"] | None = None,
    method: Method | None = None,
    alpha: float | None = None,
    steps: int | None = None,
    start_size: int | None = None,
    optimizer: Literal["adam", "lbfgs"] | None = None,
    lr: float | None = None,
    parameterisation: Literal["pixels", "pyramid", "fourier"] | None = None,
    averaging: float | None = None,
    seed: int | None = None,
    engine: EngineName | None = None,
    device: str | None = None,
    precision: PrecisionName | None = None,
    max_memory: str | int | None = None,
    tile: int | None = None,
    statistics: Statistics | None = None,
    output: str | PathLike[str] | None = None,
    jpeg_quality: int | None = None,
    png_compression: int | None = None,
    keep_metadata: bool | None = None,
    force: bool = False,
    run: str | PathLike[str] | None = None,
    progress: Callable[[Progress], None] | None = None,
    **settings: Any,
) -> Image:
    """Repaint `photo` in the manner of `style` and return a PIL image.

    A name or a picture as style is painted in one pass, at the photo's own size; higher qualities, and all options
    that only optimisation has, paint pictures by optimisation. Each option is described once, in `StylizeRequest`; the
    command ``impasto stylize`` has the same, with the same defaults. None means not given.

    Args:
        photo: a path, PIL image, array or tensor.
        style: a style's name, or a picture; or a list of such, or of `Style` with weights, or of
            ``(picture, weight)``. A string may be ``PATH:WEIGHT`` or ``NAME:WEIGHT``.
        output: a file that the painting is written to as well, with its recipe; one that exists is an error.
        jpeg_quality, png_compression, keep_metadata: how it is written, see `OutputOptions`.
        force: replace a file that exists, but never an input.
        run: a folder that keeps what it takes to go on after an interruption, see `resume`.
        progress: called with a record before a network begins and after every piece; it changes nothing of the picture.
        **settings: any other field of `OptimizeSettings`, over the preset's: ``factor=2``, ``betas=(0.5, 0.9)`` ...

    Raises:
        ImpastoError: one of its children for everything a user can mend.
    """
    options = locals()
    named = [name for name in StylizeRequest.options if name != "settings"]
    check_progress(progress)
    request = StylizeRequest.of(**settings, **{name: options[name] for name in named})
    written = OutputOptions.of(**{name: options[name] for name in OutputOptions.options})
    shared = default_engine()
    if run is None:
        if output is None and written.given:
            raise OptionError(f"`{written.given[0]}` says how a file is written: give `output` as well")
        place = None if output is None else Output(_path("output", output), written, force=force)
        recorder = Recorder(shared.job(photo, request, output=place), force=force)
    else:
        folder = RunFolder(_path("run", run))
        with folder.making():
            path = str(folder.folder / "painting.png") if output is None else _path("output", output)
            place = Output(path, written, force=force)
            recorder = begin_run(shared, photo, request, place, folder)
    return _painted(recorder, progress)


def resume(
    run: str | PathLike[str],
    *,
    output: str | PathLike[str] | None = None,
    force: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> Image:
    """Go on with the run in a folder that ``stylize(..., run=...)`` or ``impasto stylize --run`` began.

    Args:
        run: the folder.
        output: another place for the painting than the run began with.
        force: replace a file that exists there.
        progress: as of `stylize`.

    Raises:
        DataError: there is no run, it is damaged, or its files are gone or changed.
    """
    check_progress(progress)
    place = None if output is None else _path("output", output)
    return _painted(resume_run(default_engine(), RunFolder(_path("run", run)), output=place, force=force), progress)


def load(
    model: str | PathLike[str] = "gallery",
    *,
    device: str = "auto",
    precision: PrecisionName = "auto",
    engine: EngineName = "auto",
) -> Model:
    """A trained network ready to paint: one that ships, by name, a file that `impasto train` wrote, or one exported.

    Args:
        model: name or path.
        device, precision: where it computes, and in which numbers; of torch.
        engine: ``torch``, ``light`` (onnxruntime), or ``auto``: torch where it is installed and can read the file.

    Raises:
        WeightsError: no such name or file, or one that is damaged.
        OptionError: this machine has no such device or precision.
    """
    return default_engine().model(model, device=device, precision=precision, engine=engine)


def _path(name: str, given: object) -> str:
    if not isinstance(given, str | PathLike):
        raise OptionError(f"`{name}` must be a path, got {type(given).__name__}", name)
    return os.fsdecode(given)


def _painted(recorder: Recorder, progress: Callable[[Progress], None] | None) -> Image:
    with recorder.job as job, closing(recorder.run()) as records:
        for record in records:
            if progress is not None:
                progress(record)
        return _to_pil(job.result)


@in_our_settings
def _to_pil(result: Callable[[], Any]) -> Image:
    return to_pil(result())
