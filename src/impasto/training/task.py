"""What every family of networks brings to the training loop: a network, batches, a loss, a sheet, a description."""

from __future__ import annotations

import io
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from impasto.core.precision import Precision
from impasto.core.resizing import resize
from impasto.core.tensors import to_tensor
from impasto.core.threads import usable_cores
from impasto.core.vgg import VGG
from impasto.errors import DataError, ImpastoError, OptionError
from impasto.imaging import Picture, read
from impasto.networks.registry import Network, build, config_from, kind_named
from impasto.training.crops import Crop
from impasto.training.data import (
    BadPhotos,
    BatchPlan,
    PhotoSource,
    open_photos,
    photo_batches,
    photos_of,
    with_removed,
)
from impasto.training.objectives import Terms
from impasto.training.photos import check_left_out, check_places
from impasto.training.recipe import anchored
from impasto.training.settings import TrainSettings
from impasto.training.sources import names_digest

__all__ = ["BAD_PHOTOS", "BAD_STYLES", "Batch", "Exhibit", "Paint", "Shard", "Task", "counted_gone", "square"]

SAMPLES = 4  # photos on a sheet
BAD_PHOTOS, BAD_STYLES = "bad_photos.tsv", "bad_styles.tsv"
SHOWN = 6  # styles on a sheet
SHEET_SIDE = 256  # px of a picture on it, at most
Paint = Callable[..., Tensor]
Exhibit = tuple[Tensor, Callable[[Tensor], Tensor]]
"""A style picture (3, s, s), and what paints photos (B, 3, s, s) in its manner."""


@dataclass(frozen=True)
class Batch:
    """Photos (B, 3, S, S), and with them the numbers of their styles (B,), or style pictures (B, 3, S, S).

    `own` (B,) is 1 for a photo that is its own style, and 0 for the others; `turn` says which of several backbones
    looks at this batch. `seen`, (B, 3, S, S), is what the network is given instead of the photos that it is to keep.
    """

    photos: Tensor
    styles: Tensor
    own: Tensor | None = None
    turn: int = 0
    seen: Tensor | None = None

    @property
    def given(self) -> Tensor:
        """What the network is to paint."""
        return self.photos if self.seen is None else self.seen


@dataclass(frozen=True)
class Shard:
    """Which part of every batch is this process's, and where the list of unreadable pictures is kept."""

    rank: int = 0
    world_size: int = 1
    folder: Path | None = None


