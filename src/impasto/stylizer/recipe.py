"""How a picture was made, carried by the picture itself, and painting it again from that.

A recipe is JSON without a path, a host or a user: the request, names and SHA-256 of what was used, and the versions
of what computed it. `imaging.embedded` puts it into a file and finds it there.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch

from impasto.core.backbones import BACKBONES
from impasto.core.weights import locate
from impasto.errors import DataError, OptionError
from impasto.files import sha256
from impasto.imaging import Picture, as_picture
from impasto.imaging.embedded import read_recipe as embedded_recipe
from impasto.networks.shipped import MODELS
from impasto.stylizer.request import StylizeRequest
from impasto.stylizer.styles import Style

if TYPE_CHECKING:
    from impasto.stylizer.job import Job

__all__ = ["Recipe", "read_recipe", "recipe_of"]

FORMAT: Final = 1
LIBRARIES: Final = ("torch", "numpy", "pillow")
NOT_OURS: Final = ("max_memory", "max_megapixels")  # say nothing of the picture


@dataclass(frozen=True)
class Recipe:
    """How a picture was made.

    Attributes:
        request: the fields of `StylizeRequest` that were given, pictures and files by their names alone.
        used: SHA-256 of everything that was used, by its role: ``style 1``, ``mask 1``, ``init``, ``model``,
            ``backbone``, ``photo``.
        made_by: versions, and the machine's way of computing.
    """

    request: Mapping[str, Any]
    used: Mapping[str, str]
    made_by: Mapping[str, str]

    def to_text(self) -> str:
        """As JSON, which a file can carry."""
        plain = {"impasto": FORMAT, "request": self.request, "used": self.used, "made_by": self.made_by}
        return json.dumps(plain, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str, where: str) -> Recipe:
        """The inverse. DataError for what is none, or of a later version."""
        try:
            found = json.loads(text)
            if found["impasto"] != FORMAT:
                raise DataError(f"{where}: its recipe is of format {found['impasto']!r}, this version reads {FORMAT}")
            parts = [dict(found[name]) for name in ("request", "used", "made_by")]
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{where}: the recipe is damaged ({error}); it cannot be used") from error
        return cls(*parts)

    def to_request(self, pictures: Mapping[str, Any] | None = None, **changes: Any) -> StylizeRequest:
        """The request that the recipe tells.

        Args:
            pictures: files or pictures by their role, for what the recipe knows by name alone: `style`, `mask`, `init`,
                `model`, `backbone`. Styles and masks are found among those given by their hash, else by their place.
            **changes: options that win over the recipe's.

        Raises:
            OptionError: something that is not at hand, told by its name and hash, or a request that makes no sense.
        """
        given, values = dict(pictures or {}), dict(self.request)
        if "style" not in changes:
            values["style"] = self._styles(given.get("style", ()))
        if "mask" in values and "mask" not in changes:
            values["mask"] = self._found("mask", values["mask"], given.get("mask", ()))
        for name in ("init", "model", "backbone"):
            if name in self.used and name in values and name not in changes and _is_foreign(name, values[name]):
                values[name] = self._found(name, [values[name]], [given[name]] if name in given else [])[0]
        return StylizeRequest.from_json({**values, "format": 1}).with_changes(**changes)

    def differences(self, job: Job) -> tuple[str, ...]:
        """What is not as it was when the picture was made, each in a few words; empty where the same picture comes."""
        now, told = recipe_of(job), []
        for role, digest in self.used.items():
            if now.used.get(role) not in (None, digest):
                told.append(f"another {role.rstrip(' 1')}" if role != "photo" else "another photo")
        for name, before in self.made_by.items():
            if (found := now.made_by.get(name)) != before:
                told.append(f"{name} {found} instead of {before}")
        changed = {**self.request} != {**now.request}
        return (*told, "other options") if changed else tuple(told)

    def _styles(self, given: Sequence[Any]) -> list[Style]:
        rows = self.request.get("style", [])
        names = [row["style"] for row in rows]
        pictures = {i: name for i, name in enumerate(names) if f"style {i + 1}" in self.used}
        found = iter(self._found("style", list(pictures.values()), given))
        return [Style(next(found) if i in pictures else row["style"], row["weight"]) for i, row in enumerate(rows)]

    def _found(self, role: str, names: Sequence[str], given: Sequence[Any]) -> list[Any]:
        """Pictures for these names: that of the same hash, else that in the same place."""
        left = [(_hash(picture), picture) for picture in given]
        out = []
        for i, name in enumerate(names, 1):
            digest = self.used.get(f"{role} {i}", self.used.get(role, ""))
            match = next((row for row in left if row[0] == digest), left[0] if left else None)
            if match is None:
                raise OptionError(
                    f"the recipe needs the {role} {name!r} (SHA-256 {digest[:16]}...): give its file as `{role}`", role
                )
            left.remove(match)
            out.append(match[1])
        if left:
            raise OptionError(f"the recipe has {len(names)} of `{role}`, and {len(given)} are given: leave some out")
        return out


def read_recipe(path: str | os.PathLike[str]) -> Recipe:
    """The recipe that a painted picture carries, or that a JSON file is.

    Raises:
        DataError: there is none, or it is damaged.
        ImageError: the file cannot be read.
    """
    if Path(path).suffix.lower() == ".json":
        try:
            return Recipe.from_text(Path(path).read_text("utf-8"), str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path}: cannot be read ({error}); check the name") from error
    text = embedded_recipe(path)
    if text is None:
        raise DataError(f"{path}: carries no recipe; it was painted by another program, or without one")
    return Recipe.from_text(text, str(path))


def recipe_of(job: Job) -> Recipe:
    """The recipe of what a job paints."""
    request, used = _by_name(job.request)
    used["photo"] = job.photo_hash
    used |= job.networks()
    libraries = {name: _version(name) for name in ("impasto", *LIBRARIES)}
    made_by = libraries | {"python": platform.python_version(), "processor": processor(), **job.computed_by()}
    made_by["threads"] = str(torch.get_num_threads())
    return Recipe(request, used, made_by)


def _by_name(request: StylizeRequest) -> tuple[dict[str, Any], dict[str, str]]:
    """A request's JSON with names in place of paths, and the hashes of what they name."""
    used: dict[str, str] = {}
    values: dict[str, Any] = {}
    for name in request.given:
        if name in NOT_OURS:
            continue
        value = getattr(request, name)
        if name == "style":
            values[name] = [
                {"style": _named(row.image, f"style {i}", used), "weight": row.weight} for i, row in enumerate(value, 1)
            ]
        elif name == "mask":
            values[name] = [_named(mask, f"mask {i}", used) for i, mask in enumerate(value, 1)]
        elif name in ("init", "backbone", "model"):
            values[name] = _named(value, name, used)
        else:
            values[name] = value
    return json.loads(json.dumps(values, default=_plain)), used


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else str(value)


