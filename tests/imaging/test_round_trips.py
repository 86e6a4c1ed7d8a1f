"""Every format out and in again."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from impasto.errors import ImageError, OptionError, OutputError
from impasto.imaging import Picture, as_picture, encode, format_warnings, read, to_pil, write
from impasto.imaging.formats import FORMATS
from impasto.imaging.profiles import SRGB

from .imaging_samples import (
    HEIGHT,
    WIDTH,
    alpha_of,
    array_of,
    gradient,
    gradient16,
    ramp_alpha,
    saved,
    with_alpha,
)

LOSSY = {"jpeg": 1.5, "webp": 2.5, "avif": 2.0, "heic": 2.5}  # mean error in 8-bit steps, on a smooth picture
SUFFIXES = [suffix for row in FORMATS.values() for suffix in row.suffixes]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_picture_comes_back(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"out{suffix}"
    write(as_picture(gradient()), path)
    back = read(path)
    assert (back.height, back.width, back.bits, back.alpha) == (HEIGHT, WIDTH, 8, None)
    assert back.name == path.name
    error = np.abs(array_of(back) * 255 - gradient()).mean()
    fmt = next(key for key, row in FORMATS.items() if suffix in row.suffixes)
    assert error <= LOSSY.get(fmt, 0)


@pytest.mark.parametrize("fmt", ["png", "tiff", "webp", "avif", "heic"])
def test_alpha_comes_back(fmt: str, tmp_path: Path) -> None:
    path = tmp_path / f"out.{fmt}"
    picture = as_picture(with_alpha(gradient()))
    assert format_warnings(picture, path) == ()
    write(picture, path)
    error = np.abs(alpha_of(read(path)) * 255 - ramp_alpha()).mean()
    assert error <= (0 if fmt in ("png", "tiff", "webp") else 2)


def test_jpeg_lays_a_transparent_picture_on_white(tmp_path: Path) -> None:
    path = tmp_path / "out.jpg"
    picture = as_picture(with_alpha(np.zeros_like(gradient())))
    assert format_warnings(picture, path) == ("JPEG has no transparency: the picture is laid on white",)
    write(picture, path, quality=100)
    back = read(path)
    assert back.alpha is None
    expected = 1 - np.repeat(ramp_alpha()[:, :, None], 3, axis=2) / 255
    assert np.abs(array_of(back) - expected).max() < 0.02


@pytest.mark.parametrize("fmt", ["png", "tiff"])
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(array=st.sampled_from([3, 4]).flatmap(lambda c: arrays(np.uint16, (4, 5, c))))
def test_sixteen_bits_come_back_exactly(fmt: str, array: np.ndarray) -> None:
    picture = as_picture(array, min_side=1)
    assert picture.bits == 16
    back = read(io.BytesIO(encode(picture, fmt)), min_side=1)
    assert back.bits == 16
    assert np.array_equal(back.integers(16), array)


@settings(max_examples=25, deadline=None)
@given(array=arrays(np.uint8, (4, 5, 4)))
def test_eight_bits_come_back_exactly(array: np.ndarray) -> None:
    for fmt in ("png", "tiff"):
        back = read(io.BytesIO(encode(as_picture(array, min_side=1), fmt)), min_side=1)
        assert np.array_equal(back.integers(8), array)


def test_sixteen_bit_files_are_valid_for_other_readers() -> None:
    picture = as_picture(gradient16())
    with Image.open(io.BytesIO(encode(picture, "png"))) as image:
        image.load()  # checks the sums of all chunks
        assert np.abs(np.asarray(image).astype(int) - (gradient16() >> 8)).max() <= 1
    with tifffile.TiffFile(io.BytesIO(encode(picture, "tiff"))) as file:
        assert np.array_equal(file.pages.first.asarray(), gradient16())


def test_sixteen_bits_become_eight_where_the_format_has_no_more(tmp_path: Path) -> None:
    picture = as_picture(gradient16())
    (sentence,) = format_warnings(picture, "out.webp")
    assert sentence == "WebP is written with 8 bits per channel: the picture came with 16"
    write(picture, tmp_path / "out.webp", quality=100)
    assert read(tmp_path / "out.webp").bits == 8


@pytest.mark.parametrize("fmt", ["jpeg", "png", "webp", "tiff", "avif", "heic"])
@pytest.mark.parametrize("pixels", [gradient, gradient16])
def test_the_srgb_profile_is_embedded(fmt: str, pixels: object) -> None:
    data = encode(as_picture(pixels()), fmt)  # type: ignore[operator]
    if fmt == "heic":
        import pillow_heif

        assert pillow_heif.open_heif(io.BytesIO(data)).info["icc_profile"] == SRGB
    elif fmt == "tiff":
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            assert file.pages.first.tags.valueof("InterColorProfile") == SRGB
    else:
        with Image.open(io.BytesIO(data)) as image:
            assert image.info["icc_profile"] == SRGB


def test_the_same_picture_gives_the_same_bytes() -> None:
    for fmt in FORMATS:
        assert encode(as_picture(gradient()), fmt) == encode(as_picture(gradient()), fmt)
    assert SRGB[24:36] == bytes([7, 208, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0])  # not the time of this run


@pytest.mark.parametrize("fmt", ["jpeg", "webp", "avif", "heic"])
def test_quality_trades_size_for_error(fmt: str) -> None:
    noisy = as_picture(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    low, high = (encode(noisy, fmt, quality=quality) for quality in (20, 95))
    assert len(low) < 0.7 * len(high)


@pytest.mark.parametrize("fmt", ["png", "tiff"])
@pytest.mark.parametrize("pixels", [gradient, gradient16])
def test_compression_trades_size_for_time(fmt: str, pixels: object) -> None:
    picture = as_picture(pixels())  # type: ignore[operator]
    none, most = (encode(picture, fmt, compression=level) for level in (0, 9))
    assert len(most) < len(none)
    assert np.array_equal(read(io.BytesIO(none)).integers(picture.bits), read(io.BytesIO(most)).integers(picture.bits))


@pytest.mark.parametrize(
    ("option", "value"), [("quality", 0), ("quality", 101), ("compression", -1), ("compression", 10)]
)
def test_options_out_of_range(option: str, value: int) -> None:
    with pytest.raises(OptionError, match=f"{option} {value}: need a whole number"):
        encode(as_picture(gradient()), "png", **{option: value})


def test_jpeg_keeps_full_colour_resolution_from_quality_90() -> None:
    def sampling(quality: int) -> int:
        with Image.open(io.BytesIO(encode(as_picture(gradient()), "jpeg", quality=quality))) as image:
            return image.layer[0][1]  # horizontal factor of luma

    assert (sampling(89), sampling(90)) == (2, 1)


def test_too_large_for_the_format(tmp_path: Path) -> None:
    long = Picture(np_to_rgb(np.zeros((1, 16384, 3))))
    with pytest.raises(OutputError, match=r"16384x1 px, WebP holds at most 16383 per side; use \.png or \.tiff"):
        write(long, tmp_path / "out.webp")
    write(long, tmp_path / "out.png")


def np_to_rgb(array: np.ndarray) -> object:
    return as_picture(array, min_side=1).rgb


def test_a_name_for_the_format_wins_over_the_suffix(tmp_path: Path) -> None:
    write(as_picture(gradient()), tmp_path / "out.jpg", format="PNG")
    assert (tmp_path / "out.jpg").read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(OutputError, match="format bmp: not known; give one of jpeg, png, webp, tiff, avif, heic"):
        write(as_picture(gradient()), tmp_path / "out.bmp", format="bmp")


class _Stream:
    """Standard input or output as a program in a pipe has it."""

    def __init__(self, data: bytes = b"", terminal: bool = False) -> None:
        self.buffer = io.BytesIO(data)
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


@pytest.mark.parametrize("dash", ["-", Path("-")])
def test_standard_input(dash: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", _Stream(saved(gradient(), "PNG")))
    picture = read(dash)  # type: ignore[arg-type]
    assert np.array_equal(picture.integers(8), gradient())
    assert picture.name == "stdin"


@pytest.mark.parametrize(("fmt", "magic"), [(None, b"\x89PNG"), ("jpg", b"\xff\xd8\xff"), ("tiff", b"II*\0")])
def test_standard_output(fmt: str | None, magic: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = _Stream()
    monkeypatch.setattr(sys, "stdout", stream)
    write(as_picture(gradient()), "-", format=fmt)
    assert stream.buffer.getvalue().startswith(magic)
    assert read(io.BytesIO(stream.buffer.getvalue())).width == WIDTH


def test_a_terminal_is_no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", _Stream(terminal=True))
    monkeypatch.setattr(sys, "stdout", _Stream(terminal=True))
    with pytest.raises(ImageError, match="standard input is a terminal"):
        read("-")
    with pytest.raises(OutputError, match="standard output is a terminal"):
        write(as_picture(gradient()), "-")


def test_a_closed_pipe_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed(io.BytesIO):
        def write(self, data: object) -> int:
            raise BrokenPipeError(32, "Broken pipe")

    stream = _Stream()
    stream.buffer = Closed()
    monkeypatch.setattr(sys, "stdout", stream)
    with pytest.raises(OutputError, match=r"standard output cannot be written \(Broken pipe\)"):
        write(as_picture(gradient()), "-")


@pytest.mark.parametrize(
    "name", ["späße.png", "a b\tc.png", "line\nbreak.png", "-dash.png", "'quo\"te$(x).png", "名.png"]
)
def test_odd_file_names(name: str, tmp_path: Path) -> None:
    write(as_picture(gradient()), tmp_path / name)
    assert np.array_equal(read(tmp_path / name).integers(8), gradient())
    assert [path.name for path in tmp_path.iterdir()] == [name]
    with pytest.raises(ImageError) as caught:
        read(tmp_path / f"no {name}")
    assert str(caught.value).isprintable()


def test_names_that_are_not_unicode(tmp_path: Path) -> None:
    name = "caf\udce9.png"  # a Latin-1 é on a UTF-8 system
    write(as_picture(gradient()), tmp_path / name)
    assert read(tmp_path / name).name == name
    with pytest.raises(ImageError, match="udce8") as caught:
        read(tmp_path / "caf\udce8.png")
    str(caught.value).encode()  # can be printed


def test_to_pil() -> None:
    picture = as_picture(with_alpha(gradient()))
    image = to_pil(picture)
    assert image.mode == "RGBA"
    assert image.info["icc_profile"] == SRGB
    assert np.array_equal(np.asarray(image), with_alpha(gradient()))
    for tensor in (picture.rgb, picture.rgb[0]):
        assert np.array_equal(np.asarray(to_pil(tensor)), gradient())
    assert to_pil(picture.rgb * 3 - 1).getextrema() == ((0, 255), (0, 255), (0, 255))
    with pytest.raises(ImageError, match=r"shape \(1, 4, 8, 8\), need \(1, 3, H, W\)"):
        to_pil(picture.rgb.new_zeros(1, 4, 8, 8))


def test_values_are_rounded_to_the_nearest() -> None:
    values = np.array([0.0, 0.4, 0.6, 1.4, 254.4, 254.6]).reshape(1, 6, 1)
    rounded = as_picture(values / 255, min_side=1).integers(8)
    assert rounded[0, :, 0].tolist() == [0, 0, 1, 1, 254, 255]


def test_never_a_black_picture_from_nan(tmp_path: Path) -> None:
    picture = as_picture(gradient())
    broken = picture.with_rgb(picture.rgb * float("nan"))
    for attempt in (lambda: write(broken, tmp_path / "out.png"), lambda: to_pil(broken)):
        with pytest.raises(ImageError, match="NaN or infinite"):
            attempt()
    assert list(tmp_path.iterdir()) == []


def test_repainting_keeps_what_the_file_knew() -> None:
    picture = as_picture(with_alpha(gradient16()))
    half = picture.with_rgb(picture.rgb[:, :, ::2, ::2].double() * 2)
    assert (half.height, half.width, half.bits, half.name) == (HEIGHT // 2, WIDTH // 2, 16, "array")
    assert half.rgb.dtype == picture.rgb.dtype
    assert float(half.rgb.max()) == 1
    alpha = alpha_of(half)
    assert alpha.shape == (HEIGHT // 2, WIDTH // 2)
    assert np.abs(alpha[0] - np.linspace(0, 1, WIDTH).reshape(-1, 2).mean(axis=1)).max() < 0.01
    with pytest.raises(ImageError, match="need"):
        picture.with_rgb(picture.rgb[0])
