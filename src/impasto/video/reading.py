"""Films read by PyAV: frames with their times, upright and in sRGB, and the packets of all that is beside them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np

from impasto.errors import ImageError, OptionError
from impasto.files import shown
from impasto.imaging.reading import read_header
from impasto.video import colours
from impasto.video.animations import ANIMATED, AnimationReader
from impasto.video.ends import MICRO, Ends
from impasto.video.film import Bytes, FilmFacts, FilmReader, Frame, Sound, StillPictureError, load_av
from impasto.video.numbered import PicturesReader, find_pictures, is_numbered
from impasto.video.parts import FORMATS, Parts

__all__ = ["AvReader", "open_film"]

STILL: Final = frozenset({"image2", "png_pipe", "jpeg_pipe", "webp_pipe", "bmp_pipe", "tiff_pipe"})
GOES_BACK: Final = "its times go back in places: frames and sound that come too late are left out"


def open_film(source: str | os.PathLike[str], *, rate: Fraction | None = None) -> FilmReader:
    """A film to read: a file, an animation (GIF, WebP, APNG), a folder of numbered pictures or a pattern of them.

    Args:
        source: its path.
        rate: frames a second of numbered pictures.

    Raises:
        ImageError: there is no such film, it cannot be read, or it holds no moving picture.
        OptionError: a rate is given of what has one of its own.
        MissingExtraError: PyAV is not installed.
    """
    path = Path(source)
    if is_numbered(source):
        return PicturesReader(find_pictures(source), rate or Fraction(25), shown(source))
    if not path.is_file():
        raise ImageError(f"{shown(source)}: no such film")
    if rate is not None:
        name = shown(source)
        raise OptionError(f"`rate` is for numbered pictures, and {name} has times of its own: leave it out", "rate")
    if path.stat().st_size == 0:
        raise ImageError(f"{shown(source)}: is empty, need a film")
    if path.suffix.lower() in ANIMATED:
        return AnimationReader(path)
    return AvReader(path)


class AvReader(FilmReader):
    """Whatever PyAV reads.

    The first frame is decoded at once: a film's rotation and its transfer curve are known from no header.
    """

    def __init__(self, path: Path) -> None:
        self._av = av = load_av()
        self.path, self.name, self.notes = path, shown(path), list[str]()
        self._encrypted = False  # a packet of its picture at least
        self._parts = Parts()
        try:
            self._container = av.open(str(path))
        except (av.FFmpegError, ValueError) as error:
            raise ImageError(f"{self.name}: cannot be read as a film ({_reason(error)})") from error
        try:
            self._look()
        except BaseException:
            self._container.close()
            raise

    def _look(self) -> None:
        """What is known of it, from its header and its first frame."""
        self._choose()
        if self._container.format.name in FORMATS:
            self._parts.look(self._container)
            self._again()
            if self._parts.end is not None:
                self._tell(f"{self.name}: its times begin again: each part is carried on where the one before ended")
        container, stream = self._container, self.stream
        start = container.start_time
        self.start = Fraction(start, MICRO) if start is not None and start > 0 else Fraction(0)
        first = next(self._raw_frames(), None)
        if first is None and self._encrypted:
            raise ImageError(f"{self.name}: is encrypted, need a film without protection against copying")
        if first is None:
            raise ImageError(f"{self.name}: not one of its frames can be decoded, need a film with at least one")
        self._to_rgb = colours.ToRgb(stream.codec_context.name)
        self.matrix = colours.matrix_of_side_data(first)
        rgb = colours.upright(self._to_rgb(first), self.matrix)
        self._notes_of(first)
        rate = stream.average_rate or stream.guessed_rate or None
        seconds = self._seconds()
        frames = round(seconds * rate) if seconds and rate else None
        if stream.frames:  # of which an edit list may show fewer
            frames = stream.frames if frames is None else min(frames, stream.frames)
        pixel, turned = Fraction(stream.sample_aspect_ratio or 1), self.matrix is not None and self.matrix[0] == 0
        self.facts = FilmFacts(
            self.name, (rgb.shape[0], rgb.shape[1]), Fraction(stream.time_base), rate and Fraction(rate), frames,
            seconds, self._has_alpha, None, 1 / pixel if turned else pixel,
        )  # fmt: skip
        self._again()

    def _choose(self) -> None:
        """Find the stream that is the film, and what decodes it."""
        container = self._container
        pictures = [row for row in container.streams.video if not _is_cover(row)]
        if not pictures:
            kinds = ", ".join(sorted({row.type for row in container.streams})) or "nothing"
            raise ImageError(f"{self.name}: holds no moving picture ({kinds} alone), need a film")
        self.stream = stream = pictures[0]
        if container.format.name in STILL or container.format.name.endswith("_pipe"):
            try:
                read_header(self.path)
            except ImageError as error:  # only its name is that of a picture
                raise ImageError(f"{self.name}: cannot be read as a film") from error
            raise StillPictureError(self.name)
        if stream.codec_context is None or stream.time_base is None:
            raise ImageError(f"{self.name}: its picture is coded in a way that is not known here, or encrypted")
        stream.codec_context.thread_count = 1  # it is read ahead, by a thread of its own; more hold more frames
        self._decoder = self._decoder_of(stream)
        self._ends = Ends(container, stream)

    def _again(self) -> None:
        """Open it anew: not every film can be wound back."""
        self._container.close()
        self._container = self._av.open(str(self.path))
        self._choose()
        self._fresh = True

    @property
    def container(self) -> Any:
        """See `FilmReader`; a new one with each call of `items` but the first."""
        return self._container

    def close(self) -> None:
        """See `FilmReader`."""
        self._container.close()

    def items(
        self, begin: Fraction = Fraction(0), end: Fraction | None = None, *, decode: bool = True
    ) -> Iterator[Frame | Sound]:
        """See `FilmReader`. A damaged place is passed over, and told in `notes`."""
        time_base, last = self.facts.time_base, None
        shift = self.start + begin
        self._wind(shift)
        offset = round(shift / time_base)
        stop = None if end is None else shift + (end - begin)
        for item in self._decoded(decode=decode):
            if isinstance(item, Sound):
                if _within(item.packet, shift, stop):
                    yield Sound(item.packet, shift)
                continue
            pts = self._time_of(item, last)
            if last is not None and pts <= last:  # no muxer takes two frames of one time
                if pts < last:
                    self._tell(f"{self.name}: {GOES_BACK}")
                continue
            if pts < offset and (pts + (item.duration or 0) <= offset):
                continue
            if stop is not None and pts * time_base >= stop:
                if pts * time_base > stop + 10:  # beyond what other streams may lag behind
                    return
                continue
            last = pts
            yield self._frame(item, pts - offset, max(0, offset - pts) if begin else 0)
        self._tell_missing(stop)

    # -- what is inside -------------------------------------------------------------------------------------

    def _decoder_of(self, stream: Any) -> Any:
        """Libvpx instead of FFmpeg's own decoder, which drops the transparency of VP8 and VP9."""
        self._has_alpha = stream.metadata.get("alpha_mode", stream.metadata.get("ALPHA_MODE")) == "1"
        name = {"vp9": "libvpx-vp9", "vp8": "libvpx"}.get(stream.codec_context.name.removeprefix("lib"), "")
        if not self._has_alpha or not name:
            return stream.codec_context
        decoder = self._av.CodecContext.create(name, "r")
        decoder.extradata = stream.codec_context.extradata
        return decoder

    def _wind(self, place: Fraction) -> None:
        """Go to the last frame at or before this time from which one can decode."""
        if not self._fresh:
            self._again()
        self._fresh = False
        if place > self.start and self._parts.end is None:  # or the times of the file are not those of the film
            with suppress(self._av.FFmpegError):  # then it is read from its beginning
                self._container.seek(int(place / self.stream.time_base), stream=self.stream, backward=True)

    def _raw_frames(self) -> Iterator[Any]:
        return (item for item in self._decoded() if not isinstance(item, Sound))

    def _decoded(self, *, decode: bool = True) -> Iterator[Any]:
        av, broken = self._av, 0
        read: dict[int, int] = {}  # when the last packet of each stream beside the picture is due
        packets = self._container.demux()
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                break
            except av.FFmpegError as error:
                self._tell(f"{self.name}: ends in a damaged place ({_reason(error)}); what could be read is painted")
                break
            self._parts.carry_on(packet)
            self._ends.read(packet)
            if packet.stream_index != self.stream.index:
                if packet.size and packet.dts is not None and self._in_order(packet, read):
                    yield Sound(packet)
                continue
            if packet.size == 0 or not decode:
                continue  # the end: flushed below
            if packet.has_sidedata("encryption_info"):
                self._encrypted = True
                self._tell(f"{self.name}: is encrypted in parts, which are left out")
                continue
            try:
                yield from self._decoder.decode(packet)
            except av.FFmpegError as error:
                broken += 1
                self._tell(f"{self.name}: has damaged frames, which are left out ({_reason(error)})")
        if not decode:
            return
        with suppress(av.FFmpegError, EOFError):
            yield from self._decoder.decode(None)

    def _time_of(self, frame: Any, last: int | None) -> int:
        """When a frame is shown, in time bases of the film."""
        base = self.facts.time_base
        if frame.pts is None:
            return 0 if last is None else last + max(1, round(1 / ((self.facts.rate or 25) * base)))
        return round(Fraction(frame.pts) * (frame.time_base or base) / base)

    def _in_order(self, packet: Any, read: dict[int, int]) -> bool:
        """Whether a muxer takes a packet after what was `read` of its stream."""
        before = read.get(packet.stream_index, packet.dts - 1)
        if packet.dts < before or (packet.dts == before and packet.stream.type == "audio"):
            self._tell(f"{self.name}: {GOES_BACK}")
            return False
        read[packet.stream_index] = packet.dts
        return True

    def _frame(self, frame: Any, pts: int, early: int) -> Frame:
        """A frame, of which so much is left out at its beginning."""
        rgb, alpha = self._to_rgb(frame), None
        if self._has_alpha:
            alpha = _alpha_of(frame)
        size = self.facts.size
        rgb = colours.upright(rgb, self.matrix)
        if rgb.shape[:2] != size:
            self._tell(f"{self.name}: its frames change their size; all are brought to {size[1]}x{size[0]} px")
            rgb, alpha = _brought_to(rgb, size), None if alpha is None else _brought_to(alpha, size)
        alpha = None if alpha is None else colours.upright(alpha, self.matrix)
        return Frame(rgb, pts + early, max(0, int(frame.duration or 0) - early), alpha)

    def _seconds(self) -> float | None:
        stream, container = self.stream, self._container
        if self._parts.end is not None:
            return float(self._parts.end - self.start)
        if stream.duration:
            return float(stream.duration * stream.time_base)
        return container.duration / MICRO if container.duration else None

    def _tell_missing(self, stop: Fraction | None) -> None:
        if (missing := self._ends.missing(stop)) is not None:
            found, told = (float(end - self.start) for end in missing)
            self._tell(f"{self.name}: is cut short: it should last {told:.2f} s, and ends after {found:.2f} s")

    def _notes_of(self, frame: Any) -> None:
        bits = colours.bit_depth(frame)
        if colours.is_hdr(frame):
            kind = "PQ" if frame.color_trc == colours.PQ else "HLG"
            self._tell(f"{self.name}: is {kind} (HDR): painted and written as ordinary BT.709, brightest parts pressed")
        elif bits > 8:
            self._tell(f"{self.name}: has {bits} bits: painted and written with 8")
        if frame.interlaced_frame:
            self._tell(f"{self.name}: is interlaced: its lines are painted as they are")

    def _tell(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)


def _is_cover(stream: Any) -> bool:
    """Whether a stream is the picture on a cover instead of a film."""
    disposition = getattr(stream, "disposition", None)
    return disposition is not None and "attached_pic" in str(disposition)


def _within(packet: Any, begin: Fraction, end: Fraction | None) -> bool:
    """Whether a packet belongs to a part of the film."""
    at = (packet.pts if packet.pts is not None else packet.dts) * packet.time_base
    length = (packet.duration or 0) * packet.time_base
    return (begin == 0 or at + length > begin) and (end is None or at < end)


def _alpha_of(frame: Any) -> Bytes:
    pixels: Bytes = frame.reformat(format="rgba").to_ndarray()
    return np.ascontiguousarray(pixels[:, :, 3])


def _brought_to(pixels: Bytes, size: tuple[int, int]) -> Bytes:
    from PIL import Image

    return np.asarray(Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BICUBIC))


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).splitlines()[0]
