"""What can be evaluated: trained networks, presets of the optimisation, pictures painted by anything else, controls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from impasto.core.precision import PrecisionName, choose_precision, pick_device
from impasto.core.resizing import resize
from impasto.core.tensors import to_array, to_tensor
from impasto.core.weights import load_backbone
from impasto.errors import DataError, ImageError
from impasto.imaging import Picture, read
from impasto.imaging.naming import is_photo
from impasto.optimize.loop import Optimization
from impasto.optimize.presets import preset
from impasto.stylizer.engine import default_engine
from impasto.stylizer.route import UNIVERSAL
from impasto.training.styles import unique_names

__all__ = [
    "Contender",
    "Copied",
    "ModelContender",
    "Pasted",
    "PresetContender",
    "ResultsContender",
    "load_contenders",
]

SEPARATOR = "--"  # between the photo's name and the style's, in the name of a result's file
STRETCH = 0.03  # how far a result's proportions may be from the photo's: programs crop to multiples of their stride


class Contender(Protocol):
    """Something that paints a photo in the manner of a style; both come with their names."""

    @property
    def name(self) -> str:
        """What it is called in the report."""
        ...

    @property
    def styles(self) -> tuple[str, ...] | None:
        """The names of the styles that it knows; None where it takes any picture."""
        ...

    def can(self, photo: str, style: str) -> bool:
        """Whether it has this pair in it."""
        ...

    def paint(self, photo: tuple[str, Tensor], style: tuple[str, Tensor]) -> Tensor:
        """(name, (1, 3, H, W)) and (name, (1, 3 or 4, h, w)) in [0, 1] -> (1, 3, H, W) in [0, 1].

        A fourth channel says how far a pixel of the style counts.
        """
        ...


class _OfAnyStyle:
    """What those that take any style have in common."""

    @property
    def styles(self) -> tuple[str, ...] | None:
        return None

    def can(self, photo: str, style: str) -> bool:
        return True


def _as_style(style: Tensor) -> Picture:
    """A style picture (1, 3 or 4, h, w) as networks take it."""
    rows = to_array(style)
    return Picture(rows[:, :, :3], rows[:, :, 3] if rows.shape[2] == 4 else None)


class Copied(_OfAnyStyle):
    """Control: the photo, unchanged. Nothing is closer in content."""

    name = "photo copied"

    def paint(self, photo: tuple[str, Tensor], style: tuple[str, Tensor]) -> Tensor:
        """See `Contender.paint`."""
        return photo[1]


class Pasted(_OfAnyStyle):
    """Control: the style picture, stretched over the photo. Hardly anything is closer in style."""

    name = "style pasted"

    def paint(self, photo: tuple[str, Tensor], style: tuple[str, Tensor]) -> Tensor:
        """See `Contender.paint`."""
        return resize(style[1][:, :3], (photo[1].shape[2], photo[1].shape[3]))


class PresetContender(_OfAnyStyle):
    """A preset of the optimisation, on the backbone that it names or on another.

    OptionError for an unknown preset, WeightsError where its backbone is not here.
    """

    def __init__(
        self, name: str, *, backbone: str | None = None, device: str = "auto", precision: PrecisionName = "auto"
    ) -> None:
        self.name, self._settings = name, preset(name, backbone=backbone)
        where, s = pick_device(device), self._settings
        self._eyes = [
            load_backbone(
                eye,
                pool=s.pool,
                rescale_pool=s.rescale_pool,
                precision=choose_precision(where, precision),
                device=where,
            )
            for eye in (s.backbone, s.second_backbone)
            if eye is not None
        ]
        paints = self._settings.init == "draft" or self._settings.repaint > 0
        self._network = default_engine().torch_model(UNIVERSAL, device=device, precision=precision) if paints else None

    def paint(self, photo: tuple[str, Tensor], style: tuple[str, Tensor]) -> Tensor:
        """See `Contender.paint`."""

        def drafted(picture: Tensor) -> Tensor:
            if self._network is None:
                raise RuntimeError("this preset has nothing painted by a network")
            return to_tensor(self._network.paint(picture, _as_style(style[1])).rgb).to(picture)

        first, *second = self._eyes
        optimization = Optimization(
            photo[1],
            [(style[1], 1.0)],
            self._settings,
            first,
            drafted(photo[1]) if self._settings.init == "draft" else None,
            second=second[0] if second else None,
            repaint=drafted,
        )
        for _ in optimization.run():
            pass
        return optimization.image().float()


class ModelContender:
    """A trained network: a shipped one's name or a file. WeightsError if there is no such thing.

    Its own names of styles are matched with those of the style pictures in lower case with hyphens.
    """

    def __init__(self, model: str | PathLike[str], *, device: str = "auto", precision: PrecisionName = "auto") -> None:
        self._model = default_engine().torch_model(model, device=device, precision=precision)
        self.name = Path(model).stem
        own = [record.name for record in self._model.styles]
        self._names = None if self._model.any_style else dict(zip(unique_names(own), own, strict=True))

    @property
    def styles(self) -> tuple[str, ...] | None:
        """See `Contender.styles`."""
        return None if self._names is None else tuple(self._names)

    def can(self, photo: str, style: str) -> bool:
        """See `Contender.can`."""
        return self._names is None or style in self._names

    def paint(self, photo: tuple[str, Tensor], style: tuple[str, Tensor]) -> Tensor:
        """See `Contender.paint`."""
        if self._names is None:
            wanted: Any = _as_style(style[1])
        else:  # the only style of a network goes without a name
            wanted = None if self._model.kind.styled_by == "single" else self._names[style[0]]
        painted = to_tensor(self._model.paint(photo[1], wanted).rgb)
        return painted.to(photo[1])


@dataclass(frozen=True)
class ResultsContender:
    """A folder of pictures named ``PHOTO--STYLE.png``, painted by any other program.

    Names count in lower case with hyphens, whatever the suffix. DataError if there is none.
    """

    folder: Path
    _files: dict[tuple[str, str], Path] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        if not self.folder.is_dir():
            raise DataError(f"{self.folder}: no such folder of results")
        for file in sorted(self.folder.iterdir()):
            parts = file.stem.split(SEPARATOR) if file.is_file() and is_photo(file.name) else []
            for cut in range(1, len(parts)):  # the photo's own name may hold the separator
                halves = SEPARATOR.join(parts[:cut]), SEPARATOR.join(parts[cut:])
                self._files[unique_names(halves[:1])[0], unique_names(halves[1:])[0]] = file
        if not self._files:
            raise DataError(f"{self.folder}: no results found, need pictures named PHOTO{SEPARATOR}STYLE.png")

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.resolve().name

    @property
    def styles(self) -> tuple[str, ...] | None:
        """See `Contender.styles`."""
        return tuple(dict.fromkeys(style for _, style in self._files))

    def can(self, photo: str, style: str) -> bool:
        """See `Contender.can`."""
        return (photo, style) in self._files

    def paint(self, photo: tuple[str, Tensor], style: tuple[str, Tensor]) -> Tensor:
        """See `Contender.paint`."""
        file, (height, width) = self._files[photo[0], style[0]], photo[1].shape[2:]
        painted = to_tensor(read(file).seen())
        h, w = painted.shape[2:]
        if abs(h * width - w * height) > STRETCH * w * height:
            raise ImageError(
                f"{file}: {w}x{h} px, while the photo has the proportions of {width}x{height}: not a painting of it"
            )
        return resize(painted, (height, width)).to(photo[1])


def load_contenders(
    models: Sequence[str | PathLike[str]] = (),
    presets: Sequence[str] = (),
    results: Sequence[Path] = (),
    device: str = "auto",
    precision: PrecisionName = "auto",
) -> list[Contender]:
    """Networks, presets and folders of results, ready to be compared; errors as of their classes."""
    return [
        *(ModelContender(name, device=device, precision=precision) for name in models),
        *(PresetContender(name, device=device, precision=precision) for name in presets),
        *map(ResultsContender, results),
    ]
