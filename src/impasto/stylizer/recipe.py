"""How a picture was made, carried by the picture itself, and painting it again from that.

A recipe is JSON without a path, a host or a user: the request, names and SHA-256 of what was used, and the versions
of what computed it. `imaging.embedded` puts it into a file and finds it there.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, get_args

import numpy as np
import PIL

from impasto.core.backbones import BACKBONES
from impasto.core.machine import processor
from impasto.errors import DataError, ImageError, OptionError, check_kind
from impasto.files import at_home, sha256, shown
from impasto.imaging import Picture, as_picture
from impasto.imaging.embedded import read_recipe as embedded_recipe
from impasto.imaging.opening import FilmInsteadError
from impasto.networks.shipped import MODELS
from impasto.stylizer.choice import has_torch
from impasto.stylizer.request import StylizeRequest
from impasto.stylizer.route import named_in_gallery
from impasto.stylizer.sentences import reason_of
from impasto.stylizer.styles import Style, as_styles
from impasto.types import Init

if TYPE_CHECKING:
    from impasto.stylizer.job import Job

__all__ = ["PRESETS", "Recipe", "read_recipe", "recipe_of"]

FORMAT: Final = 1
ROLES: Final = ("style", "mask", "init", "model", "backbone")
REPLACED: Final = MappingProxyType(
    {"preset": ("quality",), "quality": ("preset",), "keep_colors": ("colors_by",), "model": ("quality",)}
)
"""Options of a recipe that go where another is given beside it."""
BEFORE_CHOICES: Final = MappingProxyType({"engine": "torch", "style_scale": 1.0, "ground": 0.0})
"""What a network's pictures were made with before there was something else; recipes have said it since."""
PRESETS: Final = {"presets": "4"}
"""Of recipes of optimisations: 2 since `quick` and `good` begin with a draft, 3 since `balanced` is painted over and
`best` is a preset of ours, 4 since two networks see in turns in all but `best`."""
NOT_OURS: Final = ("max_memory", "max_megapixels")  # say nothing of the picture


