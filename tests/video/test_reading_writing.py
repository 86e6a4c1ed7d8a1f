"""Films in and out: every frame's time, colours, rotation, sound, as another process reads them back."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from impasto.errors import ImageError, OptionError, OutputError
from impasto.video.animated_writing import AnimationWriter, PicturesWriter
from impasto.video.colours import upright
from impasto.video.film import FilmFacts, Sound, parse_time
from impasto.video.reading import open_film
from impasto.video.writing import AvWriter, codec_for, output_kind

from .film_samples import SIZE, asked, make_film, ramp

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


def test_bad_films_are_told_in_a_sentence(tmp_path: Path) -> None:
    make_film(tmp_path / "a.mp4", EVEN, sound="aac")
    whole = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "noise.mp4").write_bytes(bytes(range(256)) * 40)
    Image.fromarray(ramp(0)).save(tmp_path / "still.png")
    Image.fromarray(ramp(0)).save(tmp_path / "still.jpg")
    with av.open(str(tmp_path / "heard.m4a"), "w") as file:
        stream = file.add_stream("aac", rate=44100)
        block = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        block.rate = 44100
        stream.codec_context.layout = "mono"
        file.mux(stream.encode(block))
        file.mux(stream.encode(None))
    (tmp_path / "nothing").mkdir()
    for name, said in (
        ("absent.mp4", "no such film"), ("cut.mp4", "cannot be read as a film"), ("empty.mp4", "is empty"),
        ("noise.mp4", "cannot be read as a film"), ("still.png", "is a still picture"),
        ("still.jpg", "is a still picture"), ("heard.m4a", "holds no moving picture"), ("nothing", "no pictures"),
    ):  # fmt: skip
        with pytest.raises(ImageError, match=said) as caught:
            open_film(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_a_truncated_film_gives_what_can_be_read(tmp_path: Path) -> None:
    make_film(tmp_path / "a.mkv", [40 * n for n in range(40)], time_base=Fraction(1, 1000))
    whole = (tmp_path / "a.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) * 2 // 3])
    with open_film(tmp_path / "cut.mkv") as film:
        assert 5 < len(list(film.frames())) < 40


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
