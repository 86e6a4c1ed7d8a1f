"""What one visitor has on the desk: a photo, paintings of their own, masks, and what was painted in this session."""

from __future__ import annotations

import base64
import binascii
import re
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from impasto.errors import DataError, ImageError
from impasto.files import sha256
from impasto.imaging import Picture, encode
from impasto.studio.page.acts import Act, act_here
from impasto.stylizer.recipe import Recipe
from impasto.types import MAX_MEGAPIXELS

if TYPE_CHECKING:
    from impasto.studio.page.controls import Controls

__all__ = ["PREVIEW", "SHOWN", "Desk", "Desks", "Done", "Painting", "Photo", "plain_name"]

PREVIEW: Final = 512  # px of the long side of a preview
SHOWN: Final = 1280  # px of the long side at which pictures are shown on the page
THUMBNAIL: Final = 192
KEPT_PREVIEWS: Final = 4  # the page may still be loading the one before
KEPT_PAINTINGS: Final = 24  # of the history
MASK_BYTES: Final = 16 << 20
IDLE: Final = 3600.0  # seconds after which a desk that nobody works at is cleared


@dataclass(frozen=True)
class Photo:
    """The photo: its file as it came, its name, (height, width) in px, and smaller ones to show and to preview."""

    path: Path
    name: str
    size: tuple[int, int]
    shown: Path
    small: Path
    recipe: Recipe | None


@dataclass(frozen=True)
class Painting:
    """A picture of the visitor's as style; `part` is the same with what is not meant made transparent."""

    path: Path
    name: str
    shown: Path
    digest: str
    part: Path | None = None

    @property
    def title(self) -> str:
        """Its name without the suffix."""
        return Path(self.name).stem

    @property
    def source(self) -> Path:
        """The file that is the style."""
        return self.part or self.path


@dataclass(frozen=True)
class Done:
    """A picture that was painted at full size: its file, what to call it, and what it was painted with."""

    path: Path
    title: str
    thumbnail: Path
    size: tuple[int, int]
    seconds: float
    controls: Controls


