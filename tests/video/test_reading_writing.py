"""Films in and out: every frame's time, colours, rotation, sound, as another process reads them back."""

from __future__ import annotations

import itertools
import os
import struct
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.subtitles.subtitle import SubtitleSet
from PIL import Image

from impasto.errors import ImageError, OptionError, OutputError
from impasto.stylizer.job import Output
from impasto.video.animated_writing import AnimationWriter, PicturesWriter
from impasto.video.codecs import codec_for, output_kind
from impasto.video.colours import upright
from impasto.video.film import FilmFacts, Frame, Sound, parse_time
from impasto.video.following import chosen
from impasto.video.frame_times import FrameTimes
from impasto.video.outputs import check_target
from impasto.video.reading import open_film
from impasto.video.threads import REAL_TIME, scheduled_as_before
from impasto.video.writing import AvWriter

from .film_samples import SIZE, asked, blobs, make_film, ramp, tone

EVEN = [24 * number for number in range(12)]  # 25 frames a second
UNEVEN = [0, 20, 40, 140, 160, 180, 500, 520, 521, 700]


def copy(
    source: Path, target: Path, *, codec: Any = "auto", crf: int = 2, begin: str = "0", end: str | None = None
) -> AvWriter:
    """Through our reader and writer, unpainted."""
    first, last = Fraction(begin), None if end is None else Fraction(end)
    with open_film(source) as film:
        chosen = codec_for(str(target), codec, crf)
        writer = AvWriter(target, film.facts, *chosen, film.container, begin=first, end=last)
        for item in film.items(first, last):
            if isinstance(item, Sound):
                writer.sound(item)
            else:
                writer.write(item)
        writer.finish()
    return writer


def apart(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.abs(found.astype(int) - wanted).mean())


@pytest.mark.parametrize("times", [EVEN, UNEVEN, [at for at in EVEN if at != 120]], ids=["even", "uneven", "dropped"])
def test_frame_times_and_colours_stay(tmp_path: Path, times: list[int]) -> None:
    frames = make_film(tmp_path / "a.mp4", times)
    copy(tmp_path / "a.mp4", tmp_path / "b.mp4")
    found = asked(tmp_path / "b.mp4")
    assert found["times"] == pytest.approx([at / 600 for at in times], abs=1e-9)
    assert found["tags"] == [1, 1, 1, 1]
    with open_film(tmp_path / "b.mp4") as film:
        back = [frame.rgb for frame in film.frames()]
    assert max(apart(one, other) for one, other in zip(back, frames, strict=True)) < 2


@pytest.mark.parametrize(("codec", "suffix"), [("hevc", ".mp4"), ("hevc", ".mkv"), ("av1", ".mp4"), ("vp9", ".webm")])
def test_other_codecs_keep_frame_times_and_colours(tmp_path: Path, capfd: Any, codec: str, suffix: str) -> None:
    frames = make_film(tmp_path / "a.mp4", UNEVEN)
    capfd.readouterr()
    copy(tmp_path / "a.mp4", tmp_path / f"b{suffix}", codec=codec, crf=4)
    assert capfd.readouterr() == ("", "")  # encoders like to tell of themselves
    found = asked(tmp_path / f"b{suffix}")
    assert found["times"] == pytest.approx([at / 600 for at in UNEVEN], abs=1e-9 if suffix == ".mp4" else 1e-3)
    assert found["tags"] == [1, 1, 1, 1]
    with av.open(str(tmp_path / f"b{suffix}")) as film:
        context = film.streams.video[0].codec_context
        assert context.name == {"av1": "libdav1d"}.get(codec, codec)
        if (codec, suffix) == ("hevc", ".mp4"):
            assert context.codec_tag == "hvc1"  # what players of Apple's ask for
    with open_film(tmp_path / f"b{suffix}") as film:
        back = [frame.rgb for frame in film.frames()]
    assert max(apart(one, other) for one, other in zip(back, frames, strict=True)) < 2


@pytest.mark.parametrize(("codec", "repeatable"), [("h264", False), ("h264", True), ("hevc", False)])
@pytest.mark.parametrize("count", [1, 2, 3, 7, 12, 19])
def test_the_last_frame_lasts_as_long_as_it_should(tmp_path: Path, codec: Any, repeatable: bool, count: int) -> None:
    """MP4 keeps the duration of what was coded last alone."""
    facts = FilmFacts("a.mp4", SIZE, Fraction(1, 1000), Fraction(20))
    with AvWriter(tmp_path / "a.mp4", facts, *codec_for("a.mp4", codec, None), repeatable=repeatable) as writer:
        for number in range(count):
            writer.write(Frame(blobs(number), 50 * number, 50 if number < count - 1 else 3000))
        writer.finish()
    with av.open(str(tmp_path / "a.mp4")) as film:
        stream = film.streams.video[0]
        assert float(stream.duration * stream.time_base) == pytest.approx(0.05 * (count - 1) + 3)
        assert film.duration / 1e6 == pytest.approx(0.05 * (count - 1) + 3)
        frames = [(frame.pts * frame.time_base, frame.duration * frame.time_base) for frame in film.decode(video=0)]
    assert [at for at, _ in frames] == [Fraction(number, 20) for number in range(count)]
    assert frames[-1][1] == 3


