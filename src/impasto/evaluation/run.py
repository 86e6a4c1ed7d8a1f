"""Many pairs of photo and style, each painted by every contender and looked at by every judge."""

from __future__ import annotations

import io
import random
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePath
from typing import NamedTuple

import torch
from torch import Tensor

from impasto.core.colour import luminance
from impasto.core.host import in_our_settings
from impasto.core.memory import reuse_large_blocks
from impasto.core.resizing import resize
from impasto.core.tensors import to_tensor
from impasto.errors import ImageError, ImpastoError, OptionError, load_library, nearest
from impasto.evaluation.contenders import Contender, Copied, Pasted, ResultsContender
from impasto.evaluation.distances import Distances, Judge, Look, check_names
from impasto.imaging import Picture, fit_long_side, read
from impasto.training.photos import PhotoSource
from impasto.training.sources import StyleSource, with_path
from impasto.training.styles import unique_names

__all__ = ["CONTROLS", "Painted", "Pair", "Plan", "Scored", "evaluate", "plan", "ssim"]

CONTROLS: tuple[Contender, ...] = (Copied(), Pasted())
STYLES_KEPT = 32  # style pictures and what judges keep of them, some MB each


class Pair(NamedTuple):
    """Numbers of a photo and a style in their plan."""

    photo: int
    style: int


@dataclass(frozen=True)
class Plan:
    """What will be painted.

    Attributes:
        photos, styles: all that were offered.
        names: of the photos, in lower case with hyphens.
        pairs: those to be painted, photo after photo.
        possible: how many pairs there are of which these are a sample.
        notes: what was left out and why, a sentence each.
    """

    photos: PhotoSource
    styles: tuple[StyleSource, ...]
    names: tuple[str, ...]
    pairs: tuple[Pair, ...]
    possible: int
    notes: tuple[str, ...] = ()

    def photo(self, index: int) -> Picture:
        """A photo, full size; ImageError if it cannot be read."""
        return _read(self.photos, index)


@dataclass(frozen=True)
class Scored:
    """Of one picture; `distances` are by the judge's name, `seconds` those that painting took, None if nothing was."""

    method: str
    control: bool
    photo: str
    style: str
    ssim: float
    seconds: float | None
    distances: Mapping[str, Distances]


class Painted(NamedTuple):
    """Progress: picture `done` of `total`, (1, 3, H, W), and its score."""

    score: Scored
    picture: Tensor
    done: int
    total: int


def plan(
    photos: PhotoSource,
    styles: Sequence[StyleSource],
    contenders: Sequence[Contender],
    *,
    only: Sequence[str] = (),
    limit: int | None = None,
    seed: int = 0,
) -> Plan:
    """The pairs that all contenders can paint, or a sample of `limit` of them.

    A sample takes photos and styles as evenly as it can: photo i + k meets style i, in an order drawn from `seed`,
    for k = 0, 1, 2 ... until there are enough. Photos that cannot be read are left out, and told.

    OptionError where `only` names a style that is not there, two contenders have one name, or no pair is left.
    ImageError where none of the photos can be read.
    """
    check_names([contender.name for contender in (*contenders, *CONTROLS)])
    names = tuple(unique_names([PurePath(photos.name(i)).stem for i in range(len(photos))]))
    offered = [style.name for style in styles]
    if strangers := [name for name in only if name not in offered]:
        near = nearest(strangers[0], offered)
        raise OptionError(f"no style picture is called {strangers[0]!r}{near}: there are {', '.join(offered)}")
    order_p, order_s = list(range(len(names))), [i for i, name in enumerate(offered) if not only or name in only]
    draw = random.Random(seed)
    draw.shuffle(order_p)
    draw.shuffle(order_s)
    every = [
        Pair(order_p[(j + k) % len(order_p)], style) for k in range(len(order_p)) for j, style in enumerate(order_s)
    ]
    able = [pair for pair in every if all(c.can(names[pair.photo], offered[pair.style]) for c in contenders)]
    if not able:
        raise OptionError(_nothing_in_common(names, [offered[i] for i in sorted(order_s)], contenders))
    notes = [note for c in contenders if (note := _left_out(c, offered, only))]
    readable: dict[int, str] = {}  # photo -> why it cannot be read, or nothing
    pairs: list[Pair] = []
    for pair in able:
        if limit is not None and len(pairs) == limit:
            break
        if pair.photo not in readable:
            readable[pair.photo] = _unreadable(photos, pair.photo)
        if not readable[pair.photo]:
            pairs.append(pair)
    bad = [told for told in readable.values() if told]
    if not pairs:
        raise ImageError(bad[0])
    possible = sum(not readable.get(pair.photo) for pair in able)
    notes += [f"{told}; left out" for told in bad]
    return Plan(photos, tuple(styles), names, tuple(sorted(pairs)), possible, tuple(notes))


