"""The form of ``POST /v1/stylize``: the fields of `StylizeRequest` and `OutputOptions`, and few of its own."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, get_args

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from impasto.core.backbones import BACKBONES
from impasto.errors import OptionError, OutputError, counted, nearest
from impasto.imaging.formats import FORMATS, find_format
from impasto.networks.shipped import shipped_models
from impasto.studio.limits import Limits
from impasto.studio.problems import ProblemError
from impasto.stylizer.options import Option
from impasto.stylizer.request import OutputOptions, StylizeRequest
from impasto.stylizer.styles import Style, parse_style
from impasto.stylizer.values import UnfitError, meant
from impasto.types import Init

__all__ = ["FIELDS", "OWN", "Form", "read_form", "schema", "understood"]

PICTURES: Final = ("photo", "style", "mask", "init")  # fields that take files
SEVERAL: Final = ("style", "mask", "weight")
JSON: Final = ("settings",)
GIVEN_OR_NOT: Final = ("keep_colors", "engine", "jpeg_quality", "png_compression")
"""Options whose default, sent, is refused beside some others, so that no client should fill it in."""
TEXT_LIMIT: Final = 64 * 1024  # bytes of a field that is no file
LONGEST: Final = 60  # letters of a file's name that a message has
PARTS: Final = 64  # files, and as many other fields
LINGER: Final = 2.0  # seconds in which the rest of a refused request is taken, so that its sender hears why

# What is wrong with a form is told to who sent it, not to who looks at the server.
logging.getLogger("python_multipart").addHandler(logging.NullHandler())

OWN: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "photo": {"type": "string", "format": "binary", "description": "The photo to be painted, a file."},
        "weight": {
            "type": "array",
            "items": {"type": "number", "exclusiveMinimum": 0},
            "maxItems": PARTS,
            "description": "Of each style, in their order, when they are mixed; all weigh the same if not given.",
        },
        "format": {
            "type": "string",
            "enum": [*FORMATS],
            "default": "png",
            "description": "In which the painting is sent; suffixes such as jpg are understood as well.",
        },
        "recipe": {
            "type": "boolean",
            "default": True,
            "description": "Whether the painting carries how it was made.",
        },
    }
)
"""Fields that only the form has."""

FIELDS: Final = (*OWN, *StylizeRequest.options, *OutputOptions.options)
"""All names that the form may have."""


@dataclass(frozen=True)
class Form:
    """What a form says: arguments of `Service.submit`."""

    names: Mapping[str, str]
    photo: Path
    request: StylizeRequest
    options: OutputOptions
    format: str
    recipe: bool


async def read_form(request: Request, limits: Limits) -> FormData:
    """A request's form, within the limits; to be closed.

    Raises:
        ProblemError: too large, too slow, or not a form.
        ClientDisconnect: the client is gone.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = _Body(request, limits)
    try:
        if kind != "multipart/form-data":
            raise ProblemError("media-type", f"the request is {kind or 'of no type'}, need multipart/form-data")
        parser = _Parser(request.headers, body.chunks(), max_files=PARTS, max_fields=PARTS, max_part_size=TEXT_LIMIT)
        try:
            form = await parser.parse()
        except MultiPartException as error:
            raise ProblemError("malformed", f"the form cannot be read: {error.message}") from error
        if not parser.complete:
            raise ProblemError("malformed", "the form ends in the middle: send it whole, with its last boundary")
    except ProblemError:
        await body.linger()
        raise
    return form