@dataclass(frozen=True)
class Recipe:
    """How a picture was made.

    Attributes:
        request: the fields of `StylizeRequest` that were given, pictures and files by their names alone.
        used: SHA-256 of everything that was used, by its role: ``style 1``, ``mask 1``, ``init``, ``model``,
            ``backbone``, ``photo``.
        made_by: versions, and the machine's way of computing.
        film: of films: which part, how steady, and options that change over time, see `FilmOptions.described`.
    """

    request: Mapping[str, Any]
    used: Mapping[str, str]
    made_by: Mapping[str, str]
    film: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """In types that JSON has, with the version of the format."""
        found = {"impasto": FORMAT, "request": self.request, "used": self.used, "made_by": self.made_by}
        return found | {"film": self.film} if self.film else found

    def to_text(self) -> str:
        """As JSON, which a file can carry."""
        return json.dumps(self.to_json(), ensure_ascii=False, separators=(",", ":"))

    def describe(self) -> Iterator[tuple[str, str]]:
        """For people: names and values of what was asked for, of what was used, and of what computed it."""
        used, changed = dict(self.used), self._over_time
        for name, value in self.request.items():
            if name in changed and name != "style":
                yield name, changed[name]
                continue
            for number, row in enumerate(value if isinstance(value, list) else [value], 1):
                role = f"{name} {number}" if f"{name} {number}" in used else name
                said = f"{row['style']}, weight {row['weight']:g}" if name == "style" else _said(row)
                digest = used.pop(role, None)
                yield role, f"{said} (SHA-256 {digest or 'not known'})" if digest is not None else said
        for role, digest in used.items():
            yield role, f"SHA-256 {digest or 'not known'}"
        if "style" in changed:
            yield "style", changed["style"]
        for name, value in self.film.items():
            if name not in ("style_times", *changed):
                yield f"film {name}", f"{_said(value)}{' s' if name in ('begin', 'end') else ''}"
        yield from self.made_by.items()

    @classmethod
    def from_text(cls, text: str, where: str) -> Recipe:
        """The recipe that `to_text` wrote; DataError for a damaged one, or one of a later version."""
        try:
            found = json.loads(text)
            if not isinstance(found, dict):
                raise TypeError("it is no object")
            if found["impasto"] != FORMAT:
                raise DataError(f"{where}: its recipe is of format {found['impasto']!r}, this version reads {FORMAT}")
            parts = [dict(found[name]) for name in ("request", "used", "made_by")]
            parts[-1] = {name: str(value) for name, value in parts[-1].items()}  # by hand one writes numbers
            parts.append(dict(found.get("film", {})))
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{where}: the recipe is damaged ({reason_of(error)}); it cannot be used") from error
        return cls(*parts)

    def to_request(self, pictures: Mapping[str, Any] | None = None, **changes: Any) -> StylizeRequest:
        """The request that the recipe tells.

        Args:
            pictures: files or pictures by their role: `style`, `mask` (lists), `init`, `model`, `backbone`. They stand
                for what the recipe knows by name and hash alone, found by their hash, else by their place; where they
                are not as many, or the recipe has a name that is here, they win as options do.
            **changes: options that win over the recipe's.

        Raises:
            OptionError: something that is not at hand, told by its name and hash, or a request that makes no sense.
            DataError: the recipe is damaged.
        """
        given = {name: value for name, value in (pictures or {}).items() if value is not None}
        values, changes = self._asked_for, {name: value for name, value in changes.items() if value is not None}
        for name in changes:
            for other in REPLACED.get(name, ()):
                values.pop(other, None)
        self._fill(values, "style", given, changes)
        network, optimises = _asks_network({**values, **given, **changes}, {*given, *changes}), _optimises(changes)
        if network != optimises:  # else both are asked for, or neither: the recipe's own way
            values = {name: value for name, value in values.items() if name in given or _fits(name, value, network)}
        for role in ROLES[1:]:
            self._fill(values, role, given, changes)
        if self._by_network and not optimises:
            values["engine"] = values["engine"] if has_torch() else "auto"  # where torch is not here, another has to do
        else:
            values.pop("engine", None)
        if (network or self._by_network) and not (values | changes).get("size"):
            values.pop("upscale", None)  # recipes have had it for nothing
        return StylizeRequest.of(**{**values, **changes})

    def _fill(self, values: dict[str, Any], role: str, given: Mapping[str, Any], changes: Mapping[str, Any]) -> None:
        """Put what is used in this role among the values of a request; errors as of `to_request`."""
        if role in changes or (role not in values and role not in given):
            return
        try:
            values[role] = self._for_role(role, given.get(role))
        except (TypeError, KeyError, AttributeError) as error:
            reason = reason_of(error)
            raise DataError(f"the recipe's {role} is damaged ({reason}); give another as `{role}`") from error

    def differences(self, job: Job) -> tuple[str, ...]:
        """What is not as it was when the picture was made, a sentence each; empty where the same picture comes."""
        now, told = job.recipe, []
        if now.used["photo"] != self.used.get("photo"):
            told.append("the photo is another")
        for role, what in (("model", "the network"), ("backbone", "the backbone")):
            if role in self.used and role in now.used and self.used[role] != now.used[role]:
                told.append(f"{what} is another")
        for name, before in self.made_by.items():
            if name in PRESETS and self._presets <= int(PRESETS[name]):
                continue  # they paint as they did then
            if (found := now.made_by.get(name, "not used")) != before:
                told.append(f"{name} is {found}, and was {before}")
        for name, said in self._over_time.items():
            here = "" if name == "style" else f"is {_said(now.request.get(name, 'not given'))}, and "
            told.append(f"`{name}` {here}changed over time in the film ({said})")
        return (*told, *self._changed_options(now))

    def _changed_options(self, now: Recipe) -> Iterator[str]:
        """A sentence for each option that has another value; pictures are told apart by their hash, not their name."""
        for name, option in StylizeRequest.options.items():
            if name in NOT_OURS or name in ("model", "backbone") or (name in self._over_time and name != "style"):
                continue
            before, found = (recipe._asked_for.get(name, _plain_value(option.default)) for recipe in (self, now))
            if name in ("style", "mask", "init"):
                if self._identified(name, before) != now._identified(name, found):
                    yield f"`{name}` is another"
            elif before != found:
                yield f"`{name}` {_compared(found, before)}"

    @property
    def _over_time(self) -> dict[str, str]:
        """Options that change over time in a film, and what they are when, in words."""
        found: dict[str, str] = {}
        for name in ("style", "strength", "style_scale"):
            rows = self.film.get("style_times" if name == "style" else name)
            if not rows:
                continue
            try:
                if name == "style":
                    found[name] = f"one after the other at {', '.join(f'{time:g} s' for time in rows)}"
                else:
                    found[name] = ", ".join(f"{value:g} at {time:g} s" for value, time in rows)
            except (TypeError, ValueError):  # damaged
                found[name] = _said(rows)
        return found

    @property
    def _by_network(self) -> bool:
        return "model" in self.used and "backbone" not in self.used

    @property
    def _presets(self) -> int:
        """The number of `PRESETS` that it was made by."""
        told = self.made_by.get("presets", "1")
        return int(told) if told.isdecimal() else int(PRESETS["presets"])

    @property
    def _asked_for(self) -> dict[str, Any]:
        """The request, with what went without saying when the picture was made."""
        if self._by_network:
            return {**BEFORE_CHOICES, **self.request}
        asked = dict(self.request)
        if "backbone" in self.used and self._presets < int(PRESETS["presets"]):
            from impasto.optimize.presets import DEFAULT_PRESET, earlier

            name = asked.pop("quality", asked.get("preset", DEFAULT_PRESET))
            asked["preset"] = earlier(name, self._presets)
        return asked

    def _identified(self, role: str, value: Any) -> Any:
        """The value with hashes in place of names."""
        if role == "init":
            return self.used.get(role, value)
        if role == "mask":
            return [self.used.get(f"mask {i}", name) for i, name in enumerate(value or (), 1)]
        return [(self.used.get(f"style {i}", row["style"]), row["weight"]) for i, row in enumerate(value or (), 1)]

    def _for_role(self, role: str, given: Any) -> Any:
        """What the request has in this role, with what was given in place of what the recipe knows by name alone."""
        value = self.request.get(role)
        rows = list(as_styles(given)) if role == "style" and given is not None else _listed(given)
        if role == "style":
            names = {i: row["style"] for i, row in enumerate(value or (), 1) if f"style {i}" in self.used}
        elif role == "mask":
            names = dict(enumerate(value or (), 1))
        else:
            names = {0: value} if role in self.used and _is_foreign(role, str(value)) else {}
        if rows and len(rows) != len(names):
            return given
        found = self._found(role, names, rows)
        if role == "style":
            return [
                Style(getattr(found[i], "image", found[i]) if i in found else row["style"], row["weight"])
                for i, row in enumerate(value or (), 1)
            ]
        return [found[i] for i in names] if role == "mask" else found.get(0, value)

    def _found(self, role: str, names: Mapping[int, str], given: Sequence[Any]) -> dict[int, Any]:
        """Pictures for these names: that of the same hash, else that in the same place."""
        digests = {i: self.used.get(f"{role} {i}" if i else role, "") for i in names}
        left = [(_hash(picture), picture) for picture in given]
        found: dict[int, Any] = {}
        for i, digest in digests.items():
            match = next((row for row in left if row[0] == digest), None)
            if match is not None:
                left.remove(match)
                found[i] = match[1]
        for i, name in names.items():
            if i in found:
                continue
            if not left:
                known = f" (SHA-256 {digests[i]})" if digests[i] else ""
                raise OptionError(f"the recipe needs the {role} {name!r}{known}: give its file as `{role}`", role)
            found[i] = left.pop(0)[1]
        return found