@dataclass
class Desk:
    """One visitor's things. What `folder` holds goes with it.

    Attributes:
        max_megapixels: of a picture that is read.
        act: does what is to be done to files, see `acts`.
        client: whose it is, as far as limits count.
        masks: by the style that they are for, ``all`` for a mix as a whole.
        further: options that came with a painted picture's recipe and that the page has no control for.
        done: what was painted, latest first.
        stops: ends what is painted at full size just now; None if nothing is.
        stopping: whether that was asked for.
        controls: what is chosen now.
        current: the painting at full size of just what is chosen now, if there is one.
        changes: how often something was changed that a picture depends on.
        waiting: photos to be painted one after another.
        archive: the ZIP of those that were.
        view: what the page shows of all this, see `events`.
    """

    folder: Path
    max_megapixels: float = MAX_MEGAPIXELS
    act: Act = act_here
    client: str = ""
    photo: Photo | None = None
    paintings: dict[str, Painting] = field(default_factory=dict)
    masks: dict[str, Path] = field(default_factory=dict)
    further: dict[str, Any] = field(default_factory=dict)
    done: list[Done] = field(default_factory=list)
    stops: Callable[[], None] | None = None
    stopping: bool = False
    controls: Controls | None = None
    current: Done | None = None
    changes: int = 0
    view: dict[str, Any] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)
    used: float = field(default_factory=time.monotonic)
    waiting: list[Path] = field(default_factory=list)
    archive: Path | None = None
    _previews: list[Path] = field(default_factory=list)
    _numbers: int = 0

    def place(self, name: str) -> Path:
        """Where a file of this name can lie, beside no other."""
        folder = self.folder / secrets.token_hex(8)
        folder.mkdir(parents=True)
        return folder / plain_name(name)

    def plain(self, sentence: object) -> str:
        """A sentence without the folders of this machine: visitors know their files by name alone."""
        return re.sub(re.escape(str(self.folder)) + r"[\\/]([0-9a-f]{16}[\\/])?", "", str(sentence))

    def take_photo(self, upload: Path, name: str) -> Photo:
        """Put a file on the desk as the photo; ImageError if it is no picture, and the one before stays."""
        path = self._take(upload, name)
        small = self.place(path.name).with_suffix("")
        try:
            seen = self._look_at(path, (SHOWN, self.place("photo"), False), (PREVIEW, small, True))
        except BaseException:
            self._forget(path, small)
            raise
        shown, small = seen["copies"]
        recipe = None if seen["recipe"] is None else Recipe.from_text(seen["recipe"], path.name)
        before, self.photo = self.photo, Photo(path, path.name, seen["size"], shown, small, recipe)
        self.clear_masks()
        if before is not None:
            self._forget(before.path, before.shown, before.small)
        return self.photo

    def take_painting(self, upload: Path, name: str) -> str:
        """Put a file on the desk as a style; gives what to call it. ImageError if it is no picture."""
        path = self._take(upload, name)
        digest = sha256(path)
        for known, painting in self.paintings.items():
            if painting.digest == digest:
                self._forget(path)
                return known
        try:
            (shown,) = self._look_at(path, (PREVIEW, self.place("style"), False))["copies"]
        except BaseException:
            self._forget(path)
            raise
        self._numbers += 1
        key = f"own-{self._numbers}"
        self.paintings[key] = Painting(path, path.name, shown, digest)
        return key

    def set_mask(self, target: str, data_url: str) -> None:
        """Take a mask that was brushed on the page, a PNG as data URL; an empty one takes the mask away.

        Args:
            target: ``all``, the style that the mask is for, or ``part:`` and a painting of which a part is meant.
            data_url: ``data:image/png;base64,...``
        """
        content = _png_of(data_url)
        if target.startswith("part:"):
            self._set_part(target.removeprefix("part:"), content)
            return
        old = self.masks.pop(target, None)
        if content:
            path = self.place("mask.png" if target == "all" else f"mask-{target}.png")
            path.write_bytes(content)
            self.masks[target] = path
        if old is not None:
            self._forget(old)

    def clear_masks(self) -> None:
        """Forget what was brushed onto the photo."""
        for path in self.masks.values():
            self._forget(path)
        self.masks.clear()

    def white_mask(self) -> Path:
        """A mask that leaves everything to the style, for a style without one beside others that have one."""
        path = self.folder / "mask-white.png"
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_white_png())
        return path

    def add_waiting(self, uploads: Sequence[tuple[Path, str]]) -> None:
        """Put files with their names among those to be painted one after another."""
        for upload, name in uploads:
            path = self.place(name)
            shutil.copy(upload, path)  # what has the same name and content is one file, see `_take`
            self.waiting.append(path)
        for upload in {upload for upload, _ in uploads}:
            shutil.rmtree(self._take(upload, "").parent)

    def clear_waiting(self) -> None:
        """Forget them."""
        self._forget(*self.waiting)
        self.waiting.clear()

    def new_archive(self, name: str) -> Path:
        """Where a ZIP can be written; the one before goes."""
        if self.archive is not None:
            self._forget(self.archive)
        self.archive = self.place(name)
        return self.archive

    def keep_preview(self, path: Path) -> Path:
        """Keep a preview that was painted on the desk; older ones go."""
        self._previews.append(path)
        while len(self._previews) > KEPT_PREVIEWS:
            self._forget(self._previews.pop(0))
        return path

    def look_at_painting(self, path: Path) -> tuple[tuple[int, int], Path, Path]:
        """(height, width) of a painting in px, a picture of it to be shown, and a small one for the history."""
        seen = self._look_at(path, (SHOWN, self.place("painted"), False), (THUMBNAIL, self.place("thumbnail"), False))
        return seen["size"], *seen["copies"]

    def keep(self, done: Done) -> None:
        """Put a painting into the history; the oldest goes where there are many."""
        self.done.insert(0, done)
        for old in self.done[KEPT_PAINTINGS:]:
            self._forget(old.path, old.thumbnail)
        del self.done[KEPT_PAINTINGS:]

    def stop(self) -> None:
        """Stop what is painted at full size, after the piece that it is at."""
        self.stopping = True
        if self.stops is not None:
            self.stops()

    def clear(self) -> None:
        """Stop, and throw everything away."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _take(self, upload: Path, name: str) -> Path:
        path = self.place(name)
        shutil.move(upload, path)
        with suppress(OSError):
            upload.parent.rmdir()  # Gradio makes one for each content
        return path

    def _set_part(self, key: str, content: bytes) -> None:
        painting = self.paintings.get(key)
        if painting is None:
            raise DataError("the painting whose part was brushed is not here: drop it again")
        part = None
        if content:
            mask, part = self.place("part.png"), self.place(f"{painting.title}-part.png")
            mask.write_bytes(content)
            try:
                self.act(
                    "cut_part",
                    path=str(painting.path),
                    mask=str(mask),
                    output=str(part),
                    max_megapixels=self.max_megapixels,
                )
            finally:
                self._forget(mask)
        if painting.part is not None:
            self._forget(painting.part)
        self.paintings[key] = replace(painting, part=part)

    def _look_at(self, path: Path, *copies: tuple[int, Path, bool]) -> dict[str, Any]:
        """What there is to know of a picture; where that fails, places of copies are gone."""
        rows = [(long_side, str(place), is_exact) for long_side, place, is_exact in copies]
        try:
            seen = self.act("look_at", path=str(path), copies=rows, max_megapixels=self.max_megapixels)
        except BaseException:
            self._forget(*(place for _, place, _ in copies))
            raise
        return {**seen, "size": tuple(seen["size"]), "copies": [Path(copy) for copy in seen["copies"]]}

    def _forget(self, *files: Path) -> None:
        for file in files:
            shutil.rmtree(file.parent, ignore_errors=True)


class Desks:
    """The desks of all visitors, in one folder.

    Args:
        folder: where their files lie; made when it is needed, and removed by `clear`.
        max_megapixels: of a picture that is read.
        act_of: what does the acts of a client.
    """

    def __init__(
        self,
        folder: Path,
        max_megapixels: float = MAX_MEGAPIXELS,
        act_of: Callable[[str], Act] = lambda _client: act_here,
    ) -> None:
        self.folder, self.max_megapixels, self._act_of = folder, max_megapixels, act_of
        self._desks: dict[str, Desk] = {}
        self._lock = threading.Lock()

    def of(self, visitor: str, client: str = "") -> Desk:
        """The visitor's desk. Several visitors may be one client."""
        with self._lock:
            desk = self._desks.get(visitor)
            if desk is None:
                place = self.folder / secrets.token_hex(16)
                desk = self._desks[visitor] = Desk(place, self.max_megapixels, self._act_of(client), client)
            desk.used = time.monotonic()
        return desk

    def sweep(self) -> None:
        """Clear the desks that nobody has worked at for an hour."""
        now = time.monotonic()
        with self._lock:
            idle = [key for key, desk in self._desks.items() if now - desk.used > IDLE and desk.stops is None]
            old = [self._desks.pop(key) for key in idle]
        for desk in old:
            desk.clear()

    def clear(self) -> None:
        """Throw everything away."""
        with self._lock:
            desks, self._desks = list(self._desks.values()), {}
        for desk in desks:
            desk.clear()
        shutil.rmtree(self.folder, ignore_errors=True)


