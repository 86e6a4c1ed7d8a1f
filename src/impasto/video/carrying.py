"""What is beside the picture of a film: sound, subtitles, chapters, titles; copied, or coded anew where need be."""

from __future__ import annotations

import io
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, Final

from impasto.video.codecs import Container
from impasto.video.film import Sound, load_av

__all__ = ["Beside"]

NOT_CARRIED: Final = frozenset(
    {"major_brand", "minor_version", "compatible_brands", "encoder", "ENCODER", "DURATION", "creation_time", "duration"}
)
TEXT: Final = frozenset({"subrip", "srt", "webvtt", "mov_text", "ass", "ssa", "text"})
"""Subtitles that are letters, and can be coded as others are; those of DVDs and Blu-rays are pictures."""


class Beside:
    """The streams of a film that is written, but for the picture, and where each comes from.

    Args:
        file: PyAV's container that is written, nothing of which is written yet.
        container: what kind it is.
        source: PyAV's container that they come from.
        begin, end: the part of it that is carried over, in seconds.
        name: of the film that is written, for messages.

    Attributes:
        notes: sentences about what could not be copied.
    """

    def __init__(
        self, file: Any, container: Container, source: Any, begin: Fraction, end: Fraction | None, name: str
    ) -> None:
        self._file, self._container, self._name = file, container, name
        self.notes: list[str] = []
        self._streams: dict[int, _Copied] = {}
        for key, value in source.metadata.items():
            if key not in NOT_CARRIED and not key.startswith("com.apple.quicktime."):
                file.metadata[key] = value
        for stream in _others(source):
            placed = self._place(stream)
            if placed is not None:
                self._streams[stream.index] = placed
                for key, value in stream.metadata.items():
                    if key not in NOT_CARRIED:
                        placed.target.metadata[key] = value
        if chapters := _chapters_within(source.chapters(), begin, end):
            file.set_chapters(chapters)

    def packets(self, sound: Sound) -> list[Any]:
        """What is to be written for a packet of the source."""
        placed = self._streams.get(sound.packet.stream_index)
        return [] if placed is None else placed.packets(sound)

    def rest(self) -> list[Any]:
        """What is left at the end."""
        return [packet for placed in self._streams.values() for packet in placed.rest()]

    def _place(self, stream: Any) -> _Copied | None:
        context, kind, form = stream.codec_context, stream.type, self._container.format
        name = kind if context is None else context.name
        if self._takes(stream):
            return _Copied(stream, self._file.add_stream_from_template(stream), skips=form in ("matroska", "webm"))
        coder = {"audio": self._container.sound, "subtitle": self._container.subtitles}.get(kind, "")
        what = "sound" if kind == "audio" else f"{kind}s" if kind == "subtitle" else kind
        if not coder or (kind == "subtitle" and name not in TEXT):
            self.notes.append(f"{self._name}: {form} cannot hold its {what} ({name}), which is left out")
            return None
        self.notes.append(f"{self._name}: {form} cannot hold its {what} ({name}): coded anew by {coder}")
        return (
            _sound(self._file, stream, coder) if kind == "audio" else _Subtitles(stream, self._file.add_stream(coder))
        )

    def _takes(self, stream: Any) -> bool:
        """Whether the container takes a stream as it is: tried with a header that goes nowhere."""
        name = stream.codec_context.name if stream.codec_context is not None else ""
        form = self._container.format
        if stream.type in ("video", "attachment") or (form == "mp4" and name.startswith(("pcm_s24", "pcm_s32"))):
            return False  # 24 bits of PCM in MP4 are noise to FFmpeg before 6
        av = load_av()
        try:
            with av.open(io.BytesIO(), "w", format=form) as trial:
                trial.add_stream_from_template(stream)
                trial.start_encoding()
        except (ValueError, TypeError, NotImplementedError, OSError, av.FFmpegError):
            return False
        return True


