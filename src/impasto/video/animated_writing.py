"""Animated GIF, WebP and APNG, and numbered pictures, written by Pillow: each frame with its own time."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image, PngImagePlugin

from impasto.core.memory import available_memory
from impasto.errors import OptionError
from impasto.files import output_error, shown
from impasto.imaging import Picture, write
from impasto.imaging.embedded import KEYWORD, recipe_xmp
from impasto.imaging.xmp import stored
from impasto.video.film import FilmFacts, Frame, as_floats
from impasto.video.numbered import NumberedPaths
from impasto.video.writing import FilmWriter

__all__ = ["AnimationWriter", "PicturesWriter"]

SHORTEST: Final = {"GIF": 20, "WEBP": 1, "PNG": 1}  # ms: shorter frames of a GIF are shown for 100
STEP: Final = {"GIF": 10, "WEBP": 1, "PNG": 1}  # ms in which a format counts
USUAL: Final = 100  # ms of a last frame of which nothing is known
ALPHA: Final = 128  # of a pixel that a GIF shows


class AnimationWriter(FilmWriter):
    """GIF, WebP or APNG; its frames are put together in memory.

    A format that counts in hundredths of a second has times that are right in sum: 30 frames a second are shown for 3,
    3 and 4 of them. Carries a recipe, where there is one, as `imaging.embedded` has it.
    """

    def __init__(
        self, path: str | os.PathLike[str], facts: FilmFacts, *, name: str | None = None, recipe: str | None = None
    ) -> None:
        super().__init__()
        self._recipe = recipe
        self._path, self._facts, self.name = Path(path), facts, shown(path) if name is None else name
        self._format = {".gif": "GIF", ".webp": "WEBP"}.get(self._path.suffix.lower(), "PNG")
        self._pictures: list[Image.Image] = []
        self._begins: list[int] = []  # ms
        self._end = 0
        self._room = available_memory()

    def write(self, frame: Frame) -> None:
        """See `FilmWriter`."""
        begins = self._ms(frame.pts)
        self._end = self._ms(frame.pts + frame.duration) if frame.duration else begins + USUAL
        if self._begins and begins - self._begins[-1] < SHORTEST[self._format]:
            note = f"{self.name}: a GIF shows at most 50 frames a second: others are left out"
            self.notes += [note] if note not in self.notes else []
            return
        self._begins.append(begins)
        self._pictures.append(self._picture(frame))
        height, width = self._facts.size
        self._room -= height * width * (1 if self._format == "GIF" else 4)
        if self._room < 0:
            raise OptionError(
                f"{self.name}: an animation is put together in memory, which is full: choose a smaller `size`, a part "
                "by `begin` and `end`, or write a film such as .mp4"
            )

    def finish(self) -> None:
        """See `FilmWriter`."""
        first, *others = self._pictures
        ends = [*self._begins[1:], max(self._end, self._begins[-1] + STEP[self._format])]
        durations = [end - begin for begin, end in zip(self._begins, ends, strict=True)]
        options: dict[str, Any] = {"duration": durations, "disposal": 2} if self._format == "GIF" else {}
        options = options or {"duration": durations}
        loops = 0 if self._facts.loops is None else self._facts.loops
        if self._format != "GIF" or loops != 1:  # a GIF that is shown once says nothing of loops
            options["loop"] = loops if self._format != "GIF" or loops == 0 else loops - 1
        if self._format == "WEBP":
            options |= {"quality": 90, "method": 4}
        if self._recipe is not None:
            options |= self._carrying(self._recipe)
        # Beside the suffix, for what is written under another name first.
        first.save(self._path, format=self._format, save_all=True, append_images=others, **options)

    def _carrying(self, recipe: str) -> dict[str, Any]:
        """Pillow's options of a file with this recipe."""
        if self._format == "WEBP":
            return {"xmp": recipe_xmp(recipe, "webp")}
        if self._format == "GIF":
            return {"comment": stored(recipe).encode()}
        text = PngImagePlugin.PngInfo()
        text.add_text(KEYWORD, stored(recipe))
        return {"pnginfo": text}

    def _ms(self, pts: int) -> int:
        step = STEP[self._format]
        return round(pts * self._facts.time_base * 1000 / step) * step

    def _picture(self, frame: Frame) -> Image.Image:
        if self._format != "GIF":
            return Image.fromarray(frame.rgb if frame.alpha is None else np.dstack([frame.rgb, frame.alpha]))
        image = Image.fromarray(frame.rgb)
        # Without dithering, whose dots would flicker.
        if frame.alpha is None:
            return image.quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        image = image.quantize(255, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        image.paste(255, mask=Image.fromarray((frame.alpha < ALPHA).astype(np.uint8) * 255))
        image.info["transparency"] = 255
        return image


class PicturesWriter(FilmWriter):
    """Pictures in a folder (``painted/``) or by a pattern (``painted/%05d.jpg``), numbered from 1.

    The folder is made with the first of them.
    """

    def __init__(
        self,
        path: str,
        facts: FilmFacts,
        *,
        force: bool = False,
        inputs: tuple[str, ...] = (),
        recipe: str | None = None,
    ) -> None:
        super().__init__()
        self._recipe = recipe
        self._paths = NumberedPaths.of_output(path)
        self._force, self._inputs, self._count = force, inputs, 0

    def write(self, frame: Frame) -> None:
        """See `FilmWriter`."""
        self._count += 1
        path = self._paths.path(self._count)
        if self._count == 1:
            try:
                self._paths.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise output_error(path, error) from error
        alpha = None if frame.alpha is None else as_floats(frame.alpha)
        picture = Picture(as_floats(frame.rgb), alpha)
        write(picture, path, force=self._force, inputs=self._inputs, recipe=self._recipe)

    def finish(self) -> None:
        """See `FilmWriter`; each picture is whole already. Tell of others there, which stay as they are."""
        if others := self._paths.others(self._count, self._inputs) if self._count else []:
            stay = (
                "1 other numbered picture stays" if len(others) == 1 else f"{len(others)} other numbered pictures stay"
            )
            self.notes.append(
                f"{shown(self._paths.folder)}: {stay} there, such as {shown(others[0].name)}: remove them, or who "
                "reads the folder as a film sees them too"
            )
