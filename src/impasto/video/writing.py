"""Films written by PyAV: frames at their own times in BT.709, sound and all else copied or coded anew."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections import deque
from contextlib import nullcontext
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np

from impasto.files import shown
from impasto.video.carrying import Beside
from impasto.video.codecs import CODECS, CONTAINERS, Codec
from impasto.video.colours import Converter
from impasto.video.film import Bytes, FilmFacts, Frame, Sound, load_av
from impasto.video.film_recipe import add_recipe
from impasto.video.threads import scheduled_as_before

__all__ = ["AvWriter", "FilmWriter"]

BT709, LIMITED = 1, 1  # of AVColorSpace, AVColorPrimaries and AVColorTransferCharacteristic; of AVColorRange
WAITING: Final = 4096  # durations of frames that an encoder may hold back
LAST: Final = 2
"""Frames at the end that are coded in their order: MP4 and MOV keep one duration alone, that of what is coded last,
and that is to be the last frame's (`findings/mp4-last-frame-time.sh`).
"""


class FilmWriter(ABC):
    """A film that is being written; whole after `finish`.

    Attributes:
        notes: sentences about what the film could not take as it was.
    """

    def __init__(self) -> None:
        self.notes: list[str] = []

    @abstractmethod
    def write(self, frame: Frame) -> None:
        """The next frame; its time is in time bases of the facts that the writer was made with."""

    def sound(self, sound: Sound) -> None:  # noqa: B027  most formats have no place for it
        """A packet of another stream, where the film can have any."""

    @abstractmethod
    def finish(self) -> None:
        """Write what is held back, and the end."""

    def close(self) -> None:  # noqa: B027  who writes pictures keeps nothing open
        """Let go of the file, finished or not."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AvWriter(FilmWriter):
    """MP4, MOV, MKV, WebM.

    Args:
        path: where to.
        facts: of the film; the time base is that of the frames that will be written, the size is theirs.
        codec, crf: as `codec_for` gives them.
        source: PyAV's container whose other streams, chapters and metadata are carried over.
        begin, end: the part of it that is.
        name: of the film, for messages.
        repeatable: code so that the same frames give the same bits each time.
        recipe: how it was made, as text; the file's comment, or where the source has one of its own, its description.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        facts: FilmFacts,
        codec: str,
        crf: int,
        source: Any = None,
        *,
        begin: Fraction = Fraction(0),
        end: Fraction | None = None,
        name: str | None = None,
        recipe: str | None = None,
        repeatable: bool = False,
    ) -> None:
        super().__init__()
        self._av = av = load_av()
        self.name = shown(path) if name is None else name
        container = CONTAINERS[Path(path).suffix.lower()]
        self._format = container.format
        fast = {"movflags": "+faststart"} if self._format in ("mp4", "mov") else {}
        self._file = av.open(str(path), "w", format=self._format, options=fast)
        self._durations: dict[int, int] = {}
        self._held: deque[Any] = deque()  # frames that may be the last ones
        self._beside: Beside | None = None
        try:
            self._stream = self._add_picture(facts, CODECS[codec], codec, crf)
            if repeatable:
                self._stream.codec_context.thread_count = 1
                self._stream.options = dict(self._stream.options) | dict(CODECS[codec].repeatable)
            self._time_base = facts.time_base
            if source is not None:
                self._beside = Beside(self._file, container, source, begin, end, self.name)
                self.notes += self._beside.notes
            if recipe is not None:
                add_recipe(self._file.metadata, recipe)
        except BaseException:
            self._file.close()
            raise

    def write(self, frame: Frame) -> None:
        """See `FilmWriter`."""
        av = self._av
        pixels = frame.rgb
        if self._alpha:
            opaque = np.full(pixels.shape[:2], 255, np.uint8)
            pixels = np.dstack([pixels, opaque if frame.alpha is None else frame.alpha])
        elif frame.alpha is not None:
            pixels = _on_white(pixels, frame.alpha)
        whole = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgba" if self._alpha else "rgb24")
        coded = self._convert(whole)
        coded.colorspace = coded.color_primaries = coded.color_trc = BT709
        coded.color_range = LIMITED
        coded.pts, coded.time_base = frame.pts, self._time_base
        if frame.duration:
            coded.duration = frame.duration
            self._durations[frame.pts] = frame.duration
            if len(self._durations) > WAITING:
                del self._durations[next(iter(self._durations))]
        self._held.append(coded)
        if len(self._held) > LAST:
            self._encode(self._held.popleft())

    def sound(self, sound: Sound) -> None:
        """See `FilmWriter`."""
        if self._beside is not None:
            self._file.mux(self._beside.packets(sound))

    def finish(self) -> None:
        """See `FilmWriter`."""
        for frame in self._held:
            if self._stream.codec_context.is_open:  # the first of all is coded by itself in any case
                frame.pict_type = self._av.video.frame.PictureType.P
            self._encode(frame)
        self._encode(None)
        self._end()

    def close(self) -> None:
        """See `FilmWriter`."""
        self._file.close()

    # -- what is inside -------------------------------------------------------------------------------------

    def _end(self) -> None:
        """What is left of the streams beside the picture, and the end of the file."""
        if self._beside is not None:
            self._file.mux(self._beside.rest())
        self._file.close()

    def _add_picture(self, facts: FilmFacts, codec: Codec, name: str, crf: int) -> Any:
        height, width = facts.size
        # What the file tells of its rate; frames have their own times.
        rate = (facts.rate or Fraction(25)).limit_denominator(1001)
        stream = self._file.add_stream(codec.encoder, rate=rate)
        stream.width, stream.height = width, height
        self._alpha = facts.alpha and name == "vp9"
        if facts.alpha and not self._alpha:
            self.notes.append(f"{self.name}: {name} has no transparency: laid on white (WebM keeps it)")
        stream.pix_fmt = "yuva420p" if self._alpha else "yuv420p"
        options = dict(codec.options) | {"crf": str(crf)}
        if not codec.odd and (width % 2 or height % 2):
            stream.pix_fmt = "yuv444p"
            self.notes.append(
                f"{self.name}: {width}x{height} px has an odd side, which {name} takes with full colours alone (4:4:4) "
                "that browsers and phones do not show: choose another `size`, or .webm"
            )
        if name == "vp9" and self._alpha:
            options["auto-alt-ref"] = "0"
            stream.metadata["alpha_mode"] = "1"
        if name == "hevc" and self._format in ("mp4", "mov"):
            stream.codec_context.codec_tag = "hvc1"  # or Apple's players show nothing
        stream.options = options
        how = "out_color_matrix=bt709:out_range=tv:out_chroma_loc=left"
        self._convert = Converter(facts.size, "rgba" if self._alpha else "rgb24", stream.pix_fmt, how)
        context = stream.codec_context
        context.time_base = facts.time_base
        context.bit_rate = 0
        context.colorspace = context.color_primaries = context.color_trc = BT709
        context.color_range = LIMITED
        if facts.pixel != 1:
            context.sample_aspect_ratio = facts.pixel
        return stream

    def _encode(self, frame: Any) -> None:
        """A frame, or None at the end; the first opens the encoder."""
        with nullcontext() if self._stream.codec_context.is_open else scheduled_as_before():
            packets = self._stream.encode(frame)
        self._mux(packets)

    def _mux(self, packets: Any) -> None:
        for packet in packets:
            duration = self._durations.pop(round(packet.pts * packet.time_base / self._time_base), 0)
            if duration:
                packet.duration = round(duration * self._time_base / packet.time_base)
            self._file.mux(packet)


def _on_white(rgb: Bytes, alpha: Bytes) -> Bytes:
    share = alpha[:, :, None].astype(np.float32) / 255
    return (255 + share * (rgb.astype(np.float32) - 255) + 0.5).astype(np.uint8)
