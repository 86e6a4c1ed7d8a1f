"""Other people's ONNX graphs, run by onnxruntime as they are, and made to look like those of `export`.

So are TensorFlow Lite's, by LiteRT.

What a graph takes and gives is told by its inputs and by trying it on a little picture: where the channels are,
whether white is 1 or 255, whether it paints any size. What cannot be told is taken as is usual, or as the file says
that `adopt` wrote.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from impasto.core.strangers import stranger
from impasto.errors import OptionError, WeightsError
from impasto.files import atomic_path, check_folder, sha256
from impasto.imaging import resize
from impasto.light.declared import with_entry, without_sizes
from impasto.light.graphs import ADOPTED, ENTRY, FORMAT, look_path, session_of
from impasto.light.litert import SUFFIX, LiteSession

__all__ = ["Declared", "ForeignGraph", "ForeignLook", "adopt"]

Floats = NDArray[np.float32]
TRIED: Final = ((65, 98), (67, 97), (66, 99))  # sides with all remainders by 4
MULTIPLES: Final = (4, 8, 16, 32, 64)
LARGEST: Final = 2**31  # bytes of a file
ONNX: Final = ".onnx"
GUESSED: Final = 1200  # bytes per pixel that features take: graphs do not tell
SMALLEST: Final = 16  # px
SLACK: Final = 64  # px by which a painting may be larger than its photo
_TYPES: Final = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}


@dataclass(frozen=True)
class Declared:
    """What a user, or the file, says of a graph.

    Attributes:
        channels: ``rgb`` or ``bgr``.
        values: what white is, 1 or 255; 0 is to be tried.
        style_names: where styles are chosen by numbers of their own, in their order.
        licence: of the weights.
    """

    channels: Literal["rgb", "bgr"] = "rgb"
    values: int = 0
    style_names: tuple[str, ...] = ()
    licence: str = "unknown"


@dataclass(frozen=True)
class _Input:
    """One input of a graph: its name, type, shape (0 where it is free), and for a picture where the channels are."""

    name: str
    kind: type[Any]
    shape: tuple[int, ...]
    first: bool | None  # channels first or last; None where it is no picture

    def of(self, planes: Floats, top: float, *, bgr: bool) -> NDArray[Any]:
        """(1, 3, h, w) RGB in [0, 1] as the graph takes it."""
        x = (planes[:, ::-1] if bgr else planes) * top
        x = x if self.first else x.transpose(0, 2, 3, 1)
        return np.ascontiguousarray((x.round() if self.kind is np.uint8 else x).astype(self.kind))

    @property
    def declared(self) -> tuple[int, int]:
        """Height and width, 0 where they are free."""
        height, width = self.shape[2:4] if self.first else self.shape[1:3]
        return height, width


def _inputs_of(session: Any, path: Path) -> list[_Input]:
    found = []
    for row in session.get_inputs():
        shape = tuple(side if isinstance(side, int) and side > 0 else 0 for side in row.shape)
        if row.type not in _TYPES:
            raise WeightsError(f"{path}: its input {row.name} is a {row.type}, need pictures or numbers of a style")
        first: bool | None = None
        if len(shape) == 4 and shape[0] in (0, 1) and shape.count(1) < 3:
            first = True if shape[1] == 3 else False if shape[3] == 3 else None
            first = True if first is None and shape[1] == 0 and shape[2] == shape[3] == 0 else first
        found.append(_Input(row.name, _TYPES[row.type], shape, first))
    return found


def _open(path: Path, content: bytes | None = None) -> tuple[Any, list[_Input]]:
    """A session that takes pictures of any size as far as declarations go, and the inputs as they were declared."""
    if path.suffix.casefold() == SUFFIX:
        session = LiteSession(_checked(path))
        return session, _inputs_of(session, path)
    data = _checked(path).read_bytes() if content is None else content
    declared = _inputs_of(session_of(data, path), path)
    return session_of(without_sizes(data), path), declared


def _checked(path: Path) -> Path:
    """The path of a file that may be a graph."""
    if path.stat().st_size > LARGEST:
        raise WeightsError(f"{path}: has {path.stat().st_size:,} bytes, more than an ONNX file can have")
    if told := stranger(path):
        raise WeightsError(f"{path}: {told}, need a graph of ONNX or TensorFlow Lite")
    return path


class ForeignGraph:
    """A graph of others with the inputs and outputs of `graphs.Graph`: ``image``, ``strength``, and its style.

    Args:
        path: the file.
        content: of an ONNX file that is to be there; None reads what is.

    Raises:
        WeightsError: onnxruntime cannot read it, or its inputs are not those of a network that paints.
    """

    def __init__(self, path: Path, content: bytes | None = None) -> None:
        self.path, self._content = path, content
        self._session, inputs = _open(path, content)
        self.declared = _declared(self._session)
        pictures = [row for row in inputs if row.first is not None]
        others = [row for row in inputs if row.first is None]
        if not pictures or len(inputs) > 2 or len(self._session.get_outputs()) < 1:
            told = ", ".join(f"{row.name} {list(row.shape)}" for row in inputs)
            raise WeightsError(f"{path}: takes {told}; need a picture, and at most a style, as picture or as numbers")
        self._style = others[0] if others else None
        if len(pictures) == 2:
            second = next((row for row in pictures if "style" in row.name.casefold()), pictures[1])
            self._style = second
        self._image = next(row for row in pictures if row is not self._style)
        self.inputs = ("image", "strength", *self._style_inputs())
        self._top, self._multiple = self._try()
        self.blends = self._style is None or self._style.first is None
        self.description: Mapping[str, Any] = self._describe()
        self.bytes_per_pixel = GUESSED if self._multiple else 0

    def _style_inputs(self) -> tuple[str, ...]:
        if self._style is None:
            return ()
        if self._style.first is None and self.look is None:
            if len(self._style.shape) > 2 or self._count < 1:
                raise WeightsError(
                    f"{self.path}: takes numbers of a style, and the graph that tells them of a picture is not beside"
                    f" it: put it into the same folder, named {look_path(self.path).name}"
                )
            return ("mix",)
        return ("parameters",)

    @property
    def _count(self) -> int:
        """Numbers of a style."""
        return 0 if self._style is None else math.prod(side or 1 for side in self._style.shape)

    @cached_property
    def look(self) -> ForeignLook | None:
        """What turns a style picture into what this graph takes; None where there is nothing, or styles have names."""
        if self._style is None:
            return None
        if self._style.first is not None:
            return ForeignLook(self._style, None, self.declared, None)
        for path in _beside(self.path):
            if path.is_file() and path != self.path:
                session, inputs = _open(path)
                given = session.get_outputs()
                told = math.prod(side if isinstance(side, int) else 1 for side in given[0].shape)
                if len(inputs) == 1 and inputs[0].first is not None and len(given) == 1 and told == self._count:
                    return ForeignLook(inputs[0], session, self.declared, path)
        return None

    def _describe(self) -> dict[str, Any]:
        names: list[str] = []
        if "mix" in self.inputs:
            names = list(self.declared.style_names) or [f"style-{number:02}" for number in range(self._count)]
            if len(names) != self._count or len(set(names)) != len(names):
                raise OptionError(f"{len(names)} `style_names`, need {self._count} different ones", "style_names")
        elif self._style is None:
            names = [self.path.name.split(".")[0] or self.path.name]
        return {
            "kind": "onnx",
            "format": FORMAT,
            "role": "paint",
            "method": "onnx",
            "styles": [{"name": name} for name in names],
            "value_range": f"{self.declared.channels.upper()}, 0 to {self._top:g}",
            "licence": self.declared.licence,
            "made_from": sha256(self.path) if self._content is None else hashlib.sha256(self._content).hexdigest(),
        }

    @property
    def note(self) -> str:
        """What a user should know of sizes; empty where any is painted as it is."""
        if self._multiple:
            return ""
        height, width = self._image.declared
        return f"this graph paints {width}x{height} px alone: the photo is made so large, and its painting as the photo"

    # -- trying ---------------------------------------------------------------------------------------------------

    def _try(self) -> tuple[float, int]:
        """What white is, and of what sides must be multiples; 0 where only the declared size is painted."""
        height, width = self._image.declared
        fixed = (height or 128, width or 128)
        for multiple in (1, *MULTIPLES):
            sizes = TRIED if multiple == 1 else ((64 + multiple, 96 + multiple),)
            try:
                drawn = [self._paint(_noise(size), self._first_top, self._any_style()) for size in sizes]
            except WeightsError:
                continue
            if all(_follows(one.shape[2:], size) for one, size in zip(drawn, sizes, strict=True)):
                return self._white(drawn[0]), multiple
            if drawn[0].shape[2:] == fixed:  # it takes any size, and gives one
                return self._white(drawn[0]), 0
        painted = self._paint(_noise(fixed), self._first_top, self._any_style())
        return self._white(painted), 0

    @property
    def _first_top(self) -> float:
        """What white is taken for until it is known."""
        return float(self.declared.values or (255 if self._image.kind is np.uint8 else 1))

    def _white(self, painted: Floats) -> float:
        """What it is: networks of values up to 255 give such whatever goes in, for they normalise."""
        if self.declared.values or self._image.kind is np.uint8:
            return self._first_top
        return 1.0 if np.abs(painted).max() <= 2 else 255.0

    def _any_style(self) -> Floats | None:
        if self._style is None:
            return None
        if self._style.first is None:
            return np.full((1, self._count), 1 / self._count, np.float32)
        height, width = self._style.declared
        return _noise((height or 96, width or 96))

    # -- painting -------------------------------------------------------------------------------------------------

    def run(self, **inputs: Floats) -> Floats:
        """See `graphs.Graph`: ``image`` (1, 3, h, w) in [0, 1], ``strength``, and the style -> the painting."""
        image, style = inputs["image"], inputs.get("mix", inputs.get("parameters"))
        height, width = image.shape[2:]
        if self._multiple:
            painted = self._paint(_enlarged(image, self._multiple), self._top, style)[:, :, :height, :width]
        else:
            rows = resize(image[0].transpose(1, 2, 0), self._fixed)
            painted = self._paint(np.ascontiguousarray(rows.transpose(2, 0, 1))[None], self._top, style)
            painted = resize(painted[0].transpose(1, 2, 0), (height, width)).transpose(2, 0, 1)[None]
        painted = (painted / self._top).clip(0, 1)
        return np.asarray(image + inputs["strength"] * (painted - image), np.float32)

    @property
    def _fixed(self) -> tuple[int, int]:
        height, width = self._image.declared
        return height or 128, width or 128

    def _paint(self, planes: Floats, top: float, style: Floats | None) -> Floats:
        """What the graph gives, RGB (1, 3, h, w), in its own values."""
        bgr = self.declared.channels == "bgr"
        given = {self._image.name: self._image.of(planes, top, bgr=bgr)}
        if self._style is not None and style is not None:
            if self._style.first is None:
                given[self._style.name] = style.reshape([side or 1 for side in self._style.shape]).astype(
                    self._style.kind
                )
            else:
                given[self._style.name] = self._style.of(style, top, bgr=bgr)
        try:
            out = np.asarray(self._session.run(None, given)[0], np.float32)
        except Exception as error:  # onnxruntime's own kinds have no common base but this
            raise WeightsError(f"{self.path}: cannot be run: {str(error).splitlines()[0][:200]}") from error
        out = out[None] if out.ndim == 3 else out
        if out.ndim == 4 and out.shape[1] != 3 and out.shape[3] == 3:
            out = out.transpose(0, 3, 1, 2)
        if out.ndim != 4 or out.shape[1] != 3:
            raise WeightsError(f"{self.path}: gives {list(out.shape)}, need a picture")
        return out[:1, ::-1] if bgr else out[:1]


class ForeignLook:
    """What there is to keep of a style picture for a graph: the picture itself, or what another graph tells of it.

    Args:
        picture: how it is taken.
        session: the other graph; None where the picture is the graph's own input.
        declared: of the graph that paints.
        path: of the other graph.
    """

    def __init__(self, picture: _Input, session: Any, declared: Declared, path: Path | None) -> None:
        self._picture, self._session, self._declared, self.path = picture, session, declared, path

    def run(self, **inputs: Floats) -> Floats:
        """``style`` (1, 4, h, w), of which the fourth channel is left out -> (1, P), or a picture (1, 3, h', w')."""
        rows = inputs["style"][0, :3].transpose(1, 2, 0)
        height, width = self._picture.declared
        if height and width:
            rows = resize(rows, (height, width))
        planes = np.ascontiguousarray(rows.transpose(2, 0, 1))[None]
        if self._session is None:
            return planes
        top = float(self._declared.values or 1)
        given = {self._picture.name: self._picture.of(planes, top, bgr=self._declared.channels == "bgr")}
        told = self._session.run(None, given)[0]
        return np.asarray(told, np.float32).reshape(1, -1)


def adopt(path: Path, output: Path, declared: Declared, *, force: bool = False) -> ForeignGraph:
    """Write a copy of a graph that says what it takes, and gives it as it will be read.

    A graph beside it that looks at style pictures is copied as well.

    Raises:
        WeightsError, OptionError: as of `ForeignGraph`.
        OptionError: the file is no ONNX, the output exists, or styles are named and there are none to be chosen.
    """
    if path.suffix.casefold() != ONNX:
        raise OptionError(
            f"{path}: only an {ONNX} file becomes {ONNX} as it is: give an `output` that ends in .safetensors, of which"
            " `impasto export onnx` makes one",
            "output",
        )
    told = {"kind": ADOPTED, "format": FORMAT, **asdict(declared)}
    content = with_entry(_checked(path).read_bytes(), ENTRY, json.dumps(told, sort_keys=True))
    given = ForeignGraph(path, content)  # so that what is wrong is said of the file that was given
    if declared.style_names and "mix" not in given.inputs:
        raise OptionError(f"`style_names` is for graphs of several styles, and {path} is none: leave it out")
    looks = None if given.look is None else given.look.path
    if looks is not None and looks.resolve() in [place.resolve() for place in _beside(output)]:
        looks = None  # it is there already
    for place in (output, *([] if looks is None else [look_path(output)])):
        if place.exists() and not force:
            raise OptionError(f"{place}: exists already: give another name or `force`", "output")
    check_folder(output)
    if looks is not None:
        with atomic_path(look_path(output)) as temporary:
            temporary.write_bytes(looks.read_bytes())
    with atomic_path(output) as temporary:
        temporary.write_bytes(content)
        return ForeignGraph(output, content)


def _beside(path: Path) -> list[Path]:
    """Where the graph may lie that looks at style pictures for this one."""
    return [look_path(path), *sorted(path.parent.glob(f"*predict*{path.suffix}"))]


def _declared(session: Any) -> Declared:
    """What the file says: in an entry of ours, else in entries of Windows ML's or about the licence."""
    told = session.get_modelmeta().custom_metadata_map
    if ENTRY in told:
        found = json.loads(told[ENTRY])
        return Declared(
            "bgr" if found.get("channels") == "bgr" else "rgb",
            int(found.get("values") or 0),
            tuple(map(str, found.get("style_names", ()))),
            str(found.get("licence", "unknown")),
        )
    licence = next((value for key, value in told.items() if key.casefold() in ("license", "licence")), "unknown")
    bgr = told.get("Image.BitmapPixelFormat", "").casefold().startswith("bgr")
    values = 1 if told.get("Image.NominalPixelRange", "").casefold() == "normalized_0_1" else 0
    return Declared("bgr" if bgr else "rgb", values, (), licence)


def _follows(given: tuple[int, ...], size: tuple[int, int]) -> bool:
    return all(side <= out < side + SLACK for side, out in zip(size, given, strict=True))


def _enlarged(planes: Floats, multiple: int) -> Floats:
    """Continued by reflection, below and to the right, to sides that are multiples; at least 16 px."""
    for axis in (2, 3):
        side = planes.shape[axis]
        wanted = -(-max(side, SMALLEST) // multiple) * multiple
        period = max(1, 2 * (side - 1))
        at = np.arange(wanted) % period
        planes = planes.take(np.minimum(at, period - at) if side > 1 else at * 0, axis)
    return planes


def _noise(size: tuple[int, int]) -> Floats:
    """A little picture (1, 3, h, w) in [0, 1] with shapes in it."""
    chance = np.random.default_rng(0)
    coarse = chance.random((3, -(-size[0] // 8), -(-size[1] // 8))).repeat(8, 1).repeat(8, 2)[:, : size[0], : size[1]]
    fine = chance.random((3, *size))
    return np.asarray(0.8 * coarse + 0.2 * fine, np.float32)[None]
