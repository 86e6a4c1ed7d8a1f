"""``impasto video`` and ``impasto steady``: films painted, and films that others painted, kept steady."""

from __future__ import annotations

import math
import re
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from impasto.cli.common import ForceOption, bar, show_note
from impasto.cli.options import command_of, flags, given_on, option_parameters
from impasto.errors import OptionError, counted, require
from impasto.stylizer.request import StylizeRequest

if TYPE_CHECKING:
    from impasto.stylizer.engine import Engine
    from impasto.stylizer.job import Output
    from impasto.video.frame_times import FrameTimes
    from impasto.video.job import FilmJob
    from impasto.video.options import FilmOptions

__all__ = ["steady", "video"]

_OUTPUT = (
    "Where the film goes: .mp4, .mov, .mkv, .webm, .gif, .webp, .apng, or a folder (painted/, painted/%05d.jpg) for "
    "numbered pictures; also .m4v, and .png for an animation."
)
LEAST = 32  # px of a cut's short side, which optimisation needs
SHORT, LONG = 5.0, 30.0  # seconds for which frames of the whole size are painted, to tell how long the whole takes
# Name, type, default, flag, value in help, panel, help.
_FILM: tuple[tuple[str, Any, Any, str, str | None, str], ...] = (
    ("begin", str | None, None, "--from", "TIME", "Begin here: 12.5, 12.5s or 1:02.5."),
    ("end", str | None, None, "--to", "TIME", "End here."),
    ("every", int | None, None, "--every", "N", "Paint every N-th frame alone; the film lasts as long."),
    ("rate", str | None, None, "--fps", "N|N/D", "Frames a second of numbered pictures, 25 if not said."),
    ("codec", str | None, None, "--codec", "NAME", "h264, hevc, av1 or vp9; else what the format is best known with."),
    ("crf", int | None, None, "--crf", "N", "Quality of the film as the codec counts it: 0 is best, 17 is very good."),
    (
        "kept", float | None, None, "--steady", "X",
        "How much of the last painting goes on where it can still be seen, below 1; 0 paints frame by frame. 0.98 if "
        "not said.",
    ),
)  # fmt: skip
_FILM_PARAMETERS = {
    name: (Annotated[kind, typer.Option(flag, metavar=metavar, help=text, rich_help_panel="Film")], default)
    for name, kind, default, flag, metavar, text in _FILM
}
_PAINTING_PARAMETERS = dict(option_parameters(StylizeRequest))
_VALUES = {"strength": "X[@TIME]", "style_scale": "X[@TIME]|P%|auto"}  # which may be given several times, with times
for _name, _value in _VALUES.items():
    _shown = _PAINTING_PARAMETERS[_name][0].__metadata__[0]
    _timed = typer.Option(
        *flags(_name), metavar=_value, help=_shown.help, rich_help_panel=_shown.rich_help_panel, show_default=False
    )
    _PAINTING_PARAMETERS[_name] = (Annotated[list[str] | None, _timed], None)
_output = Annotated[str, typer.Option(*flags("output"), metavar="FILE|FOLDER", help=_OUTPUT, rich_help_panel="Film")]
_clip = typer.Argument(metavar="CLIP", help="A film, an animation, a folder of numbered pictures, or a pattern.")
_preview = typer.Option(
    metavar="SECONDS", rich_help_panel="Film",
    help="Paint a cut of so many seconds at half the size, and tell how long the whole will take.",
)  # fmt: skip
_run = typer.Option(
    metavar="DIR", rich_help_panel="Film",
    help="Keep what is finished in this folder: the same command with --resume goes on after it.",
)  # fmt: skip
_no_recipe = typer.Option("--no-recipe", rich_help_panel="Film", help="Leave out of the film how it was made.")