def _unreadable(photos: PhotoSource, index: int) -> str:
    """Why a photo cannot be read, or painted, or nothing."""
    try:
        _read(photos, index).cleared()
    except ImpastoError as error:
        return with_path(photos.name(index), error)
    return ""


def _read(photos: PhotoSource, index: int) -> Picture:
    stream = io.BytesIO(photos.read(index))
    stream.name = photos.name(index)  # for messages
    return read(stream)


def _left_out(contender: Contender, offered: Sequence[str], only: Sequence[str]) -> str | None:
    missing = [name for name in contender.styles or () if name not in offered]
    if not missing or only:
        return None
    return f"{contender.name}: no style picture is called {', '.join(missing)}; left out"


def _nothing_in_common(photos: Sequence[str], styles: Sequence[str], contenders: Sequence[Contender]) -> str:
    for c in contenders:
        if c.styles is not None and not set(c.styles) & set(styles):
            return f"{c.name} has the styles {', '.join(c.styles)}, but the style pictures are {', '.join(styles)}"
        if not any(c.can(photo, style) for photo in photos for style in styles):
            return f"{c.name} has none of these photos: {', '.join(photos[:5])}{' ...' if len(photos) > 5 else ''}"
    return f"{', '.join(c.name for c in contenders)} have no pair of photo and style in common"


@in_our_settings
def evaluate(
    what: Plan,
    contenders: Sequence[Contender],
    judges: Sequence[Judge],
    *,
    size: int = 512,
    device: torch.device | str = "cpu",
) -> Generator[Painted, None, None]:
    """Paint and judge every pair, by every contender and by CONTROLS, yielding each picture with its score.

    Photos and styles are brought to a long side of `size` px, enlarged if need be, and judged at that size, on
    `device`, where judges and contenders must be. ImageError for a picture that cannot be read, or results that
    are no painting of their photo; all that the contenders raise.
    """
    reuse_large_blocks()
    total, done = len(what.pairs) * (len(contenders) + len(CONTROLS)), 0

    @lru_cache(maxsize=1)
    def seen_photo(index: int) -> tuple[Tensor, list[Look]]:
        image = _fit(to_tensor(what.photo(index).seen()), size).to(device)
        return image, [judge.look(image) for judge in judges]

    @lru_cache(maxsize=STYLES_KEPT)
    def seen_style(index: int) -> tuple[Tensor, list[Look]]:
        image = _fit(to_tensor(what.styles[index].picture().weighed()), size).to(device)
        return image, [judge.look(image) for judge in judges]

    for pair in what.pairs:
        (photo, photo_looks), (style, style_looks) = seen_photo(pair.photo), seen_style(pair.style)
        names = what.names[pair.photo], what.styles[pair.style].name
        for contender in (*contenders, *CONTROLS):
            began = time.perf_counter()
            painted = contender.paint((names[0], photo), (names[1], style))
            finds = contender in CONTROLS or isinstance(contender, ResultsContender)  # what is there: it paints nothing
            seconds = None if finds else time.perf_counter() - began
            looks = photo_looks if painted is photo else [judge.look(painted) for judge in judges]
            distances = {
                judge.name: judge.compare(look, of_photo, of_style)
                for judge, look, of_photo, of_style in zip(judges, looks, photo_looks, style_looks, strict=True)
            }
            done += 1
            score = Scored(contender.name, contender in CONTROLS, *names, ssim(painted, photo), seconds, distances)
            yield Painted(score, painted, done, total)


@in_our_settings
def ssim(painted: Tensor, photo: Tensor) -> float:
    """Structural similarity (Wang et al. 2004) of the luminances of (1, 3, H, W) pictures in [0, 1]; 1 is equal.

    Gaussian window of deviation 1.5, as in the paper. Colour does not count. MissingExtraError without torchmetrics.
    """
    image = load_library("torchmetrics.functional.image", "train", "SSIM")
    found = image.structural_similarity_index_measure(luminance(painted), luminance(photo), data_range=1.0)
    return float(found)


def _fit(image: Tensor, size: int) -> Tensor:
    return resize(image, fit_long_side((image.shape[2], image.shape[3]), size, upscale=True))