class _Copied:
    """A stream that is copied packet by packet."""

    def __init__(self, stream: Any, target: Any, *, skips: bool = False) -> None:
        self.stream, self.target, self._skips = stream, target, skips

    def packets(self, sound: Sound) -> list[Any]:
        """What is to be written for a packet."""
        packet = sound.packet
        if self._skips and packet.is_discard:  # cut away by an edit list, which Matroska does not have
            return []
        shift = round(sound.shift / packet.time_base)
        if shift:
            packet.dts -= shift
            if packet.pts is not None:
                packet.pts -= shift
        packet.stream = self.target
        return [packet]

    def rest(self) -> list[Any]:
        """What is left at the end."""
        return []


class _Coded(_Copied):
    """Sound that is decoded and coded anew."""

    _resampler: Any = None

    def packets(self, sound: Sound) -> list[Any]:
        """See `_Copied`."""
        if sound.packet.is_discard:
            return []
        found = []
        for frame in self.stream.codec_context.decode(sound.packet):
            if frame.pts is not None:
                frame.pts -= round(sound.shift / frame.time_base)
            found += self._encoded(frame)
        return found

    def rest(self) -> list[Any]:
        """See `_Copied`."""
        frames = [] if self._resampler is None else self._resampler.resample(None)
        return [*(packet for frame in frames for packet in self.target.encode(frame)), *self.target.encode(None)]

    def _encoded(self, frame: Any) -> list[Any]:
        if self._resampler is None:
            context = self.target.codec_context
            self._resampler = load_av().AudioResampler(
                format=context.format, layout=context.layout, rate=context.sample_rate, frame_size=self._size()
            )
        return [packet for one in self._resampler.resample(frame) for packet in self.target.encode(one)]

    def _size(self) -> int:
        return 960 if self.target.codec_context.name == "libopus" else 1024


class _Subtitles(_Copied):
    """Subtitles of letters that are written as another kind of them."""

    def __init__(self, stream: Any, target: Any) -> None:
        super().__init__(stream, target)
        # What styles there are, a coder wants to know before anything is written; a decoder knows when it is opened.
        stream.codec_context.open(strict=False)
        target.codec_context.subtitle_header = (stream.codec_context.subtitle_header or b"") + b"\0"

    def packets(self, sound: Sound) -> list[Any]:
        """See `_Copied`."""
        packet, decoder, coder = sound.packet, self.stream.codec_context, self.target.codec_context
        found = decoder.decode2(packet)
        if found is None or not len(found):
            return []
        coded = coder.encode_subtitle(found)
        base = packet.time_base
        coded.time_base = base
        coded.pts = coded.dts = (packet.dts if packet.pts is None else packet.pts) - round(sound.shift / base)
        coded.duration, coded.stream = packet.duration, self.target
        return [coded]


def _others(source: Any) -> Iterator[Any]:
    """All streams but the first picture, and but the titles of chapters, which are written anew."""
    picture = True
    for stream in source.streams:
        if stream.type == "video" and picture and "attached_pic" not in str(getattr(stream, "disposition", "")):
            picture = False
        elif not (stream.type == "data" and stream.codec_context is None and source.chapters()):
            yield stream


def _sound(file: Any, stream: Any, coder: str) -> _Coded:
    """A place for sound that is coded anew."""
    context = stream.codec_context
    target = file.add_stream(coder, rate=48000 if coder == "libopus" else min(context.sample_rate, 96000))
    target.codec_context.layout = _plain_layout(context.layout)
    target.codec_context.bit_rate = 96000 * max(1, context.layout.nb_channels)
    return _Coded(stream, target)


def _plain_layout(layout: Any) -> str:
    """A layout that every encoder takes."""
    return {1: "mono", 2: "stereo", 6: "5.1"}.get(layout.nb_channels, "stereo")


def _chapters_within(chapters: Any, begin: Fraction, end: Fraction | None) -> list[Any]:
    """Those of a part of the film, their times as in the part."""
    found = []
    for chapter in chapters:
        base = Fraction(chapter["time_base"])
        start, stop = chapter["start"] * base - begin, chapter["end"] * base - begin
        length = None if end is None else end - begin
        if stop <= 0 or (length is not None and start >= length):
            continue
        start, stop = max(start, Fraction(0)), stop if length is None else min(stop, length)
        found.append({**chapter, "start": round(start / base), "end": round(stop / base)})
    return found