class _Body:
    """A request's body, within the limits."""

    def __init__(self, request: Request, limits: Limits) -> None:
        self._request, self._limits = request, limits
        self._chunks = request.stream()
        self._by = time.monotonic() + limits.upload_seconds

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The body, piece by piece."""
        length, most, taken = self._request.headers.get("content-length", ""), self._limits.upload_bytes, 0
        if length.isdecimal() and int(length) > most:
            raise self._too_large()
        while True:
            try:
                chunk = await asyncio.wait_for(anext(self._chunks), self._by - time.monotonic())
            except StopAsyncIteration:
                return
            except TimeoutError:
                raise ProblemError(
                    "too-slow", f"not all of it came within {self._limits.upload_seconds:g} s: send smaller pictures"
                ) from None
            taken += len(chunk)
            if taken > most:
                raise self._too_large()
            yield chunk

    def _too_large(self) -> ProblemError:
        return ProblemError(
            "too-large", f"a request may have {self._limits.upload} in all: send smaller pictures, or compressed ones"
        )

    async def linger(self) -> None:
        """Take what is still coming, for a short while: who is still sending hears of no answer."""
        try:
            async with asyncio.timeout(LINGER):
                async for _ in self._chunks:
                    pass
        except (TimeoutError, ClientDisconnect, RuntimeError):
            return


class _Parser(MultiPartParser):
    """A parser that knows whether it has seen the end."""

    complete = False

    def on_end(self) -> None:
        """The last boundary was there."""
        self.complete = True


def understood(form: FormData, folder: Path) -> Form:
    """What the fields mean, OptionError if they make no sense; pictures are written into the folder."""
    given = _given(form)
    names = _names(given)
    for name in PICTURES:
        given[name] = [_kept(value, folder, f"{name}-{i}") for i, value in enumerate(given.get(name, ()), 1)]
    photos, styles, weights = given.pop("photo"), given.pop("style"), given.pop("weight", [])
    if not photos or not isinstance(photos[0], Path):
        raise OptionError("`photo` is missing: send a picture's file by that name", "photo")
    values: dict[str, Any] = {
        name: values if name in SEVERAL else values[0] for name, values in given.items() if values
    }
    values["style"] = _weighed(styles, weights)
    for name in JSON:
        if name in values:
            values[name] = _json(name, values[name])
    own = {name: values.pop(name) for name in OWN if name in values}
    options = {name: values.pop(name) for name in OutputOptions.options if name in values}
    return Form(
        names,
        photos[0],
        StylizeRequest.of(**values),
        OutputOptions.of(**options),
        _format(own.get("format", "png")),
        _bool("recipe", own.get("recipe", "true")),
    )


def _given(form: FormData) -> dict[str, list[Any]]:
    """The values of each field, which are texts or uploaded files."""
    given: dict[str, list[Any]] = {}
    for name, value in form.multi_items():
        if name not in FIELDS:
            raise OptionError(f"`{name}` is no field of the form{nearest(name, FIELDS)}", name)
        if value != "" or name == "photo":  # a field that is left empty is not given
            given.setdefault(name, []).append(value)
    for name, values in given.items():
        if len(values) > 1 and name not in SEVERAL:
            raise OptionError(f"`{name}` is given {len(values)} times, need one", name)
        if name not in PICTURES and any(isinstance(value, UploadFile) for value in values):
            raise OptionError(f"`{name}` is a file, need a text", name)
    return given


def _names(given: Mapping[str, list[Any]]) -> dict[str, str]:
    """What messages call the files, by their names here: as the client does, or else by the field."""
    return {
        f"{field}-{i}": _as_called(value) or (f"{field} {i}" if len(given[field]) > 1 else field)
        for field in PICTURES
        for i, value in enumerate(given.get(field, ()), 1)
        if isinstance(value, UploadFile)
    }


def _as_called(file: UploadFile) -> str:
    """What the client calls a file, without folders, in letters that can be shown; empty where that is nothing."""
    name = (file.filename or "").replace("\\", "/").rpartition("/")[2]
    name = "".join(letter for letter in name if letter.isprintable()).strip(" .")
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 12]}…{name[-11:]}"


def _kept(value: Any, folder: Path, name: str) -> Any:
    """An uploaded file's path, which has none of what the client called it; a text stays what it is."""
    if not isinstance(value, UploadFile):
        return value
    path = folder / name
    with path.open("wb") as file:
        while chunk := value.file.read(1 << 20):
            file.write(chunk)
    return path


