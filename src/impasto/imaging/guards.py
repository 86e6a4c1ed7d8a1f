"""What stands between the program and hostile or damaged files: limits, quiet libraries, one kind of error."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import TracebackType

from PIL import Image, ImageFile, UnidentifiedImageError

from impasto.errors import ImageError, ImpastoError, MissingExtraError, in_figures
from impasto.files import shown
from impasto.types import MAX_MEGAPIXELS

__all__ = ["MAX_MEGAPIXELS", "MIN_SIDE", "QUIET", "Limits", "TooLargeError", "decoding"]

MIN_SIDE = 32

READABLE = "JPEG, PNG, WebP, TIFF, AVIF, GIF, BMP or HEIC"


class TooLargeError(ImageError):
    """A picture of more pixels than are read.

    Attributes:
        fact: the sentence without its end, which is how to mend it.
    """

    def __init__(self, fact: str) -> None:
        super().__init__(f"{fact}; scale it down or raise the limit, `max_megapixels`")
        self.fact = fact


@dataclass(frozen=True)
class Limits:
    """How large and how small a picture may be: megapixels at most, pixels per side at least."""

    max_megapixels: float = MAX_MEGAPIXELS
    min_side: int = MIN_SIDE

    def check(self, name: str, width: int, height: int) -> None:
        """Raise ``ImageError`` for a size out of bounds; call it on the header, before any decoding."""
        if width * height > self.max_megapixels * 1e6:
            raise TooLargeError(
                f"{name}: {width}x{height} px is {in_figures(width * height / 1e6)} megapixels, at most "
                f"{self.max_megapixels:g} are read"
            )
        least = max(1, self.min_side)
        if min(width, height) < least:
            raise ImageError(f"{name}: {width}x{height} px, need at least {least}x{least}")


class _Quiet:
    """Keeps the decoders silent and Pillow's own limits out of the way while any thread is inside.

    Pillow and ``warnings`` only know settings of the whole process. The first to enter sets them, the last to
    leave puts back what was there, so that threads may decode side by side.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._undo = ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._undo.enter_context(_silenced())
            self._inside += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._undo.close()


QUIET = _Quiet()

_TALKATIVE = ("tifffile", "imagecodecs", "pyvips")  # their warnings end on the terminal where logging is not set up


@contextmanager
def _silenced() -> Iterator[None]:
    before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
    for name in _TALKATIVE:
        logging.getLogger(name).addFilter(_drop)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            Image.MAX_IMAGE_PIXELS = None  # Limits.check looks at the header instead
            ImageFile.LOAD_TRUNCATED_IMAGES = False
            yield
    finally:
        for name in _TALKATIVE:
            logging.getLogger(name).removeFilter(_drop)
        Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = before


def _drop(record: logging.LogRecord) -> bool:
    return False


@contextmanager
def decoding(name: str) -> Iterator[None]:
    """Turn whatever a decoder raises on bad bytes into one ``ImageError`` that names the picture."""
    try:
        with QUIET:
            yield
    except MissingExtraError as error:
        if name in error.what:
            raise
        raise MissingExtraError(error.library, error.extra, f"{name}: {error.what}") from error
    except ImpastoError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(f"{name}: not a picture of a kind read here, or badly damaged; give {READABLE}") from error
    except MemoryError as error:
        raise ImageError(f"{name}: more than the memory can hold; scale the picture down") from error
    except Exception as error:  # decoders meet arbitrary bytes and raise almost anything
        reason = shown(str(error).partition("\n")[0])[:100] or type(error).__name__
        raise ImageError(f"{name}: damaged or cut short ({reason}); copy or download it again") from error