def read_recipe(path: str | os.PathLike[str]) -> Recipe:
    """The recipe that a painted picture carries, or that a JSON file is.

    Raises:
        DataError: there is none, or it is damaged.
        ImageError: the file cannot be read.
    """
    check_kind("path", path, (str, os.PathLike), "a painted picture, or a recipe in JSON")
    if Path(path).suffix.lower() == ".json":
        try:
            return Recipe.from_text(Path(path).read_text("utf-8"), str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path}: cannot be read ({error}); check the name") from error
    try:
        text = embedded_recipe(path)
    except FilmInsteadError as error:
        way = "`impasto recipe FILM --json > r.json` writes its recipe down: give r.json"
        raise ImageError(f"{shown(path)}: is a film, need a picture or a recipe's JSON: {way}") from error
    if text is None:
        raise DataError(f"{path}: carries no recipe; it was painted by another program, or without one")
    return Recipe.from_text(text, str(path))


def recipe_of(job: Job) -> Recipe:
    """The recipe of what a job paints."""
    request, used = _by_name(job.request)
    if job.computes_in is not None:
        request["engine"] = job.computes_in
        request.setdefault("style_scale", job.usual_scale)
        request.setdefault("ground", getattr(job, "ground", 0.0))
    order = {name: number for number, name in enumerate(StylizeRequest.options)}
    request = dict(sorted(request.items(), key=lambda row: order[row[0]]))  # whether it was said or went without saying
    used["photo"] = job.photo_hash
    used |= job.networks()
    # Of libraries by their own word: looking up what is installed takes as long as a small picture.
    libraries = {"impasto": version("impasto"), "numpy": np.__version__, "pillow": PIL.__version__}
    made_by = libraries | {"python": platform.python_version(), "processor": processor(), **job.computed_by()}
    return Recipe(request, used, made_by)