def _weighed(styles: list[Any], weights: list[str]) -> list[Style] | None:
    if weights and len(weights) != len(styles):
        found = f"{counted(len(styles), 'style')} with {counted(len(weights), 'weight')}"
        raise OptionError(f"{found}: give as many, or none", "weight")
    twice = next((text for text in styles if weights and isinstance(text, str) and parse_style(text)[0] != text), None)
    if twice is not None:
        raise OptionError(f"`weight` is given beside the style {twice!r}, which has its own: leave one out", "weight")
    rows = [Style(*parse_style(style)) if isinstance(style, str) else Style(style) for style in styles]
    try:
        numbers = [float(weight) for weight in weights]
    except ValueError:
        numbers = [math.nan]
    if not all(0 < number < math.inf for number in numbers):
        raise OptionError(f"`weight` is {', '.join(weights)}, need a number above 0 for each style", "weight")
    return [Style(row.image, weight) for row, weight in zip(rows, numbers, strict=True)] if numbers else rows or None


def _json(name: str, text: str) -> Any:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise OptionError(f'`{name}` is no JSON object: write it as {{"NAME": VALUE}}', name)
    return found


def _format(text: str) -> str:
    """The format's own name for one of its suffixes, such as ``jpg``; what is unknown stays as it is, to be refused."""
    try:
        return find_format("", text)
    except OutputError:
        return text


def _bool(name: str, text: str) -> bool:
    try:
        return bool(meant(text, (bool,)))
    except UnfitError:
        raise OptionError(f"`{name}` is {text!r}, need true or false", name) from None


# -- the form in the OpenAPI document ---------------------------------------------------------------------------


def schema(limits: Limits, styles: list[str]) -> dict[str, Any]:
    """JSON Schema of the form: every field with its description, range and default, and the limits of this server."""
    properties: dict[str, Any] = {}
    for name, option in {**StylizeRequest.options, **OutputOptions.options}.items():
        found = _field_schema(name, option, styles)
        found["description"] = f"{option.help} Obeyed by: {' and '.join(option.obeyed_by)}."
        if isinstance(option.default, bool | int | float | str):
            default = str(option.default).lower() if name == "keep_colors" else option.default
            if name in GIVEN_OR_NOT:
                found["description"] += f" {default} if not given."
            else:
                found["default"] = default
        properties[name] = found
    properties["max_megapixels"] |= {"maximum": limits.megapixels, "default": limits.megapixels}
    properties["steps"]["maximum"] = limits.steps
    return {"type": "object", "required": ["photo"], "properties": {**OWN, **properties}, "additionalProperties": False}


_TYPES: Final = MappingProxyType({bool: "boolean", int: "integer", float: "number", str: "string"})
_LIMITS: Final = MappingProxyType(
    {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
)


def _field_schema(name: str, option: Option, styles: list[str]) -> dict[str, Any]:
    """The type of a field as a form can carry it."""
    file = {"type": "string", "format": "binary"}
    special: dict[str, Any] = {
        "style": {
            "type": "array",
            "items": {"anyOf": [{"type": "string", "enum": styles}, file]},
            "maxItems": PARTS,
        },
        "mask": {"type": "array", "items": file, "maxItems": PARTS},
        "init": {"anyOf": [{"type": "string", "enum": [*get_args(Init)]}, file]},
        "model": {"type": "string", "enum": [*shipped_models()]},
        "backbone": {"type": "string", "enum": [*BACKBONES]},
        "settings": {"type": "string", "contentMediaType": "application/json"},
        "content_layers": {"type": "string"},
        "style_layers": {"type": "string"},
        "max_memory": {"type": "string", "examples": ["2GB"]},  # a form has no numbers, and texts need their unit
        "keep_colors": {"type": "string", "enum": ["true", "false", "luminance", "histogram"]},
    }
    if name in special:
        found: dict[str, Any] = special[name]
        return found
    if option.choices:
        return {"type": "string", "enum": [*option.choices]}
    limits = {_LIMITS[word]: limit for word, limit in option.limits.items()}
    kinds = [{"type": _TYPES[kind], **limits} for kind in option.kinds]
    return kinds[0] if len(kinds) == 1 else {"anyOf": kinds}