def _named(value: Any, role: str, used: dict[str, str]) -> str:
    """The name of a style, network or file without its folder; what a file or a picture holds is hashed."""
    if isinstance(value, str | os.PathLike):
        path = Path(value)
        if _exists(path):
            used[role] = sha256(path)
            return path.name
        return str(value)
    used[role] = _hash(value)
    return "picture"


def _exists(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long
        return False


def _is_foreign(role: str, name: str) -> bool:
    """Whether a recipe's name of a network or a beginning needs a file beside it."""
    return {"model": name not in MODELS, "backbone": name not in BACKBONES, "init": True}[role]


def _hash(picture: Any) -> str:
    """SHA-256 of a file, or of a picture in memory."""
    if isinstance(picture, Style):
        picture = picture.image
    if isinstance(picture, str | os.PathLike) and _exists(Path(picture)):
        return sha256(Path(picture))
    return picture_hash(as_picture(picture))


def picture_hash(picture: Picture) -> str:
    """SHA-256 of the pixels of a picture in memory."""
    digest = hashlib.sha256(f"{picture.height}x{picture.width}".encode())
    digest.update(picture.rgb.transpose(2, 0, 1).tobytes())
    if picture.alpha is not None:
        digest.update(picture.alpha.tobytes())
    return digest.hexdigest()


def backbone_hash(name: str) -> str:
    """SHA-256 of a backbone's file; empty where it is not here."""
    path = locate(name) if name in BACKBONES else Path(name).expanduser()
    return sha256(path) if path is not None and _exists(path) else ""


@functools.cache
def processor() -> str:
    """The processor's name, as its maker calls it."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"