@pytest.mark.skipif(not hasattr(os, "sched_getscheduler"), reason="Linux alone tells how threads are scheduled")
@pytest.mark.parametrize("codec", ["av1", "h264", "hevc", "vp9"])
def test_no_encoder_makes_us_real_time(tmp_path: Path, codec: str) -> None:
    """As root SVT-AV1 does so, for good, and whatever is started later takes all of the processor."""
    before = os.sched_getscheduler(0)
    assert before not in REAL_TIME
    facts = FilmFacts("a.mkv", (64, 96), Fraction(1, 25), Fraction(25))
    with AvWriter(tmp_path / "a.mkv", facts, *codec_for("a.mkv", codec, None)) as writer:
        for number in range(3):
            writer.write(Frame(np.full((64, 96, 3), 40 * number, np.uint8), number, 1))
            threads = [int(path.name) for path in Path("/proc/self/task").iterdir()]
            assert not {os.sched_getscheduler(thread) for thread in threads} & REAL_TIME
        writer.finish()
    assert os.sched_getscheduler(0) == before


def test_scheduling_is_given_back() -> None:
    if not REAL_TIME:
        pytest.skip("Linux alone tells how threads are scheduled")
    before = os.sched_getscheduler(0)
    with scheduled_as_before():
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        except PermissionError:
            pytest.skip("only root may be scheduled in real time")
    assert os.sched_getscheduler(0) == before


def test_2997_and_a_start_that_is_not_zero(tmp_path: Path) -> None:
    times = [1001 * number + 15000 for number in range(8)]
    make_film(tmp_path / "a.mp4", times, time_base=Fraction(1, 30000))
    copy(tmp_path / "a.mp4", tmp_path / "b.mp4")
    before, after = asked(tmp_path / "a.mp4")["times"], asked(tmp_path / "b.mp4")["times"]
    assert np.diff(after) == pytest.approx(np.diff(before), abs=1e-9)
    assert np.diff(after) == pytest.approx(1001 / 30000, abs=1e-9)


def test_a_transport_stream_begins_at_zero(tmp_path: Path) -> None:
    times = [3600 * number for number in range(12)]
    make_film(tmp_path / "a.ts", times, time_base=Fraction(1, 90000), sound="aac", start=126000)
    assert asked(tmp_path / "a.ts")["times"][0] > 1
    copy(tmp_path / "a.ts", tmp_path / "b.mp4")
    found, before = asked(tmp_path / "b.mp4"), asked(tmp_path / "a.ts")
    assert abs(found["times"][0]) < 0.1
    apart_before = before["sound"][0][0] - before["times"][0]
    assert found["sound"][0][0] - found["times"][0] == pytest.approx(apart_before, abs=0.002)


@pytest.mark.parametrize("sound", [None, "mp2"])
@pytest.mark.parametrize(
    ("suffix", "starts"),
    [(".ts", (0, 0, 0)), (".ts", (1000, 0)), (".ts", (0, 3600)), (".mpg", (0, 0))],
    ids=["again", "back", "forth", "program"],
)
def test_times_that_begin_again_are_carried_on(
    tmp_path: Path, suffix: str, starts: tuple[int, ...], sound: str | None
) -> None:
    """As after ``cat a.ts b.ts``; the parts may have other sizes."""
    bytes_of = []
    for number, start in enumerate(starts):
        part, how = tmp_path / f"{number}{suffix}", {"size": (SIZE[0] + 32 * number, SIZE[1])}
        if suffix == ".mpg":  # whose decoder loses a frame where the size changes
            how = {"codec": "mpeg2video", "options": {}}
        how |= {"time_base": Fraction(1, 25), "start": 25 * start}
        make_film(part, range(12), sound=sound, **how)
        bytes_of.append(part.read_bytes())
    (tmp_path / f"all{suffix}").write_bytes(b"".join(bytes_of))
    writer = copy(tmp_path / f"all{suffix}", tmp_path / "b.mkv")
    one, found = asked(tmp_path / f"0{suffix}"), asked(tmp_path / "b.mkv")
    assert len(found["times"]) == len(starts) * 12
    lasts = 0.48 if sound is None else one["sound"][-1][0] - one["sound"][0][0] + 1152 / 44100
    wanted = [at + lasts * number for number in range(len(starts)) for at in np.arange(12) / 25]
    assert np.array(found["times"]) - found["times"][0] == pytest.approx(wanted, abs=0.05)
    assert [key for _, key in found["sound"]] == [key for _, key in one["sound"]] * len(starts)
    assert (np.diff([at for at, _ in found["sound"]]) < 0.05).all()
    with open_film(tmp_path / f"all{suffix}") as film:
        told = ["its times begin again: each part is carried on where the one before ended"]
        assert [note.partition(": ")[2] for note in film.notes] == told
        assert film.facts.seconds == pytest.approx(lasts * len(starts), abs=0.1)
        begin = Fraction(round(1000 * lasts), 1000)
        assert len(list(film.frames(begin))) == pytest.approx(12 * (len(starts) - 1), abs=1)
    assert writer.notes == []