@command_of(
    {
        "clip": (Annotated[str, _clip], ...),
        "output": (_output, ...),
        **_PAINTING_PARAMETERS,
        **_FILM_PARAMETERS,
        "preview": (Annotated[float | None, _preview], None),
        "run": (Annotated[Path | None, _run], None),
        "resume": (
            Annotated[bool, typer.Option("--resume", rich_help_panel="Film", help="Go on with that run.")],
            False,
        ),
        "no_recipe": (Annotated[bool, _no_recipe], False),
        "force": (ForceOption, False),
    }
)
def video(ctx: typer.Context, **_options: Any) -> None:
    """Repaint the film CLIP in the manner of one or several --style names or pictures, with its sound.

    A style may say when it begins: --style great-wave@0s --style the-scream@4s fades from one to the other. So may
    --strength and --style-scale: --strength 0@0s --strength 1@4s.
    """
    require("av cv2", "video", "painting films")
    from impasto.stylizer.engine import Engine
    from impasto.stylizer.job import Output
    from impasto.video.job import FilmJob
    from impasto.video.options import Changes, split_numbers, split_times

    given = given_on(ctx)
    if not {"style", "model"} & given.keys():
        raise OptionError("a style is needed: impasto video CLIP --style NAME|PICTURE -o FILE", "style")
    asked = {name: value for name, value in given.items() if name in StylizeRequest.options}
    changes: dict[str, Any] = {}
    if asked.get("style"):
        asked["style"], changes["style"] = split_times(asked["style"])
    for name in ("strength", "style_scale"):
        if asked.get(name):
            asked[name], changes[name] = split_numbers(name, asked[name])
    request = StylizeRequest.of(**asked)
    options = _film_options(given, changes=Changes(**changes))
    engine = Engine(max_memory=request.max_memory)
    output = Output(given["output"], force=given.get("force", False), recipe=not given.get("no_recipe", False))
    if "preview" in given:
        _paint_cut(engine, given["clip"], request, output, options, given["preview"])
        return
    with FilmJob(engine, given["clip"], request, output, options) as job:
        _carry_out(job)


@command_of(
    {
        "painted": (
            Annotated[str, typer.Argument(metavar="PAINTED", help="A film or numbered pictures that flicker.")],
            ...,
        ),
        "like": (
            Annotated[
                str, typer.Option(metavar="ORIGINAL", help="The film that was painted, whose motion is followed.")
            ],
            ...,
        ),
        "output": (_output, ...),
        **{name: row for name, row in _FILM_PARAMETERS.items() if name not in ("every", "begin", "end")},
        "force": (ForceOption, False),
    }
)
def steady(ctx: typer.Context, **_options: Any) -> None:
    """Take the flicker out of PAINTED, frames that any tool has painted of the film ORIGINAL."""
    require("av cv2", "video", "keeping films steady")
    from impasto.stylizer.engine import Engine
    from impasto.stylizer.job import Output
    from impasto.video.steady_job import SteadyJob

    given = given_on(ctx)
    output = Output(given["output"], force=given.get("force", False))
    with SteadyJob(Engine(), given["painted"], given["like"], output, _film_options(given)) as job:
        _carry_out(job)


def _film_options(given: dict[str, Any], **more: Any) -> FilmOptions:
    from impasto.video.codecs import CODECS
    from impasto.video.film import parse_time
    from impasto.video.options import FilmOptions

    found: dict[str, Any] = {
        name: given[name] for name in ("every", "codec", "crf", "kept", "run", "resume") if name in given
    }
    if found.get("codec", "auto") not in ("auto", *CODECS):
        raise OptionError(f"`codec` is {found['codec']!r}, need one of {', '.join(CODECS)}", "codec")
    found |= {name: parse_time(given[name], name) for name in ("begin", "end") if name in given}
    if "rate" in given:
        found["rate"] = _rate(given["rate"])
    return FilmOptions(**found, **more)


