"""Films written by PyAV: frames at their own times in BT.709, sound and all else copied or coded anew."""

from __future__ import annotations

import io
import itertools
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Final, Literal, Self

import numpy as np

from impasto.errors import OptionError, OutputError
from impasto.files import shown
from impasto.video.film import Bytes, FilmFacts, Frame, Sound, load_av

__all__ = ["CODECS", "CONTAINERS", "AvWriter", "CodecName", "FilmWriter", "codec_for", "output_kind"]

CodecName = Literal["auto", "h264", "hevc", "av1", "vp9"]
BT709, LIMITED = 1, 1  # of AVColorSpace, AVColorPrimaries and AVColorTransferCharacteristic; of AVColorRange
WAITING: Final = 4096  # durations of frames that an encoder may hold back
NOT_CARRIED: Final = frozenset(
    {"major_brand", "minor_version", "compatible_brands", "encoder", "ENCODER", "DURATION", "creation_time", "duration"}
)


@dataclass(frozen=True)
class Codec:
    """How a codec is used.

    Attributes:
        encoder: its name in FFmpeg.
        crf: quality where none is said, and the largest number, which is the worst.
        options: of the encoder.
        odd: whether it takes odd sides with colours at half size.
    """

    encoder: str
    crf: tuple[int, int]
    options: Mapping[str, str]
    odd: bool


CODECS: Mapping[str, Codec] = MappingProxyType(
    {
        "h264": Codec("libx264", (18, 51), {"preset": "faster", "rc-lookahead": "10"}, odd=False),
        "hevc": Codec("libx265", (20, 51), {"preset": "fast", "x265-params": "log-level=error"}, odd=False),
        "av1": Codec("libsvtav1", (26, 63), {"preset": "8"}, odd=True),
        "vp9": Codec("libvpx-vp9", (24, 63), {"deadline": "good", "cpu-used": "4", "row-mt": "1"}, odd=True),
    }
)
CONTAINERS: Mapping[str, tuple[str, tuple[str, ...], str]] = MappingProxyType(
    {
        ".mp4": ("mp4", ("h264", "hevc", "av1", "vp9"), "aac"),
        ".m4v": ("mp4", ("h264", "hevc"), "aac"),
        ".mov": ("mov", ("h264", "hevc"), "aac"),
        ".mkv": ("matroska", ("h264", "hevc", "av1", "vp9"), "libopus"),
        ".webm": ("webm", ("vp9", "av1"), "libopus"),
    }
)
"""Suffix -> format, codecs that it takes (the first where none is said), and what sound is coded with if need be."""