def _optimises(changes: Mapping[str, Any]) -> bool:
    """Whether options mean that what a network painted is to be optimised."""
    if changes.get("quality") in ("good", "best") or changes.get("method") == "optimize":
        return True
    known = [name for name in changes if name in StylizeRequest.options]
    return any(StylizeRequest.obeyed_by(name) == ("optimize",) for name in known)


def _asks_network(values: Mapping[str, Any], given: Collection[str]) -> bool:
    """Whether options, of which these were `given` beside a recipe, mean that a network paints what was optimised."""
    if any(
        values.get(name) == value and name in given for name, value in (("quality", "draft"), ("method", "network"))
    ):
        return True
    if values.get("model") is not None:
        return "model" in given
    return named_in_gallery(row.image for row in StylizeRequest.of(style=values.get("style")).style)


def _fits(name: str, value: Any, network: bool) -> bool:
    """Whether a recipe's option goes with what paints now, a network or optimisation."""
    method = "network" if network else "optimize"
    if name == "method":
        return bool(value == method)
    return method in StylizeRequest.obeyed_by(name) and (name != "quality" or (not network and value != "draft"))


def _by_name(request: StylizeRequest) -> tuple[dict[str, Any], dict[str, str]]:
    """A request's JSON with names in place of paths, and the hashes of what they name."""
    used: dict[str, str] = {}
    values: dict[str, Any] = {}
    for name in request.given:
        if name in NOT_OURS:
            continue
        value = getattr(request, name)
        if name == "style":
            value = [
                {"style": _named(row.image, f"style {i}", used), "weight": row.weight} for i, row in enumerate(value, 1)
            ]
        elif name == "mask":
            value = [_named(mask, f"mask {i}", used) for i, mask in enumerate(value, 1)]
        elif name in ROLES:
            value = _named(value, name, used)
        values[name] = _plain_value(value)
    return values, used


def _plain_value(value: Any) -> Any:
    """As JSON gives it back."""
    return json.loads(json.dumps(value, default=lambda one: dict(one) if isinstance(one, Mapping) else str(one)))


def _named(value: Any, role: str, used: dict[str, str]) -> str:
    """The name of a style, network or file without its folder; what a file or a picture holds is hashed."""
    if not isinstance(value, str | os.PathLike):
        used[role] = _hash(value)
        return "picture"
    text = os.fspath(value)
    if not _is_foreign(role, text):
        return text
    path = at_home(text)
    if _exists(path):
        used[role] = sha256(path)
    return path.name or text


def _exists(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long
        return False


def _is_foreign(role: str, name: str) -> bool:
    """Whether the name is of a file, and of none that every installation has."""
    return name not in {"model": MODELS, "backbone": BACKBONES, "init": get_args(Init)}.get(role, ())


def _listed(given: Any) -> list[Any]:
    if given is None:
        return []
    return list(given) if isinstance(given, list | tuple) else [given]


def _hash(picture: Any) -> str:
    """SHA-256 of a file, or of a picture in memory; empty for a name that is no file's."""
    if isinstance(picture, Style):
        picture = picture.image
    if isinstance(picture, str | os.PathLike):
        path = at_home(picture)
        return sha256(path) if _exists(path) else ""
    return picture_hash(as_picture(picture))


def picture_hash(picture: Picture) -> str:
    """SHA-256 of the bytes that a picture in memory was read from, if that is known, else of its pixels."""
    if picture.digest:
        return picture.digest
    digest = hashlib.sha256(f"{picture.height}x{picture.width}".encode())
    digest.update(picture.rgb.transpose(2, 0, 1).tobytes())
    if picture.alpha is not None:
        digest.update(picture.alpha.tobytes())
    return digest.hexdigest()


def _compared(found: Any, before: Any) -> str:
    """``is 6, and was not given``."""
    now, then = (_said(value) if value not in (None, (), [], {}) else "not given" for value in (found, before))
    return f"is {now}, and was {then}"


def _said(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