def plain_name(name: str) -> str:
    """A file's name as it can be used here: no folders, nothing that a shell or a page would take for something else.

    >>> plain_name("../../My <b>beach</b>.JPG")
    'b_.JPG'
    >>> plain_name("my café.png"), plain_name("..")
    ('my café.png', 'picture')
    """
    last = re.split(r"[\\/]", name)[-1]
    kept = re.sub(r"[^\w .()+-]", "_", last).strip(" .-")
    stem, dot, suffix = kept.rpartition(".")
    return f"{stem[:80]}.{suffix[:8]}" if dot and stem else kept[:80] or "picture"


def _png_of(data_url: str) -> bytes:
    """The PNG of a data URL; empty for an empty one. ImageError for anything else."""
    if not data_url:
        return b""
    head, _, body = data_url.partition(",")
    if head != "data:image/png;base64" or len(body) > MASK_BYTES:
        raise ImageError("the mask is no PNG of a reasonable size: brush it again")
    try:
        content = base64.b64decode(body, validate=True)
    except binascii.Error as error:
        raise ImageError("the mask came damaged: brush it again") from error
    if not content.startswith(b"\x89PNG\r\n\x1a\n"):
        raise ImageError("the mask is no PNG: brush it again")
    return content


def _white_png() -> bytes:
    return encode(Picture(np.ones((64, 64, 3), np.float32)), "png")