class Task(ABC):
    """One training, apart from the loop around it.

    Attributes:
        network: the whole, for its state and its file.
        trained: the module whose parameters learn; its forward gives paintings.
        contents: what the training is made of, by content: a resumed run must find the same.
        notes: sentences the user should read before it begins.

    Args:
        begun: the folder of the run, if it goes on: what was removed since, because it could not be read, is passed
            over there.
    """

    LEAVES_OUT_STYLES: ClassVar[bool] = False  # whether names that are left out may also be those of style pictures

    network: Network
    trained: nn.Module

    def __init__(
        self, settings: TrainSettings, device: torch.device, precision: Precision, begun: Path | None = None
    ) -> None:
        check_places(settings)
        self.settings, self.device, self.precision = settings, device, precision
        self.notes: list[str] = []
        # by absolute paths, so that a photo is listed by the same name wherever the run goes on from
        self.photos = open_photos(anchored(settings.photos, Path.cwd()), settings.leave_out)
        if begun is not None:
            self.photos = with_removed(self.photos, begun / BAD_PHOTOS)
        if not self.LEAVES_OUT_STYLES:
            check_left_out(settings.leave_out, self.photos)
        self.contents: dict[str, Any] = {"photos": {"count": len(self.photos), "names": names_digest(self.photos)}}

    def missing(self) -> str:
        """How many photos and style pictures are gone, in words, or nothing."""
        return counted_gone(self.photos)

    @abstractmethod
    def batches(self, start: int, shard: Shard) -> Generator[Batch, None, None]:
        """Batches without end from step `start` on."""

    @abstractmethod
    def terms(self, paint: Paint, batch: Batch) -> Terms:
        """The loss of a batch; `paint` is `trained`, as the processes share it."""

    @abstractmethod
    def gallery(self) -> list[Exhibit]:
        """Some of the styles."""

    @abstractmethod
    def styles(self) -> list[dict[str, Any]]:
        """The records of the styles for the trained file."""

    def constrain(self) -> None:
        """Bring weights back to where they may be, after every step."""
        self.network.constrain()

    def licence(self) -> str:
        """The licence for the trained file."""
        return self.settings.licence

    def describe(self) -> dict[str, Any]:
        """The recipe for the trained file: the settings, with names instead of paths, and `contents`."""
        values: dict[str, Any] = {
            key: list(v) if isinstance(v, tuple) else v for key, v in self.settings.values().items()
        }
        for key in {"photos", "style", "begin_style", "other_backbone", "second_backbone"} & values.keys():
            values[key] = [Path(path).name for path in values[key]]
        for key in {"backbone", "encoder", "model", "begin_with", "teacher"} & values.keys():
            values[key] = Path(values[key]).name
        told = {key: value for key, value in values.items() if key not in self.settings.ONLY_HOW}
        return {"train": self.settings.FAMILY, **told, "contents": self.contents}

    def new_network(
        self, method: str, sizes: Mapping[str, Any], encoder: VGG | None = None, called: str | None = None
    ) -> Network:
        """A network with the initial weights that the seed decides; sizes that are None are the config's own.

        OptionError where it has no such size; `called` is what it is called there, its method unless given.
        """
        known = {field.name for field in fields(kind_named(method).config)}
        if stranger := next((name for name, value in sizes.items() if value is not None and name not in known), None):
            has = ", ".join(f"`{field.name}`" for field in fields(self.settings) if field.name in known)
            raise OptionError(f"{called or method} has no `{stranger}`: it has {has}", stranger)
        config = config_from(method, {key: value for key, value in sizes.items() if value is not None})
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.settings.seed)  # and not those of GPUs
            return build(config, encoder)

    def in_working_precision(self, backbone: VGG) -> VGG:
        """The frozen network in the type and layout of the work."""
        kind, layout = self.precision.dtype, self.precision.memory_format
        return cast(VGG, backbone.to(kind).to(memory_format=layout))  # type: ignore[call-overload]

    def sheet(self) -> Tensor:
        """Fixed photos, each painted in the styles, styles on top: (1, 3, rows · s, columns · s) in [0, 1]."""
        photos = self._samples()
        columns = [torch.cat([torch.ones_like(photos[:1]), photos])]
        self.network.eval()
        try:
            with torch.no_grad():
                columns += [torch.cat([style[None], paint(photos)]) for style, paint in self.gallery()[:SHOWN]]
        finally:
            self.network.train()
        return torch.cat([torch.cat(tuple(column), dim=1) for column in columns], dim=2)[None].float().cpu()

    def show(self, picture: Picture) -> Tensor:
        """A picture as it stands on a sheet, (3, s, s)."""
        return square(to_tensor(picture.seen()), min(self.settings.image_size, SHEET_SIDE))[0].to(self.device)

    def _samples(self) -> Tensor:
        """Photos spread over the collection, (n, 3, s, s); those that cannot be read are passed over."""
        count = min(SAMPLES, len(self.photos))
        found = []
        for i in range(count):
            for index in range(i * len(self.photos) // count, len(self.photos)):
                try:
                    found.append(self.show(read(io.BytesIO(self.photos.read(index)))))
                    break
                except ImpastoError:
                    continue
        if not found:
            raise DataError("none of the photos for the sheet of samples can be read")
        return torch.stack(found).contiguous(memory_format=self.precision.memory_format)

    def photo_names(self, step: int, world_size: int, folder: Path | None = None) -> str:
        """The photos of all processes at a step (from 0), the first four by name, for people to read."""
        plan = BatchPlan(len(self.photos), self.settings.batch_size * world_size, self.settings.seed)
        bad = BadPhotos(self.photos, folder and folder / BAD_PHOTOS)
        names = photos_of(self.photos, plan, step, set(bad))
        more = f" and {len(names) - SAMPLES} more" if len(names) > SAMPLES else ""
        return ", ".join(names[:SAMPLES]) + more

    def photo_batches(
        self, source: PhotoSource, start: int, shard: Shard, *, seed: int, bad: str
    ) -> Generator[Tensor, None, None]:
        """This process's part of batches of pictures; `bad` names the list of those that cannot be read."""
        s = self.settings
        return photo_batches(
            source,
            batch_size=s.batch_size,
            size=s.image_size,
            seed=seed,
            start_step=start,
            rank=shard.rank,
            world_size=shard.world_size,
            workers=_half_the_cores() if s.workers is None else s.workers,
            crop=Crop(enlarge=s.crop_enlarge),
            bad=BadPhotos(source, shard.folder and shard.folder / bad),
            device=self.device,
        )


def counted_gone(source: PhotoSource) -> str:
    """How many pictures are gone from a source, in words, or nothing."""
    count = len(source.gone)
    return f"{count} {source.what if count > 1 else source.what.removesuffix('s')}" if count else ""


def _half_the_cores() -> int:
    """For each process on this machine: two batches ahead is all they decode, so that more would only take memory."""
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, min(8, usable_cores() // 2 // processes))


def square(image: Tensor, side: int) -> Tensor:
    """The middle square of (B, 3, H, W), at another size: (B, 3, side, side)."""
    height, width = image.shape[-2:]
    short = min(height, width)
    top, left = (height - short) // 2, (width - short) // 2
    return resize(image[..., top : top + short, left : left + short], (side, side))
