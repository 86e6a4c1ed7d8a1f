"""``impasto stylize``: the command line of a request. Options of painting are those of `StylizeRequest`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from impasto.cli.options import command_of, flags, given_on, option_parameters
from impasto.errors import OptionError
from impasto.stylizer.request import OutputOptions, StylizeRequest

if TYPE_CHECKING:
    from impasto.stylizer.engine import Engine
    from impasto.stylizer.job import Output

__all__ = ["stylize"]


def _option(kind: Any, name: str, help: str, panel: str = "Files and runs", **more: Any) -> Any:  # noqa: A002
    return Annotated[kind, typer.Option(*flags(name), help=help, rich_help_panel=panel, show_default=False, **more)]


_photo = typer.Argument(
    metavar="PHOTO...",
    help="The photo; - reads standard input. Also several, folders, and patterns such as '*.jpg'.",
    show_default=False,
)
FILES: dict[str, Any] = {
    "output": _option(
        str | None,
        "output",
        "Where the painting goes: .jpg, .png, .webp, .tif, .avif; - is standard output, as PNG. For several photos a "
        "folder.",
        "Pictures",
        metavar="FILE|DIR",
    ),
    "jobs": _option(
        int | None, "jobs", "How many photos at the same time, 1 if not said.", "How it moves", metavar="N", min=1
    ),
    "dry_run": _option(bool | None, "dry_run", "Tell how it would be painted, and stop.", "How it moves"),
    "force": _option(bool | None, "force", "Replace files that exist, but never an input."),
    "recipe": _option(
        Path | None,
        "recipe",
        "Paint as this painted picture, or a recipe's JSON, tells; options given beside it win.",
        metavar="PICTURE",
    ),
    "no_recipe": _option(bool | None, "no_recipe", "Leave out of the output how it was made."),
    "save_every": _option(
        int | None,
        "save_every",
        "Keep the picture of every N-th step, beside the output or in the folder of --run.",
        metavar="N",
        min=1,
    ),
    "timeline": _option(Path | None, "timeline", "A film of the picture being painted.", metavar="GIF"),
    "loss_plot": _option(Path | None, "loss_plot", "The losses over the steps, drawn.", metavar="PNG"),
    "log": _option(Path | None, "log", "The losses over the steps, as a table.", metavar="CSV"),
    "run": _option(
        Path | None,
        "run",
        "Keep frames, log and state, or a network's strips, in this folder, so that the run can be resumed.",
        metavar="DIR",
    ),
    "resume": _option(Path | None, "resume", "Go on with the run in this folder; takes no PHOTO.", metavar="DIR"),
}
NOT_FOR_MANY = ("save_every", "timeline", "loss_plot", "log", "run", "resume", "dry_run")  # they are about one painting
WITH_RESUME = ("resume", "output", "timeline", "loss_plot", "log", "force")  # the run knows all the rest
RECORDS = ("timeline", "loss_plot", "log", "save_every")


@command_of(
    {"photo": Annotated[list[str] | None, _photo]} | option_parameters(StylizeRequest) | FILES
    | option_parameters(OutputOptions)
)  # fmt: skip
def stylize(ctx: typer.Context, **_options: Any) -> None:
    """Repaint PHOTO in the manner of one or several --style names or pictures.

    Ctrl-C keeps the picture so far.
    """
    # Here, because torch takes a second that --help does not have.
    from impasto.batch import is_many
    from impasto.cli.painting import paint_one, resume_one, show_plan
    from impasto.stylizer.engine import Engine
    from impasto.stylizer.recorder import Records

    given = given_on(ctx)
    records = Records(**{name: given.get(name) for name in RECORDS})
    if "resume" in given:
        _only(given, WITH_RESUME, "`resume` goes on as the run began")
        resume_one(Engine(), given["resume"], given.get("output"), records, force=given.get("force", False))
        return
    photos, output = given.get("photo"), given.get("output")
    named = "style" in given or "model" in given or "recipe" in given
    if not photos or not named:
        raise OptionError("a photo and at least one style are needed: impasto stylize PHOTO --style PICTURE -o FILE")
    if output is None:
        if not given.get("dry_run"):
            raise OptionError("where should the painting go? add -o FILE, or -o - for standard output")
        output = "-"
    request = _request(given)
    engine = Engine(max_memory=request.max_memory, at_once=given.get("jobs", 2))
    if is_many(photos):
        _not(given, NOT_FOR_MANY, "is about one painting, and there are several photos")
        _paint_many(engine, photos, output, request, given)
        return
    place = partial(_output, given)
    if given.get("dry_run"):
        show_plan(engine, photos[0], request, place(output), given.get("run"), records)
    else:
        paint_one(engine, photos[0], request, place(output), given.get("run"), records)


def _request(given: dict[str, Any]) -> StylizeRequest:
    """The request that is on the command line, over that of a recipe."""
    options = {name: value for name, value in given.items() if name in StylizeRequest.model_fields}
    if "recipe" not in given:
        return StylizeRequest.of(**options)
    from impasto.stylizer.recipe import read_recipe

    roles = ("style", "mask", "init", "model", "backbone")
    by_role: dict[str, Any] = {name: options.pop(name) for name in roles if name in options}
    return read_recipe(given["recipe"]).to_request(by_role, **options)


def _output(given: dict[str, Any], path: str) -> Output:
    from impasto.stylizer.job import Output

    options = {name: value for name, value in given.items() if name in OutputOptions.model_fields}
    return Output(
        path,
        OutputOptions.of(**options),
        force=given.get("force", False),
        recipe=not given.get("no_recipe", False),
    )


def _paint_many(engine: Engine, photos: list[str], folder: str, request: StylizeRequest, given: dict[str, Any]) -> None:
    from impasto.cli.many import paint_many
    from impasto.cli.painting import paint_quietly

    def paint(work: Any) -> str:
        return paint_quietly(engine, work.photo, request, _output(given, work.output))

    paint_many(photos, folder, paint, given.get("jobs", 1))


def _only(given: dict[str, Any], allowed: tuple[str, ...], why: str) -> None:
    """OptionError for an option that would be ignored."""
    for name in given:
        if name not in allowed:
            raise OptionError(f"{why}: leave out {'PHOTO' if name == 'photo' else f'`{name}`'}")


def _not(given: dict[str, Any], refused: tuple[str, ...], why: str) -> None:
    for name in given:
        if name in refused:
            raise OptionError(f"`{name}` {why}: leave it out")
