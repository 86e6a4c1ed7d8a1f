"""``impasto stylize``: the command line of a request. Options of painting are those of `StylizeRequest`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from impasto.cli.options import command_of, flags, given_on, option_parameters
from impasto.errors import OptionError
from impasto.stylizer.request import OutputOptions, StylizeRequest

if TYPE_CHECKING:
    from impasto.cli.painting import Painter
    from impasto.stylizer.recorder import Records

__all__ = ["stylize"]


# Name, type, value in help, panel, help; what is about painting itself is described in `StylizeRequest`.
_FILES: tuple[tuple[str, Any, str | None, str, str], ...] = (
    ("output", str | None, "FILE|DIR", "Pictures",
     "Where the painting goes: .jpg, .png, .webp, .tif, .avif; - is standard output, as PNG. For several photos a "
     "folder."),
    ("jobs", int | None, "N", "How it moves", "How many photos at the same time, 1 if not said."),
    ("dry_run", bool, None, "How it moves", "Tell how it would be painted, and stop."),
    ("force", bool, None, "Files and runs", "Replace files that exist, but never an input."),
    ("recipe", Path | None, "PICTURE", "Files and runs",
     "Paint as this painted picture, or a recipe's JSON, tells; options given beside it win."),
    ("no_recipe", bool, None, "Files and runs", "Leave out of the output how it was made."),
    ("save_every", int | None, "N", "Files and runs",
     "Keep the picture of every N-th step, beside the output or in the folder of --run."),
    ("timeline", Path | None, "GIF", "Files and runs", "A film of the picture being painted."),
    ("loss_plot", Path | None, "PNG", "Files and runs", "The losses over the steps, drawn."),
    ("log", Path | None, "CSV", "Files and runs", "The losses over the steps, as a table."),
    ("run", Path | None, "DIR", "Files and runs",
     "Keep frames, log and state, or a network's strips, in this folder, so that the run can be resumed."),
    ("resume", Path | None, "DIR", "Files and runs", "Go on with the run in this folder; takes no PHOTO."),
)  # fmt: skip
FILES = {
    name: (
        Annotated[
            kind,
            typer.Option(
                *flags(name), help=text, metavar=metavar, rich_help_panel=panel, min=1 if metavar == "N" else None
            ),
        ],
        False if kind is bool else None,
    )
    for name, kind, metavar, panel, text in _FILES
}
_photo = typer.Argument(
    metavar="PHOTO...", help="The photo; - reads standard input. Also several, folders, and patterns such as '*.jpg'."
)
NOT_FOR_MANY = ("save_every", "timeline", "loss_plot", "log", "run", "resume", "dry_run")  # they are about one painting
WITH_RESUME = ("resume", "output", "timeline", "loss_plot", "log", "force")  # the run knows all the rest
ROLES = ("style", "mask", "init", "model", "backbone")  # what a recipe knows by name alone
NOWHERE = "impasto-dry-run.tif"  # stands for any output where there is none to be
RECORDS = ("timeline", "loss_plot", "log", "save_every")


@command_of(
    {
        "photo": (Annotated[list[str] | None, _photo], None),
        **option_parameters(StylizeRequest),
        **FILES,
        **option_parameters(OutputOptions),
    }
)
def stylize(ctx: typer.Context, **_options: Any) -> None:
    """Repaint PHOTO in the manner of one or several --style names or pictures.

    Ctrl-C keeps the picture so far.
    """
    # Here, because torch takes a second that --help does not have.
    from impasto.cli.painting import resume_one
    from impasto.stylizer.engine import Engine
    from impasto.stylizer.recorder import Records

    given = given_on(ctx)
    records = Records(**{name: given.get(name) for name in RECORDS})
    if "resume" in given:
        _refuse(given, {*given} - {*WITH_RESUME}, "`resume` goes on as the run began")
        resume_one(Engine(), given["resume"], given.get("output"), records, force=given.get("force", False))
        return
    photos, output = given.get("photo"), given.get("output")
    has_style = bool({"style", "model", "recipe"} & given.keys())
    if not photos or not has_style:
        needed = "at least one style is needed" if photos else "a photo is needed"
        if not photos and not has_style:
            needed = "a photo and at least one style are needed"
        raise OptionError(f"{needed}: impasto stylize PHOTO --style PICTURE -o FILE")
    if not output and not given.get("dry_run"):
        from impasto.batch import is_many

        if is_many(photos):
            raise OptionError("where should the paintings go? add -o FOLDER, such as -o painted/")
        raise OptionError("where should the painting go? add -o FILE, or -o - for standard output")
    painter = _painter(given)
    try:
        _paint(painter, given, photos, output, records)
    except OptionError as error:
        if painter.recipe is None or error.option in given or error.option not in painter.recipe.request:
            raise
        raise OptionError(f"{error}; it is the recipe that says `{error.option}`", error.option) from error


def _paint(painter: Painter, given: dict[str, Any], photos: list[str], output: str | None, records: Records) -> None:
    from impasto.batch import gather, is_folder, is_many

    place = output or NOWHERE
    if output and not is_many(photos) and is_folder(output):
        if photos == ["-"]:
            raise OptionError(f"{output} is a folder, and standard input has no name: give `output` a file name")
        is_made = Path(output).exists() or not given.get("dry_run")  # a folder is not made for nothing
        place = gather(photos, output)[0].output if is_made else NOWHERE
    if is_many(photos):
        _refuse(given, NOT_FOR_MANY, "there are several photos, and this is about one painting")
        painter.many(photos, place, given.get("jobs", 1))
    elif given.get("dry_run"):
        if place == NOWHERE:  # whose format nobody asked for
            painter.options = OutputOptions.of()
        painter.plan(photos[0], place, given.get("run"), records)
    else:
        painter.one(photos[0], place, given.get("run"), records)


def _painter(given: dict[str, Any]) -> Painter:
    from impasto.cli.painting import Painter
    from impasto.stylizer.engine import Engine
    from impasto.stylizer.recipe import read_recipe

    def among(kind: type[StylizeRequest | OutputOptions]) -> dict[str, Any]:
        return {name: value for name, value in given.items() if name in kind.options}

    recipe, asked = None, among(StylizeRequest)
    if "recipe" not in given:
        request = StylizeRequest.of(**asked)
    else:
        recipe = read_recipe(given["recipe"])
        by_role = {name: asked.pop(name) for name in ROLES if name in asked}
        request = recipe.to_request(by_role, **asked)
    return Painter(
        engine=Engine(max_memory=request.max_memory, at_once=max(2, given.get("jobs", 1))),
        request=request,
        options=OutputOptions.of(**among(OutputOptions)),
        force=given.get("force", False),
        carries_recipe=not given.get("no_recipe", False),
        recipe=recipe,
    )


def _refuse(given: dict[str, Any], refused: set[str] | tuple[str, ...], why: str) -> None:
    """OptionError for an option that would be ignored."""
    for name in given:
        if name in refused:
            raise OptionError(f"{why}: leave out `{name}`")