def _rate(text: str) -> Any:
    from fractions import Fraction

    if not re.fullmatch(r"\d+(\.\d+)?|\d+/[1-9]\d*", text) or not Fraction(text):
        raise OptionError(f"`rate` is {text!r}: give a number such as 25, 29.97 or 30000/1001", "rate")
    return Fraction(text)


def _paint_cut(
    engine: Engine, clip: str, request: StylizeRequest, output: Output, options: FilmOptions, seconds: float
) -> None:
    """A short cut at half the size, or the least that any method paints, and how long the whole will take."""
    from dataclasses import replace
    from fractions import Fraction
    from tempfile import TemporaryDirectory

    from impasto.core.memory import shown_seconds
    from impasto.video.job import FilmJob
    from impasto.video.outputs import beside

    if seconds <= 0:
        raise OptionError("`preview` needs seconds above 0", "preview")
    if options.run is not None:
        raise OptionError("`preview` paints a cut, of which no run is kept: leave out `run`", "run")
    began = time.perf_counter()
    with (
        TemporaryDirectory(prefix="impasto-") as folder,
        FilmJob(engine, clip, request, beside(output, folder), options) as whole,
    ):
        short, long = sorted(whole.plan().size)
        end = options.begin + Fraction(seconds).limit_denominator(1000)
        end = end if options.end is None else min(end, options.end)
        half = request.with_changes(size=max(long // 4 * 2, min(long, math.ceil(LEAST * long / short / 2) * 2)))
        with FilmJob(engine, clip, half, output, replace(options, end=end)) as cut:
            started = time.perf_counter() - began
            of_cut = _carry_out(cut)
            larger = math.prod(whole.plan().size) / math.prod(cut.plan().size)
        if whole.frames is not None:
            of_whole = _time(whole, min(LONG, max(SHORT, of_cut.seconds / 2)))
            each = of_whole.per_frame or larger * (of_cut.per_frame or of_cut.before_first)
            left = started + of_cut.before_first + each * whole.frames
            show_note(f"the whole at {long} px will take {shown_seconds(left)}")


def _time(job: FilmJob, most: float) -> FrameTimes:
    """When the first frames are painted, within about so many seconds; nothing is kept of them."""
    from impasto.video.frame_times import FrameTimes

    times = FrameTimes()
    with bar() as show, closing(job.run()) as records:
        for _ in records:
            times.see(job.painted)
            show(job.painted, None, "timing")
            if times.enough or times.seconds > most:
                break
    return times


def _carry_out(job: FilmJob) -> FrameTimes:
    from impasto.video.frame_times import FrameTimes

    times, told = FrameTimes(), set[str]()

    def tell(note: str | None) -> None:
        if note and note not in told:
            told.add(note)
            show_note(note)

    for note in job.notes:
        tell(note)
    try:
        with bar() as show, closing(job.run()) as records:
            for record in records:
                tell(record.note)
                times.see(job.painted)
                height, width = record.size or job.facts.size
                show(record.done, record.total, f"{record.phase} {width}x{height}", _rate_of(job, times))
    except KeyboardInterrupt:
        show_note(_stopped(job))
        raise
    for note in job.notes:
        tell(note)
    shown = job.output.shown if job.output else ""
    show_note(", ".join(filter(None, (f"{shown}: {job.summary()}", _rate_of(job, times)))))
    return times


def _rate_of(job: FilmJob, times: FrameTimes) -> str:
    """How fast frames were painted by this process, if any were."""
    painted = job.painted - job.found
    return f"{painted / max(times.seconds, 1e-9):.1f} frames/s" if painted else ""


def _stopped(job: FilmJob) -> str:
    """What Ctrl-C has left."""
    painted = f"stopped after {counted(job.painted, 'frame')}"
    if job.options.run is None:
        return f"{painted}; nothing was written"
    if not job.painted:
        return "stopped before the first frame"
    if not job.finished:
        return f"{painted}, of which none is kept: the first two seconds were not finished"
    return f"{painted}, of which {job.finished} are kept; add --resume to go on"