def codec_for(path: str, codec: CodecName, crf: int | None) -> tuple[str, int]:
    """The codec and the quality that a film at this path is written with; OptionError where they do not go together."""
    container, known, _ = CONTAINERS[Path(path).suffix.lower()]
    name = known[0] if codec == "auto" else codec
    if name not in known:
        raise OptionError(f"{container} takes no `codec` {codec} here: give one of {', '.join(known)}", "codec")
    usual, worst = CODECS[name].crf
    if crf is not None and not 0 <= crf <= worst:
        raise OptionError(f"`crf` is {crf}, and for {name} a number from 0 (best) to {worst}", "crf")
    return name, usual if crf is None else crf


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
    ) -> None:
        super().__init__()
        self._av = av = load_av()
        self.name = shown(path) if name is None else name
        self._format, _, self._sound_codec = CONTAINERS[Path(path).suffix.lower()]
        fast = {"movflags": "+faststart"} if self._format in ("mp4", "mov") else {}
        self._file = av.open(str(path), "w", format=self._format, options=fast)
        self._durations: dict[int, int] = {}
        self._carried: dict[int, _Carried] = {}
        try:
            self._stream = self._add_picture(facts, CODECS[codec], codec, crf)
            self._time_base = facts.time_base
            if source is not None:
                self._carry(source, begin, end)
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
        self._into.push(whole)
        coded = self._out.pull()
        coded.colorspace = coded.color_primaries = coded.color_trc = BT709
        coded.color_range = LIMITED
        coded.pts, coded.time_base = frame.pts, self._time_base
        if frame.duration:
            coded.duration = frame.duration
            self._durations[frame.pts] = frame.duration
            if len(self._durations) > WAITING:
                del self._durations[next(iter(self._durations))]
        self._mux(self._stream.encode(coded))

    def sound(self, sound: Sound) -> None:
        """See `FilmWriter`."""
        carried = self._carried.get(sound.packet.stream_index)
        if carried is not None:
            for packet in carried.packets(sound):
                self._file.mux(packet)

    def finish(self) -> None:
        """See `FilmWriter`."""
        self._mux(self._stream.encode(None))
        for carried in self._carried.values():
            for packet in carried.rest():
                self._file.mux(packet)
        self._file.close()

    def close(self) -> None:
        """See `FilmWriter`."""
        self._file.close()

    # -- what is inside -------------------------------------------------------------------------------------

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
        self._into, self._out, self._graph = self._converter(facts.size, stream.pix_fmt)
        context = stream.codec_context
        context.time_base = facts.time_base
        context.bit_rate = 0
        context.colorspace = context.color_primaries = context.color_trc = BT709
        context.color_range = LIMITED
        if facts.pixel != 1:
            context.sample_aspect_ratio = facts.pixel
        return stream

    def _converter(self, size: tuple[int, int], pix_fmt: str) -> tuple[Any, Any, Any]:
        """From RGB to BT.709, every rounding right; colours of half size lie where decoders look for them, on the left.

        `VideoFrame.reformat` puts them in the middle, which shifts all colours by a quarter of a pixel.
        """
        graph = self._av.filter.Graph()
        into = graph.add_buffer(
            width=size[1], height=size[0], format="rgba" if self._alpha else "rgb24", time_base=Fraction(1, 1000)
        )
        how = "out_color_matrix=bt709:out_range=tv:out_chroma_loc=left:flags=bicubic+accurate_rnd+full_chroma_int"
        steps = [into, graph.add("scale", how), graph.add("format", pix_fmt), graph.add("buffersink")]
        for one, other in itertools.pairwise(steps):
            one.link_to(other)
        graph.configure()
        return into, steps[-1], graph

    def _mux(self, packets: Any) -> None:
        for packet in packets:
            duration = self._durations.pop(round(packet.pts * packet.time_base / self._time_base), 0)
            if duration:
                packet.duration = round(duration * self._time_base / packet.time_base)
            self._file.mux(packet)

    def _carry(self, source: Any, begin: Fraction, end: Fraction | None) -> None:
        """Make a place for every other stream of the source, for its chapters and for what it says of itself."""
        for key, value in source.metadata.items():
            if key not in NOT_CARRIED and not key.startswith("com.apple.quicktime."):
                self._file.metadata[key] = value
        picture = True
        for stream in source.streams:
            if stream.type == "video" and picture and "attached_pic" not in str(getattr(stream, "disposition", "")):
                picture = False
                continue
            if stream.type == "data" and stream.codec_context is None and source.chapters():
                continue  # the titles of the chapters, which are written anew
            carried = self._place(stream)
            if carried is not None:
                self._carried[stream.index] = carried
                for key, value in stream.metadata.items():
                    if key not in NOT_CARRIED:
                        carried.target.metadata[key] = value
        if chapters := _chapters_within(source.chapters(), begin, end):
            self._file.set_chapters(chapters)

    def _place(self, stream: Any) -> _Carried | None:
        name = stream.codec_context.name if stream.codec_context is not None else stream.type
        if self._takes(stream):
            target = self._file.add_stream_from_template(stream)
            return _Carried(self._av, stream, target, skips=self._format in ("matroska", "webm"))
        if stream.type == "audio":
            self.notes.append(
                f"{self.name}: {self._format} cannot hold its sound ({name}): coded anew by {self._sound_codec}"
            )
            rate = stream.codec_context.sample_rate
            target = self._file.add_stream(
                self._sound_codec, rate=48000 if self._sound_codec == "libopus" else min(rate, 96000)
            )
            target.codec_context.layout = _plain_layout(stream.codec_context.layout)
            target.codec_context.bit_rate = 96000 * max(1, stream.codec_context.layout.nb_channels)
            return _Coded(self._av, stream, target, skips=False)
        self.notes.append(f"{self.name}: {self._format} cannot hold its {stream.type} ({name}), which is left out")
        return None

    def _takes(self, stream: Any) -> bool:
        """Whether the container takes a stream as it is: tried with a header that goes nowhere."""
        name = stream.codec_context.name if stream.codec_context is not None else ""
        if stream.type in ("video", "attachment") or (
            self._format == "mp4" and name.startswith(("pcm_s24", "pcm_s32"))
        ):
            return False  # 24 bits of PCM in MP4 are noise to FFmpeg before 6
        try:
            with self._av.open(io.BytesIO(), "w", format=self._format) as trial:
                trial.add_stream_from_template(stream)
                trial.start_encoding()
        except (ValueError, TypeError, NotImplementedError, OSError, self._av.FFmpegError):
            return False
        return True


class _Carried:
    """A stream that is copied packet by packet."""

    def __init__(self, av: Any, stream: Any, target: Any, *, skips: bool) -> None:
        self.av, self.stream, self.target, self._skips = av, stream, target, skips

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


class _Coded(_Carried):
    """Sound that is decoded and coded anew."""

    _resampler: Any = None

    def packets(self, sound: Sound) -> list[Any]:
        """See `_Carried`."""
        if sound.packet.is_discard:
            return []
        found = []
        for frame in self.stream.codec_context.decode(sound.packet):
            if frame.pts is not None:
                frame.pts -= round(sound.shift / frame.time_base)
            found += self._encoded(frame)
        return found

    def rest(self) -> list[Any]:
        """See `_Carried`."""
        frames = [] if self._resampler is None else self._resampler.resample(None)
        return [*(packet for frame in frames for packet in self.target.encode(frame)), *self.target.encode(None)]

    def _encoded(self, frame: Any) -> list[Any]:
        if self._resampler is None:
            context = self.target.codec_context
            self._resampler = self.av.AudioResampler(
                format=context.format, layout=context.layout, rate=context.sample_rate, frame_size=self._size()
            )
        return [packet for one in self._resampler.resample(frame) for packet in self.target.encode(one)]

    def _size(self) -> int:
        return 960 if self.target.codec_context.name == "libopus" else 1024


def _on_white(rgb: Bytes, alpha: Bytes) -> Bytes:
    share = alpha[:, :, None].astype(np.float32) / 255
    return (255 + share * (rgb.astype(np.float32) - 255) + 0.5).astype(np.uint8)


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


def output_kind(path: str) -> Literal["film", "animation", "pictures"]:
    """What a path's name stands for.

    Raises:
        OutputError: a suffix that no film has.
    """
    suffix = Path(path).suffix.lower()
    if path.endswith(("/", os.sep)) or "%" in Path(path).name or Path(path).is_dir():
        return "pictures"
    if suffix in CONTAINERS:
        return "film"
    if suffix in (".gif", ".webp", ".png", ".apng"):
        return "animation"
    known = " ".join((*CONTAINERS, ".gif", ".webp", ".apng"))
    got = f"films cannot be written as {shown(suffix)}" if suffix else "no suffix tells the format"
    raise OutputError(f"{shown(path)}: {got}; use one of {known}, or a folder (with / at its end) for pictures")
