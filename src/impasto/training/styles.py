"""The style data set: pictures with names and, at every layer, the statistics a network learns from."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import unicodedata
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import safetensors
import torch
from torch import Tensor

from impasto.core.host import in_our_settings
from impasto.core.metadata import read_metadata, save
from impasto.core.statistics import Divisor, gram, mean_std
from impasto.core.vgg import VGG
from impasto.errors import DataError, LayerError, OptionError, OutputError, WeightsError, nearest
from impasto.files import check_folder
from impasto.imaging import Picture, encode, read
from impasto.imaging.naming import is_photo
from impasto.training.targets import backbone_identity, style_features, style_shares

__all__ = ["ABOUT", "Style", "StyleAdded", "StyleSet", "build_styles", "read_list", "slug", "unique_names"]

FORMAT = 1
KIND = "styles"
SIDECARS = ("styles.tsv", "styles.json")
ABOUT = ("title", "artist", "year")  # what a list may say of a picture, beside its name
JPEG_QUALITY = 95


@dataclass(frozen=True)
class Style:
    """What a style set says of one style; `positions` is h·w of the features at each tap."""

    name: str
    file: str
    height: int
    width: int
    sha256: str  # of the JPEG
    positions: dict[str, int]
    title: str | None = None
    artist: str | None = None
    year: str | None = None


@dataclass(frozen=True)
class StyleAdded:
    """Progress: style number `done` of `total` is finished."""

    done: int
    total: int
    name: str


@in_our_settings
def build_styles(
    folder: str | PathLike[str],
    out: str | PathLike[str],
    backbone: VGG,
    *,
    size: int = 512,
    force: bool = False,
) -> Generator[StyleAdded, None, None]:
    """Write one record per picture in `folder` into the safetensors file `out`, whole or not at all.

    A record holds the picture as JPEG (full size, quality 95, sRGB, where it is transparent continued with a mirror
    image of what shows, which does not count in what follows), a unique name made from the file's,
    and of that JPEG, brought to a long side of at most `size` px, the Gram matrix (divided by h·w), mean and
    standard deviation of the features at every ReLU. Titles, artists and years come from ``styles.tsv`` (columns
    file, name, title, artist, year) or ``styles.json`` (``{"wave.jpg": {"title": ..., "artist": ...}}``) in the
    folder; a name in there counts instead of the file's.

    Raises:
        DataError: no folder, no pictures in it, or a damaged list of titles.
        ImageError: a picture that cannot be read, or whose short side is less than 32 px at that size.
        OptionError: `out` has another suffix.
        OutputError: `out` exists (unless `force`) or cannot be written.
    """
    folder, out = Path(folder), Path(out)
    files = _pictures(folder)
    if out.suffix != ".safetensors":  # or nobody could read it as what it is
        raise OptionError(f"`out` {out}: give the name of a file that ends in .safetensors", "out")
    if out.exists() and not force:
        raise OutputError(f"{out} exists already; choose another name, or `force` to replace it")
    check_folder(out)
    titles = _read_sidecar(folder, files)
    taps = [tap for tap in backbone.taps if tap.startswith("relu")]
    styles: list[Style] = []
    tensors: dict[str, Tensor] = {}
    names = unique_names([titles.get(file.name, {}).get("name", file.stem) for file in files])
    for file, name in zip(files, names, strict=True):
        original = read(file)
        jpeg = encode(original.opaque(), "jpeg", quality=JPEG_QUALITY)
        picture = read(io.BytesIO(jpeg))  # as every reader of the data set will see it
        features = style_features(picture, backbone, taps, size)
        tensors |= _record(name, jpeg, features, style_shares(original, features))
        positions = {tap: f.shape[-2] * f.shape[-1] for tap, f in features.items()}
        about = {key: value for key, value in titles.get(file.name, {}).items() if key in ABOUT}
        digest = hashlib.sha256(jpeg).hexdigest()
        styles.append(Style(name, file.name, picture.height, picture.width, digest, positions, **about))
        if file != files[-1]:
            yield StyleAdded(len(styles), len(files), name)
    known = {"name": backbone.name, "identity": backbone_identity(backbone)}
    rows = [asdict(style) for style in styles]
    save(out, tensors, {"kind": KIND, "format": FORMAT, "size": size, "taps": taps, "backbone": known, "styles": rows})
    yield StyleAdded(len(files), len(files), styles[-1].name)


def _pictures(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder of style pictures")
    files = sorted(path for path in folder.iterdir() if path.is_file() and is_photo(path.name))
    if not files:
        raise DataError(f"{folder}: no pictures found, need at least one")
    return files


def unique_names(stems: Sequence[str]) -> list[str]:
    """Names in lower case with hyphens, in the same order; what occurs again gets -2, -3, ..."""
    names: list[str] = []
    for stem in stems:
        name, number = slug(stem), 1
        while name in names:
            number += 1
            name = f"{slug(stem)}-{number}"
        names.append(name)
    return names


def slug(stem: str) -> str:
    """A name in lower case with hyphens."""
    text = unicodedata.normalize("NFKC", stem).lower()
    return re.sub(r"[\W_]+", "-", text).strip("-") or "style"


def _record(name: str, jpeg: bytes, features: dict[str, Tensor], shares: dict[str, Tensor | None]) -> dict[str, Tensor]:
    tensors = {f"image/{name}": torch.frombuffer(bytearray(jpeg), dtype=torch.uint8)}
    for tap, f in features.items():
        mean, std = mean_std(f, shares=shares[tap])
        for kind, value in (("gram", gram(f, shares=shares[tap])[0]), ("mean", mean.flatten()), ("std", std.flatten())):
            tensors[f"{kind}/{name}/{tap}"] = value.float().cpu().contiguous()
    return tensors


def _read_sidecar(folder: Path, files: Sequence[Path]) -> dict[str, dict[str, str]]:
    """File name -> name, title, artist and year, as far as they are given."""
    path = next((folder / name for name in SIDECARS if (folder / name).exists()), None)
    if path is None:
        return {}
    found = read_list(path)
    if strangers := sorted(set(found) - {file.name for file in files}):
        raise DataError(f"{path} names {', '.join(strangers)}, which the folder does not hold: correct it")
    return found


def read_list(path: Path) -> dict[str, dict[str, str]]:
    """File -> name, title, artist and year, as far as a list in TSV or JSON gives them, in its order.

    Raises:
        DataError: it cannot be read, or has no files.
    """
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise DataError(f"{path}: cannot be read: it is no text in UTF-8") from error
    try:
        if path.suffix == ".json":
            rows = dict(json.loads(text))
        else:
            rows = {row["file"]: row for row in csv.DictReader(io.StringIO(text), delimiter="\t")}
        return {file: {key: str(row[key]) for key in ("name", *ABOUT) if row.get(key)} for file, row in rows.items()}
    except (ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
        raise DataError(
            f"{path}: cannot be read as a list of styles: need columns file, name, title, artist, year, or JSON by file"
            " name"
        ) from error


class StyleSet:
    """A file written by :func:`build_styles`. It is opened for each question anew, and safe to send elsewhere."""

    def __init__(self, path: Path, metadata: dict[str, Any]) -> None:
        self.path = path
        self.size = int(metadata["size"])
        self.taps = tuple(metadata["taps"])
        self.backbone = str(metadata["backbone"]["name"])
        self.backbone_identity = str(metadata["backbone"]["identity"])
        self.styles = {row["name"]: Style(**row) for row in metadata["styles"]}

    @classmethod
    def open(cls, path: str | PathLike[str]) -> StyleSet:
        """Read what the file says of itself.

        Raises:
            WeightsError: it is missing or no whole safetensors file.
            DataError: it is no style set, or one by a later version.
        """
        if not Path(path).is_file():
            told = "is a folder" if Path(path).is_dir() else "no such file"
            raise WeightsError(f"{path}: {told}, need a style set, which `impasto dataset styles` writes")
        metadata = read_metadata(path)
        if metadata.get("kind") != KIND:
            raise DataError(f"{path}: not a style set, which `impasto dataset styles` writes")
        if metadata.get("format") != FORMAT:
            raise DataError(f"{path}: style set of format {metadata.get('format')}, this version reads {FORMAT}")
        try:
            return cls(Path(path), metadata)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path}: the description of the styles is damaged: {error!r}") from error

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the styles, in the order of their files."""
        return tuple(self.styles)

    def facts(self) -> dict[str, Any]:
        """Backbone, size, layers and styles, in types that JSON has."""
        return {
            "backbone": {"name": self.backbone, "identity": self.backbone_identity},
            "size": self.size,
            "taps": list(self.taps),
            "styles": [asdict(style) for style in self.styles.values()],
        }

    def jpeg(self, name: str) -> bytes:
        """The picture as a JPEG file."""
        return self._get(f"image/{self._known(name).name}").numpy().tobytes()

    def image(self, name: str) -> Picture:
        """The picture, full size."""
        return replace(read(io.BytesIO(self.jpeg(name))), name=name)

    def gram(self, name: str, tap: str, divisor: Divisor = "positions") -> Tensor:
        """The Gram matrix at `tap`, (C, C) float32."""
        style, tap = self._known(name), self._tap(tap)
        matrix = self._get(f"gram/{name}/{tap}")
        scale = {"positions": 1.0, "none": style.positions[tap], "all": 1 / len(matrix)}[divisor]
        return matrix * scale

    def moments(self, name: str, tap: str) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the features at `tap`, (C,) float32 each."""
        name, tap = self._known(name).name, self._tap(tap)
        return self._get(f"mean/{name}/{tap}"), self._get(f"std/{name}/{tap}")

    def _known(self, name: str) -> Style:
        if name not in self.styles:
            raise DataError(
                f"{self.path} has no style {name!r}{nearest(name, self.names)}; its styles are {', '.join(self.names)}"
            )
        return self.styles[name]

    def _tap(self, tap: str) -> str:
        if tap not in self.taps:
            raise LayerError(
                f"{self.path} has nothing for layer {tap!r}{nearest(tap, self.taps)}, only for {', '.join(self.taps)}"
            )
        return tap

    def _get(self, key: str) -> Tensor:
        try:
            with safetensors.safe_open(self.path, framework="pt") as file:
                tensor: Tensor = file.get_tensor(key)
        except OSError as error:
            raise DataError(f"{self.path}: {key} cannot be read: {error.strerror or error}") from error
        except safetensors.SafetensorError as error:
            raise DataError(f"{self.path}: {key} cannot be read: {error}") from error
        return tensor