def test_what_goes_back_in_time_is_left_out_and_told(tmp_path: Path) -> None:
    """In formats of which two files, one after the other, are no film."""
    make_film(tmp_path / "a.mkv", EVEN, sound="aac")
    once = (tmp_path / "a.mkv").read_bytes()
    (tmp_path / "aa.mkv").write_bytes(once + once)
    copy(tmp_path / "aa.mkv", tmp_path / "b.mp4")
    one, found = asked(tmp_path / "a.mkv"), asked(tmp_path / "b.mp4")
    assert found["times"] == pytest.approx(one["times"], abs=1e-3)
    keys = [[key for _, key in film["sound"]] for film in (one, found)]
    assert keys[1][: len(keys[0])] == keys[0]
    with open_film(tmp_path / "aa.mkv") as film:
        list(film.items())
    assert [note for note in film.notes if "its times go back in places" in note]


@pytest.mark.parametrize(("matrix", "size"), [(5, SIZE), (1, SIZE), (None, SIZE), (None, (720, 64))])
def test_colours_are_those_of_the_tags(tmp_path: Path, matrix: int | None, size: tuple[int, int]) -> None:
    """Without tags a small film is BT.601, a large one BT.709, as players have it."""
    coded = matrix or (1 if size[0] >= 720 else 5)
    frames = [ramp(number, size) for number in range(2)]
    with av.open(str(tmp_path / "a.mkv"), "w") as file:
        stream = file.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = size[1], size[0], "yuv444p"
        if matrix is not None:
            stream.codec_context.colorspace = matrix
        for number, rgb in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(rgb).reformat(format="yuv444p", dst_colorspace=coded, dst_color_range=1)
            frame.pts, frame.colorspace = number, matrix or 2
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    with open_film(tmp_path / "a.mkv") as film:
        assert apart(next(film.frames()).rgb, frames[0]) < 1.5


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("degrees", [0, 90, 180, -90])
def test_a_turned_film_is_upright(tmp_path: Path, degrees: int, mirrored: bool) -> None:
    frames = make_film(tmp_path / "a.mp4", EVEN[:3], turned=(degrees, mirrored))
    wanted = np.rot90(frames[0], degrees // 90)  # PyAV's degrees go against the clock
    wanted = wanted[:, ::-1] if mirrored else wanted
    with open_film(tmp_path / "a.mp4") as film:
        got = next(film.frames()).rgb
        assert film.facts.size == wanted.shape[:2]
    assert apart(got, wanted) < 3


def test_upright_leaves_what_is_slanted() -> None:
    pixels = ramp(0)
    slanted = (46341, 46341, 0, -46341, 46341, 0, 0, 0, 1 << 30)
    assert upright(pixels, slanted) is pixels


@pytest.mark.parametrize(
    ("sound", "suffix"), [("aac", ".mp4"), ("libmp3lame", ".mov"), ("libopus", ".webm"), ("flac", ".mkv")]
)
def test_sound_is_copied_bit_for_bit(tmp_path: Path, sound: str, suffix: str) -> None:
    source = tmp_path / "a.mkv" if sound != "aac" else tmp_path / "a.mp4"
    make_film(source, EVEN, sound=sound, metadata={"title": "A clip"}, chapters=True)
    writer = copy(source, tmp_path / f"b{suffix}")
    before, after = asked(source), asked(tmp_path / f"b{suffix}")
    assert [digest for _, digest in after["sound"]] == [digest for _, digest in before["sound"]]
    assert after["sound"][3][0] - after["times"][0] == pytest.approx(
        before["sound"][3][0] - before["times"][0], abs=2e-3
    )
    assert writer.notes == []
    assert {name.lower(): value for name, value in after["metadata"].items()}["title"] == "A clip"
    assert [title for _, title in after["chapters"]] == ["a", "b"]


@pytest.mark.parametrize(
    ("before", "after", "kind"), [(".mkv", ".mp4", "mov_text"), (".mp4", ".mkv", "subrip"), (".mkv", ".webm", "webvtt")]
)
def test_subtitles_that_do_not_go_are_coded_anew_and_told(tmp_path: Path, before: str, after: str, kind: str) -> None:
    source, lines = tmp_path / f"a{before}", ["Good evening", "two\nlines", "Grüße"]
    add_subtitles(tmp_path / "plain.mp4", source, lines)
    writer = copy(source, tmp_path / f"b{after}", crf=30)
    assert len(writer.notes) == 1
    assert f"coded anew by {kind}" in writer.notes[0]
    shown = subtitles(tmp_path / f"b{after}")
    assert [said for *_, said in shown] == lines
    for now, then in zip(shown, subtitles(source), strict=True):
        assert now[:2] == pytest.approx(then[:2], abs=2e-3)


LOOK = b"""[Script Info]
ScriptType: v4.00+
PlayResX: 384
PlayResY: 288

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, Underline, \
StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding
Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,1

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""


def add_subtitles(plain: Path, target: Path, lines: list[str]) -> None:
    """The film with a line each .15 s, shown for .1 s."""
    make_film(plain, EVEN)
    with av.open(str(plain)) as film, av.open(str(target), "w") as file:
        picture = file.add_stream_from_template(film.streams.video[0])
        texts = file.add_stream("mov_text" if target.suffix == ".mp4" else "subrip")
        texts.codec_context.subtitle_header = LOOK + b"\0"  # an end that PyAV does not write
        for number, line in enumerate(lines):
            shown = line.replace("\n", r"\N").encode()
            packet = texts.codec_context.encode_subtitle(SubtitleSet.create(b"0,0,Default,,0,0,0,," + shown, 0, 100))
            packet.time_base = Fraction(1, 1000)
            packet.pts = packet.dts = 150 * number
            packet.duration, packet.stream = 100, texts
            file.mux(packet)
        for packet in film.demux():
            if packet.size:
                packet.stream = picture
                file.mux(packet)


def subtitles(path: Path) -> list[tuple[float, float, str]]:
    """When each is shown, for how long, and what it says."""
    found = []
    with av.open(str(path)) as film:
        for packet in film.demux(film.streams.subtitles[0]):
            for one in film.streams.subtitles[0].codec_context.decode2(packet) or () if packet.size else ():
                said = one.dialogue.decode().strip()
                if said:
                    found.append(
                        (float(packet.pts * packet.time_base), float(packet.duration * packet.time_base), said)
                    )
    return found


def test_sound_that_does_not_go_is_coded_anew_and_told(tmp_path: Path) -> None:
    make_film(tmp_path / "a.mp4", EVEN, sound="aac")
    writer = copy(tmp_path / "a.mp4", tmp_path / "b.webm", crf=30)
    assert ["audio", "opus"] in asked(tmp_path / "b.webm")["streams"]
    assert len(writer.notes) == 1
    assert "sound (aac): coded anew by libopus" in writer.notes[0]


def test_a_part_of_a_film_with_its_sound(tmp_path: Path) -> None:
    make_film(tmp_path / "a.mp4", [20 * number for number in range(60)], sound="aac", chapters=True)
    copy(tmp_path / "a.mp4", tmp_path / "b.mp4", begin="1/2", end="3/2")
    found = asked(tmp_path / "b.mp4")
    assert len(found["times"]) == 30
    assert found["times"][0] == pytest.approx(0, abs=0.03)
    assert abs(found["sound"][0][0]) < 0.05
    assert found["sound"][-1][0] == pytest.approx(1, abs=0.05)
    assert found["chapters"] == [[0.0, "b"]]


def test_an_edit_list_is_obeyed(tmp_path: Path) -> None:
    """What it cuts away at the beginning is neither painted nor heard nor brought back by a container without one."""
    make_film(tmp_path / "a.mp4", [24 * n for n in range(20)], sound="aac", options={"crf": "1", "bf": "0"})
    data = bytearray((tmp_path / "a.mp4").read_bytes())
    at = (
        data.find(b"elst") + 12
    )  # of the picture, version 0: duration in 1/1000 s, where it begins in the stream's base
    lasts, begins, rate = struct.unpack(">IiI", data[at : at + 12])
    ticks = asked(tmp_path / "a.mp4")["bases"][0]
    data[at : at + 12] = struct.pack(">IiI", lasts - 200, begins + round(0.2 / ticks), rate)
    (tmp_path / "cut.mp4").write_bytes(data)
    for suffix in (".mp4", ".mkv"):
        copy(tmp_path / "cut.mp4", tmp_path / f"b{suffix}")
        found = asked(tmp_path / f"b{suffix}")
        assert len(found["times"]) == 15
        assert found["times"][0] == pytest.approx(0, abs=1e-3)
    assert read_notes(tmp_path / "cut.mp4") == ""
    with open_film(tmp_path / "cut.mp4") as film:
        assert film.facts.frames == 15
        assert apart(next(film.frames()).rgb, ramp(5)) < 3


def test_ten_minutes_of_a_variable_rate_stay_in_step(tmp_path: Path) -> None:
    """A flash and a click a minute, frames at 30, 5, 2 and .8 a second in turns: within one frame to the end."""
    times = [0, *itertools.accumulate((20, 120, 300, 760)[number % 4] for number in range(1210))]
    minutes = [next(time for time in times if time >= 60 * 600 * minute) for minute in range(1, 10)]

    def flashing(number: int, size: tuple[int, int]) -> np.ndarray:
        return np.full((*size, 3), 235 if times[number] in minutes else 20, np.uint8)

    make_film(
        tmp_path / "a.mp4", times, size=(32, 32), picture=flashing, sound="aac", rate=8000,
        heard=lambda rate, seconds: clicks(rate, seconds, [minute / 600 for minute in minutes]),
    )  # fmt: skip
    copy(tmp_path / "a.mp4", tmp_path / "b.mp4", crf=20)
    copy(tmp_path / "a.mp4", tmp_path / "b.mkv", crf=20)
    assert times[-1] > 600 * 600
    for suffix in (".mp4", ".mkv"):
        seen, heard = flashes_and_clicks(tmp_path / f"b{suffix}")
        assert seen == pytest.approx([minute / 600 for minute in minutes], abs=2e-3)
        assert len(heard) == len(seen)
        assert max(abs(one - other) for one, other in zip(seen, heard, strict=True)) < 1 / 30


def clicks(rate: int, seconds: float, moments: list[float]) -> np.ndarray:
    """(1, n) int16: silence, but for a tenth of a second from each of these."""
    sound = np.zeros(int(rate * seconds), np.int16)
    for moment in moments:
        sound[round(rate * moment) : round(rate * (moment + 0.1))] = tone(rate, 0.1)[0, : round(rate * 0.1)]
    return sound[None]


def flashes_and_clicks(path: Path) -> tuple[list[float], list[float]]:
    """When the picture becomes bright, and when something is heard after silence."""
    seen, heard, loud = [], [], False
    with av.open(str(path)) as film:
        for frame in film.decode():
            values = frame.to_ndarray() if isinstance(frame, av.AudioFrame) else None
            begins = float(frame.pts * frame.time_base)
            if values is None:
                if frame.to_ndarray(format="gray").mean() > 128:
                    seen.append(begins)
                continue
            above = np.flatnonzero(np.abs(values.astype(np.float32)).max(0) > 0.05)
            if len(above) and not loud:
                heard.append(begins + float(above[0]) / frame.rate)
            loud = len(above) > 0
    return seen, heard


def test_colours_of_half_size_are_read_on_the_left(tmp_path: Path) -> None:
    """A ramp of blue, and its mirror image: a pixel has the colour of its own place, not of half a pixel beside it."""
    places = []
    for mirrored in (False, True):
        ramp = np.round(40 + 170 * np.arange(160) / 159).astype(np.uint8)
        frame = av.VideoFrame(320, 16, "yuv420p")
        for plane, row in zip(frame.planes, (128, ramp[::-1] if mirrored else ramp, 128), strict=True):
            rows = np.zeros((plane.height, plane.line_size), np.uint8)
            rows[:, : plane.width] = row
            plane.update(rows.tobytes())
        with av.open(str(tmp_path / "a.mkv"), "w") as file:
            stream = file.add_stream("ffv1", rate=25)
            stream.width, stream.height, stream.pix_fmt = 320, 16, "yuv420p"
            stream.codec_context.colorspace = 1
            frame.pts, frame.colorspace = 0, 1
            file.mux([*stream.encode(frame), *stream.encode(None)])
        with open_film(tmp_path / "a.mkv") as film:
            blue = next(film.frames()).rgb[:, :, 2].mean(0)
        sample = ((blue - (128 - 16) * 255 / 219) / 1.8556 / 255 * 224 + 88) / 170 * 159  # which one a pixel sees
        seen = 318 - 2 * sample if mirrored else 2 * sample
        places.append((np.arange(320) - seen)[40:-40].mean())
    assert abs(np.mean(places)) < 0.2


def test_odd_sides(tmp_path: Path) -> None:
    facts = FilmFacts("a", (45, 67), Fraction(1, 25), Fraction(25))
    for suffix, told in ((".mp4", 1), (".webm", 0)):
        target = tmp_path / f"a{suffix}"
        with AvWriter(target, facts, *codec_for(str(target), "auto", None)) as writer:
            for number in range(3):
                writer.write(_frame(number, (45, 67)))
            writer.finish()
        assert asked(target)["size"] == [45, 67]
        assert len(writer.notes) == told


def test_webm_keeps_transparency(tmp_path: Path) -> None:
    facts = FilmFacts("a", SIZE, Fraction(1, 25), Fraction(25), alpha=True)
    alpha = np.zeros(SIZE, np.uint8)
    alpha[:, :48] = 255
    with AvWriter(tmp_path / "a.webm", facts, *codec_for("a.webm", "auto", 5)) as writer:
        for number in range(3):
            writer.write(replace(_frame(number), alpha=alpha))
        writer.finish()
    with open_film(tmp_path / "a.webm") as film:
        assert film.facts.alpha
        found = next(film.frames())
    assert apart(found.alpha, alpha) < 3


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".apng"])
def test_an_animation_is_transparent_where_a_pixel_is(tmp_path: Path, suffix: str) -> None:
    """Files that only might be say so of themselves too."""
    for alpha in (255, 0):
        path = tmp_path / f"{alpha}{suffix}"
        frames = [Image.fromarray(ramp(number)).convert("RGBA") for number in range(3)]
        for frame in frames:
            frame.putpixel((3, 3), (0, 0, 0, alpha))
        frames[0].save(path, save_all=True, append_images=frames[1:], duration=100, disposal=2)
        if suffix == ".webp":  # its flag, which Pillow sets by its pixels and others always
            data = bytearray(path.read_bytes())
            data[20] |= 0x10
            path.write_bytes(data)
        with open_film(str(path)) as film:
            assert film.facts.alpha == (alpha == 0)
            assert all((frame.alpha is None) == (alpha == 255) for frame in film.frames())


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".apng"])
def test_animations_keep_each_frames_time(tmp_path: Path, suffix: str) -> None:
    facts = FilmFacts("a", SIZE, Fraction(1, 1000), alpha=False, loops=0)
    begins, lasts = [0, 100, 150, 350], [100, 50, 200, 70]
    writer = AnimationWriter(tmp_path / f"a{suffix}", facts)
    for number, (begin, last) in enumerate(zip(begins, lasts, strict=True)):
        writer.write(replace(_frame(4 * number), pts=begin, duration=last))
    writer.finish()
    with open_film(tmp_path / f"a{suffix}") as film:
        found = list(film.frames())
        assert film.facts.loops == 0
        assert film.facts.seconds == pytest.approx(0.42)
    assert [(frame.pts, frame.duration) for frame in found] == list(zip(begins, lasts, strict=True))
    assert apart(found[2].rgb, ramp(8)) < (12 if suffix == ".gif" else 4)


def test_a_gif_of_30_frames_a_second_lasts_as_long(tmp_path: Path) -> None:
    writer = AnimationWriter(tmp_path / "a.gif", FilmFacts("a", SIZE, Fraction(1, 30)))
    for number in range(30):
        writer.write(replace(_frame(number), duration=1))
    writer.finish()
    with Image.open(tmp_path / "a.gif") as image:
        assert image.n_frames == 30
    with open_film(tmp_path / "a.gif") as film:
        assert film.facts.seconds == 1


def test_numbered_pictures_in_and_out(tmp_path: Path) -> None:
    writer = PicturesWriter(f"{tmp_path}/out/", FilmFacts("a", SIZE, Fraction(1, 25)))
    for number in range(11):
        writer.write(_frame(number))
    with open_film(tmp_path / "out", rate=Fraction(30000, 1001)) as film:
        found = list(film.frames())
        assert film.facts.frames == 11
        times = [frame.pts * film.facts.time_base for frame in found]
    assert times == [number * Fraction(1001, 30000) for number in range(11)]
    assert np.array_equal(found[10].rgb, ramp(10))
    with open_film(tmp_path / "out" / "00000[12].png") as film:
        assert film.facts.frames == 2


def test_numbered_pictures_are_read_by_the_pattern_that_wrote_them(tmp_path: Path) -> None:
    """Those of its width, in the order of its number, not of the last one in their names."""
    writer = PicturesWriter(f"{tmp_path}/out/a%02d_x2.png", FilmFacts("a", SIZE, Fraction(1, 25)))
    assert not (tmp_path / "out").exists(), "before there is a picture"
    for number in range(101):
        writer.write(Frame(ramp(number, (32, 32)), number, 1))
    for other in ("a1_x2.png", "b01_x2.png", "a01_x2.jpg"):
        Image.fromarray(ramp(0)).save(tmp_path / "out" / other)
    with open_film(tmp_path / "out" / "a%02d_x2.png") as film:
        assert film.facts.frames == 101
        assert np.array_equal([frame.rgb for frame in film.frames()][100], ramp(100, (32, 32)))
    with pytest.raises(ImageError, match="no pictures are there"):
        open_film(tmp_path / "out" / "c%02d.png")
    for wrong in ("a%02d_%d.png", "100%_%d.png", "%s.png"):
        with pytest.raises(OptionError, match="%05d"):
            check_target(Output(str(tmp_path / wrong)), [])


def test_a_pattern_that_no_picture_has_says_what_is_wanted_and_there(tmp_path: Path) -> None:
    Image.new("RGB", (40, 40)).save(tmp_path / "000001.png")
    with pytest.raises(ImageError) as caught:
        open_film(tmp_path / "%05d.png")
    assert str(caught.value) == (
        f"{tmp_path}/%05d.png: no pictures are there, need some such as 00001.png; 000001.png is there: write as many "
        "digits as it has"
    )
    with pytest.raises(ImageError, match=r"need some such as a001\.png$"):
        open_film(tmp_path / "a%03d.png")
    with pytest.raises(ImageError, match=r"need some such as 00001\.png$"):
        open_film(tmp_path / "nowhere" / "%05d.png")


def test_numbered_pictures_of_before_stay_and_are_told_of(tmp_path: Path) -> None:
    """Of an earlier, longer painting or of another numbering; not what is read."""

    def painted(target: str, frames: int, inputs: tuple[str, ...] = ()) -> list[str]:
        facts = FilmFacts("a", SIZE, Fraction(1, 25))
        writer = PicturesWriter(f"{tmp_path}/{target}", facts, force=True, inputs=inputs)
        for number in range(frames):
            writer.write(Frame(ramp(number, (32, 32)), number, 1))
        writer.finish()
        return writer.notes

    assert painted("out/", 5) == painted("out/", 5) == []
    (told,) = painted("out/", 2)
    assert told.startswith(f"{tmp_path}/out: 3 other numbered pictures stay there, such as 000003.png: ")
    (told,) = painted("out/x%02d.jpg", 1)
    assert "5 other numbered pictures stay there, such as 000001.png" in told
    assert len(list((tmp_path / "out").iterdir())) == 6
    for source in ("out", "out/0*.png", "out/%06d.png"):
        assert painted("out/x%02d.jpg", 1, (f"{tmp_path}/{source}", "great-wave", "a[1]")) == []
    (told,) = painted("out/x%02d.jpg", 1, (f"{tmp_path}/out/00000[1-4].png",))
    assert "1 other numbered picture stays there, such as 000005.png" in told


@pytest.mark.parametrize("source", ["nums", "nums/*.png", "nums/%03d.png", "link"])
@pytest.mark.parametrize("target", ["nums/%03d.png", "link/%03d.png", "nums/002.png", "out/%d.png"])
def test_no_picture_of_the_input_is_replaced(tmp_path: Path, source: str, target: str) -> None:
    (tmp_path / "nums").mkdir()
    for number in range(5):
        Image.fromarray(ramp(number)).save(tmp_path / "nums" / f"{number:03d}.png")
    (tmp_path / "link").symlink_to("nums")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "4.png").symlink_to("../nums/004.png")
    with pytest.raises(OutputError, match=r"is (the|an) input"):
        check_target(Output(str(tmp_path / target), force=True), [str(tmp_path / source)])
    check_target(Output(str(tmp_path / "nums" / "painted%03d.png"), force=True), [str(tmp_path / source)])
    others = [str(tmp_path / "nums" / "003.png")]
    with pytest.raises(OutputError, match=r"003\.png: is an input"):
        check_target(Output(str(tmp_path / "nums" / "%03d.png"), force=True), [], others)


def test_pictures_that_cannot_be_written_leave_no_folder(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("no folder")
    for name, said in (("new/x%d.txt", r"as \.txt"), ("a.txt/x%d.png", "is no folder"), ("a.txt/", "is no folder")):
        with pytest.raises(OutputError, match=said):
            check_target(Output(f"{tmp_path}/{name}"), [])
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_frame_that_stands_for_others_lasts_until_the_next(tmp_path: Path) -> None:
    """The last one until the film ends, or the part of it."""
    frames = [replace(_frame(number), pts=10 * number, duration=10) for number in range(25)]

    def spans(every: int, **more: Any) -> list[tuple[int, int]]:
        found = (item for item in chosen(iter(frames), every, **more) if isinstance(item, Frame))
        return [(frame.pts, frame.duration) for frame in found]

    assert spans(10) == [(0, 100), (100, 100), (200, 50)]
    assert spans(1000) == [(0, 250)]
    assert spans(10, stop=245) == [(0, 100), (100, 100), (200, 45)]
    assert spans(1, stop=245)[-2:] == [(230, 10), (240, 5)]
    frames[-1] = replace(frames[-1], duration=0)
    assert spans(8, usual=7)[-1] == (240, 7)


def test_times_of_frames_tell_how_long_others_take() -> None:
    """A start of 9 s and slow first frames, then .1 s for each."""
    now = 0.0
    times = FrameTimes(lambda: now)
    assert times.per_frame is None
    for number in range(1, 21):
        now += 9 if number == 1 else 1 if number < 5 else 0.1
        times.see(number)
        times.see(number)
    assert times.enough
    assert times.before_first == 9
    assert times.per_frame == pytest.approx(0.1)


def test_bad_films_are_told_in_a_sentence(tmp_path: Path) -> None:
    make_film(tmp_path / "a.mp4", EVEN, sound="aac")
    whole = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "noise.mp4").write_bytes(bytes(range(256)) * 40)
    Image.fromarray(ramp(0)).save(tmp_path / "still.png")
    Image.fromarray(ramp(0)).save(tmp_path / "still.jpg")
    (tmp_path / "text.jpg").write_text("no picture")
    with av.open(str(tmp_path / "heard.m4a"), "w") as file:
        stream = file.add_stream("aac", rate=44100)
        block = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        block.rate = 44100
        stream.codec_context.layout = "mono"
        file.mux(stream.encode(block))
        file.mux(stream.encode(None))
    (tmp_path / "nothing").mkdir()
    encrypted(tmp_path / "a.mp4", tmp_path / "locked.mp4")
    for name, said in (
        ("absent.mp4", "no such film"), ("cut.mp4", "cannot be read as a film"), ("empty.mp4", "is empty"),
        ("noise.mp4", "cannot be read as a film"), ("still.png", "is a still picture"),
        ("still.jpg", "is a still picture"), ("text.jpg", "cannot be read as a film"),
        ("heard.m4a", "holds no moving picture"), ("nothing", "no pictures"), ("locked.mp4", "is encrypted"),
    ):  # fmt: skip
        with pytest.raises(ImageError, match=said) as caught:
            open_film(tmp_path / name)
        assert "\n" not in str(caught.value)


def encrypted(source: Path, target: Path) -> None:
    """The film with its samples encrypted (ISO 23001-7)."""
    how = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": "00" * 16, "encryption_kid": "01" * 16}
    with av.open(str(source)) as film, av.open(str(target), "w", options=how) as file:
        targets = [file.add_stream_from_template(stream) for stream in film.streams]
        for packet in film.demux():
            if packet.size:
                packet.stream = targets[packet.stream_index]
                file.mux(packet)


def test_a_truncated_film_gives_what_can_be_read(tmp_path: Path) -> None:
    make_film(tmp_path / "a.mkv", [40 * n for n in range(40)], time_base=Fraction(1, 1000))
    whole = (tmp_path / "a.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) * 2 // 3])
    with open_film(tmp_path / "cut.mkv") as film:
        assert 5 < len(list(film.frames())) < 40


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".apng"])
def test_an_animation_that_is_cut_short_gives_its_whole_frames(tmp_path: Path, suffix: str) -> None:
    """Wherever it is cut, also in the head of a frame."""
    source, cut = tmp_path / f"a{suffix}", tmp_path / f"cut{suffix}"
    frames = [Image.fromarray(ramp(number)) for number in range(4)]
    frames[0].save(source, save_all=True, append_images=frames[1:], duration=100)
    whole, counts, told = source.read_bytes(), list[int](), 0
    with open_film(source) as film:
        expected = [frame.rgb for frame in film.frames()]
        assert len(expected) == 4
        assert not film.notes
    for length in range(1, len(whole) - 12, max(1, len(whole) // 150)):
        cut.write_bytes(whole[:length])
        try:
            film = open_film(cut)
        except ImageError:
            counts.append(0)
            continue
        with film:
            found = [frame.rgb for frame in film.frames()]
            assert all(map(np.array_equal, found, expected))
            assert (film.facts.frames, film.facts.seconds) == (len(found), len(found) / 10)
            told += any(f"is cut short, or damaged: {len(found)} frame" in note for note in film.notes)
        counts.append(len(found))
    assert counts == sorted(counts)
    assert {0, 1, 2, 3} <= set(counts)
    assert told >= 0.9 * sum(0 < count < 4 for count in counts)  # a GIF may be cut between two frames, as if it ended


def read_notes(path: Path, begin: str = "0", end: str | None = None) -> str:
    """What is told of a film when all of it, or a part, is read."""
    with open_film(path) as film:
        for _ in film.items(Fraction(begin), None if end is None else Fraction(end)):
            pass
        return " ".join(film.notes)


@pytest.mark.parametrize("sound", [None, "aac"])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".avi", ".flv"])
def test_a_film_that_is_cut_short_is_told(tmp_path: Path, suffix: str, sound: str | None) -> None:
    """By its header's time; not where the part that is wanted is there."""
    plain, source = tmp_path / "plain.mp4", tmp_path / f"a{suffix}"
    make_film(plain, [24 * number for number in range(75)], sound=sound)
    if suffix == ".avi":
        make_film(source, list(range(75)), time_base=Fraction(1, 25), codec="mpeg4", sound=sound and "libmp3lame")
    elif suffix == ".webm":
        copy(plain, source, crf=5)
    else:
        remux(plain, source)
    whole = source.read_bytes()
    (tmp_path / f"cut{suffix}").write_bytes(whole[: len(whole) // 2])
    assert "is cut short: it should last 3.0" in read_notes(tmp_path / f"cut{suffix}")
    assert "is cut short" in read_notes(tmp_path / f"cut{suffix}", "1/5", "14/5")
    for path, begin, end in ((source, "0", None), (source, "1/2", None), (tmp_path / f"cut{suffix}", "0", "1/5")):
        assert "is cut short" not in read_notes(path, begin, end)


def remux(source: Path, target: Path) -> None:
    """The same packets, with what the header tells before them."""
    with av.open(str(source)) as film, av.open(str(target), "w", options={"movflags": "+faststart"}) as file:
        targets = [file.add_stream_from_template(stream) for stream in film.streams]
        for packet in film.demux():
            if packet.size:
                packet.stream = targets[packet.stream_index]
                file.mux(packet)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".ts", ".flv"])
@pytest.mark.parametrize("times", [EVEN, UNEVEN, [0, 3000, 6000], [0]], ids=["even", "uneven", "slow", "one"])
def test_a_whole_film_is_not_called_short(tmp_path: Path, suffix: str, times: list[int]) -> None:
    """Whatever its rate, and with sound that goes on for two seconds, or begins late."""
    for name, start in (("a", 0), ("late", 600)):
        make_film(
            tmp_path / f"{name}{suffix}", times, sound="aac", start=start,
            heard=lambda rate, seconds: tone(rate, seconds + 2),
        )  # fmt: skip
        assert "is cut short" not in read_notes(tmp_path / f"{name}{suffix}")


@pytest.mark.parametrize(("trc", "white"), [(18, 0.75), (16, 0.58069)], ids=["HLG", "PQ"])
def test_hdr_is_not_washed_out(tmp_path: Path, trc: int, white: float) -> None:
    """Diffuse white (BT.2408) comes out bright and neutral, and it is told."""
    level = round(64 + 876 * white)
    with av.open(str(tmp_path / "a.mkv"), "w") as file:
        stream = file.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p10le"
        context = stream.codec_context
        context.colorspace, context.color_primaries, context.color_trc, context.color_range = 9, 9, trc, 1
        frame = av.VideoFrame(64, 64, "yuv420p10le")
        for plane, value in zip(frame.planes, (level, 512, 512), strict=True):
            plane.update(np.full(plane.buffer_size // 2, value, "<u2").tobytes())
        frame.pts = 0
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    with open_film(tmp_path / "a.mkv") as film:
        rgb = next(film.frames()).rgb
        assert any("HDR" in note for note in film.notes)
    assert rgb.min() > 225
    assert np.ptp(rgb) < 4


def test_times_and_names() -> None:
    assert parse_time("1:02.5", "begin") == Fraction(125, 2)
    assert parse_time("4s", "begin") == 4
    with pytest.raises(OptionError):
        parse_time("soon", "begin")
    assert [output_kind(name) for name in ("a.mp4", "a.gif", "b/", "b/%04d.png")] == [
        "film", "animation", "pictures", "pictures",
    ]  # fmt: skip
    with pytest.raises(OutputError, match=r"\.wmv"):
        output_kind("a.wmv")
    with pytest.raises(OptionError, match="codec"):
        codec_for("a.webm", "h264", None)
    with pytest.raises(OptionError, match="crf"):
        codec_for("a.mp4", "auto", 60)


def _frame(number: int, size: tuple[int, int] = SIZE) -> Any:
    from impasto.video.film import Frame

    return Frame(ramp(number, size), number, 1)
