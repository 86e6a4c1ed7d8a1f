"""Every kind of file in: palettes, ink, grey, masks, floats, several frames."""

from __future__ import annotations

import io
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from impasto.errors import ImageError
from impasto.imaging import Picture, as_picture, read
from impasto.imaging.left_out import left_out_note

from .imaging_samples import (
    HEIGHT,
    WIDTH,
    alpha_of,
    array_of,
    gradient,
    gradient16,
    plain_tiff,
    png16,
    ramp_alpha,
    saved,
    tiff,
    with_alpha,
)


def loaded(data: bytes) -> Picture:
    return read(io.BytesIO(data))


def grey_values() -> np.ndarray:
    return gradient()[:, :, 0]


@pytest.mark.parametrize("fmt", ["PNG", "TIFF", "JPEG", "GIF", "BMP"])
def test_grey(fmt: str) -> None:
    rgb = array_of(loaded(saved(Image.fromarray(grey_values()), fmt)))
    assert (rgb[:, :, 0] == rgb[:, :, 1]).all()
    assert (rgb[:, :, 0] == rgb[:, :, 2]).all()
    assert np.abs(rgb[:, :, 0] * 255 - grey_values()).max() <= (3 if fmt == "JPEG" else 0.01)


@pytest.mark.parametrize("fmt", ["PNG", "TIFF", "GIF", "BMP"])
def test_one_bit(fmt: str) -> None:
    bits = grey_values() > 100
    for options in ({}, {"compression": "tiff_lzw"}) if fmt == "TIFF" else ({},):
        rgb = array_of(loaded(saved(Image.fromarray(bits), fmt, **options)))
        assert np.array_equal(rgb[:, :, 1], bits.astype(np.float32))


@pytest.mark.parametrize("fmt", ["PNG", "TIFF"])
def test_grey_with_alpha(fmt: str) -> None:
    image = Image.fromarray(np.dstack([grey_values(), ramp_alpha()]), "LA")
    picture = loaded(saved(image, fmt))
    assert np.array_equal(picture.integers(8)[:, :, 2], grey_values())
    assert np.array_equal(picture.integers(8)[:, :, 3], ramp_alpha())


@pytest.mark.parametrize("fmt", ["PNG", "TIFF", "GIF", "BMP"])
def test_palette(fmt: str) -> None:
    image = Image.fromarray(gradient()).quantize(64)
    for options in ({}, {"compression": "tiff_lzw"}) if fmt == "TIFF" else ({},):
        picture = loaded(saved(image, fmt, **options))
        assert picture.alpha is None
        assert np.array_equal(picture.integers(8), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("scale", [1, 256, 257])
def test_tiff_palettes_of_all_scales(scale: int) -> None:
    """The table has 16 bits; 8-bit colours are found in it as they are, shifted, or repeated."""
    table = np.random.default_rng(1).integers(0, 256, (3, 256), dtype=np.uint16)
    index = grey_values()
    data = tiff(index, photometric="palette", colormap=table * np.uint16(scale))
    assert np.array_equal(loaded(data).integers(8), table.T[index])


def test_four_bits_use_the_full_range() -> None:
    values = np.arange(16, dtype=np.uint8).repeat(3)[None].repeat(HEIGHT, axis=0)  # (36, 48)
    packed = (values[:, ::2] << 4 | values[:, 1::2]).tobytes()
    entries = {256: (4, WIDTH), 257: (4, HEIGHT), 258: (3, 4), 259: (3, 1), 262: (3, 1), 277: (3, 1), 278: (4, HEIGHT)}
    assert np.array_equal(loaded(plain_tiff(entries, packed)).integers(8)[:, :, 0], values * 17)


@pytest.mark.parametrize("fmt", ["PNG", "GIF"])
def test_palette_with_a_transparent_entry(fmt: str) -> None:
    image = Image.fromarray(gradient()).quantize(64)
    picture = loaded(saved(image, fmt, transparency=5))
    clear = np.asarray(image) == 5
    assert clear.any()
    assert np.array_equal(alpha_of(picture), np.where(clear, 0, 1))


def test_palette_with_alpha_for_every_entry() -> None:
    image = Image.fromarray(gradient()).quantize(64)
    picture = loaded(saved(image, "PNG", transparency=bytes(range(0, 256, 4))))
    assert np.allclose(alpha_of(picture) * 255, np.asarray(image) * 4.0)


def test_a_transparent_colour() -> None:
    flat = gradient()
    flat[:10] = (1, 2, 3)
    picture = loaded(saved(Image.fromarray(flat), "PNG", transparency=(1, 2, 3)))
    assert np.array_equal(alpha_of(picture)[:, 0], [0] * 10 + [1] * (HEIGHT - 10))
    deep = gradient16()
    deep[:10] = (1, 2, 3)
    picture = loaded(png16(deep, tRNS=b"\0\1\0\2\0\3"))
    assert picture.bits == 16
    assert np.array_equal(alpha_of(picture)[:, 0], [0] * 10 + [1] * (HEIGHT - 10))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bit_png(channels: int) -> None:
    array = with_alpha(gradient16())[:, :, [[0], [0, 3], [0, 1, 2], [0, 1, 2, 3]][channels - 1]]
    picture = loaded(png16(array.squeeze()))
    back = picture.integers(16)
    assert picture.bits == 16
    expected = array if channels > 2 else np.dstack([array[:, :, :1]] * 3 + [array[:, :, 1:]])
    assert np.array_equal(back, expected)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"byteorder": ">"},
        {"bigtiff": True},
        {"compression": "lzw", "predictor": True},
        {"compression": "lzw", "byteorder": ">", "bigtiff": True, "tile": (16, 16)},
        {"compression": "packbits"},
        {"tile": (64, 2048)},
        {"compression": "zstd"},
        {"tile": (16, 16)},
        {"rowsperstrip": 5, "compression": "zlib"},
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_tiff_layouts(options: dict[str, object], dtype: type) -> None:
    array = gradient() if dtype == np.uint8 else gradient16()
    picture = loaded(tiff(array, **options))
    assert picture.bits == array.itemsize * 8
    assert np.array_equal(picture.integers(picture.bits), array)


@pytest.mark.parametrize("compression", [None, "lzw", "zlib"])
@pytest.mark.parametrize("array", [gradient(), gradient16()], ids=["8", "16"])
def test_tiff_variants(array: np.ndarray, compression: str | None) -> None:
    bits, top = array.itemsize * 8, np.iinfo(array.dtype).max
    grey = array[:, :, 0]

    def through(array: np.ndarray, **options: object) -> Picture:
        return loaded(tiff(array, compression=compression, **options))

    planes = through(np.moveaxis(array, 2, 0).copy(), planarconfig="separate")
    assert np.array_equal(planes.integers(bits), array)
    assert np.array_equal(through(grey, photometric="minisblack").integers(bits)[:, :, 1], grey)
    assert np.array_equal(through(grey, photometric="miniswhite").integers(bits)[:, :, 1], top - grey)
    unmarked = through(with_alpha(array), extrasamples=["unspecified"])
    assert unmarked.alpha is None
    assert np.array_equal(unmarked.integers(bits), array)
    straight = through(with_alpha(array), extrasamples=["unassalpha"])
    assert np.array_equal(straight.integers(bits), with_alpha(array))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_premultiplied_alpha_is_undone(dtype: type) -> None:
    top = np.iinfo(dtype).max
    alpha = ramp_alpha(dtype)
    colour = np.full((HEIGHT, WIDTH, 3), 0.6)
    stored = np.dstack([np.rint(colour * alpha[:, :, None]), alpha]).astype(dtype)
    picture = loaded(tiff(stored, extrasamples=["assocalpha"]))
    well_covered = alpha > top // 2
    assert np.abs(array_of(picture)[well_covered] - 0.6).max() < 1.5 / top * 2
    assert np.array_equal(alpha_of(picture), (alpha / np.float32(top)).astype(np.float32))


def test_twelve_bits_use_the_full_range() -> None:
    values = np.linspace(0, 4095, HEIGHT * WIDTH * 3).round().astype(np.uint16).reshape(HEIGHT, WIDTH, 3)
    picture = loaded(tiff(values, bitspersample=12))
    assert picture.bits == 16
    assert np.abs(array_of(picture) - values / 4095).max() < 1e-5


def test_thirty_two_bits() -> None:
    deep = gradient16().astype(np.uint32) * 65536 + 77
    assert np.array_equal(loaded(tiff(deep)).integers(16), gradient16())


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_float_tiff(dtype: type) -> None:
    values = (gradient16() / 65535).astype(dtype)
    picture = loaded(tiff(values))
    assert picture.bits == 16
    assert np.abs(array_of(picture) - values).max() < 1e-5


@pytest.mark.parametrize(("value", "got"), [(np.nan, "nan"), (np.inf, "inf"), (255.0, "255"), (-0.5, "-0.5")], ids=str)
def test_float_tiff_out_of_range(value: float, got: str) -> None:
    values = (gradient() / 255).astype(np.float32)
    values[3, 4, 1] = value
    with pytest.raises(ImageError, match=f"float samples from .*{got}.*, need 0 to 1; rescale it"):
        loaded(tiff(values))


def test_tiff_kinds_that_are_refused() -> None:
    with pytest.raises(ImageError, match="16-bit samples of type int16"):
        loaded(tiff(gradient16().astype(np.int16)))
    with pytest.raises(ImageError, match=r"kind CIELAB with 32-bit samples of type float32.* or CIELab with 8 or 16"):
        loaded(tiff(gradient().astype(np.float32), photometric="cielab"))
    with pytest.raises(ImageError, match=r"compressed by LZMA, need one of none, LZW, .*fax group 4; save it again"):
        loaded(saved(Image.fromarray(gradient()), "TIFF", compression="lzma"))
    with pytest.raises(ImageError, match="kind CFA with 16-bit samples"):
        loaded(tiff(gradient16()[:, :, 0], photometric="cfa"))


def test_cielab_of_pillow() -> None:
    spaces = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    soft = np.rint(gradient() * 0.5 + 64).astype(np.uint8)
    lab = ImageCms.applyTransform(Image.fromarray(soft), ImageCms.buildTransform(*spaces, "RGB", "LAB"))
    for picture in (as_picture(lab), loaded(saved(lab, "TIFF"))):
        assert picture.bits == 8
        assert np.abs(array_of(picture) * 255 - soft).max() < 6  # its own way to CIELab is coarse


def test_pillow_deep_greys() -> None:
    deep = gradient16()[:, :, 0]
    for image in (Image.fromarray(deep), Image.fromarray(deep.astype(np.int32))):
        picture = as_picture(image)
        assert picture.bits == 16
        assert np.array_equal(picture.integers(16)[:, :, 2], deep)
    floats = as_picture(Image.fromarray((deep / 65535).astype(np.float32)))
    assert np.array_equal(floats.integers(16)[:, :, 0], deep)
    for image in (Image.fromarray(deep.astype(np.float32)), Image.fromarray(deep.astype(np.int32) * 2)):
        with pytest.raises(ImageError, match=r"mode [FI] with values .*need 0 to (1|65535); rescale it"):
            as_picture(image)
    with pytest.raises(ImageError, match="mode F with values nan to nan"):
        as_picture(Image.new("F", (40, 40), float("nan")))
    image = Image.fromarray(deep)
    image.info["transparency"] = int(deep[4, 5])
    assert np.array_equal(alpha_of(as_picture(image)), (deep != deep[4, 5]).astype(np.float32))


@pytest.mark.parametrize("mode", ["RGBX", "YCbCr", "HSV", "PA", "RGBa", "La", "I;16B"])
def test_pillow_rare_modes(mode: str) -> None:
    if mode == "I;16B":
        image = Image.frombytes(mode, (WIDTH, HEIGHT), gradient16()[:, :, 0].astype(">u2").tobytes())
        assert np.array_equal(as_picture(image).integers(16)[:, :, 0], gradient16()[:, :, 0])
        return
    source = Image.fromarray(gradient())
    chain = {"PA": ("P",), "RGBa": ("RGBA",), "La": ("LA",)}.get(mode, ())
    for step in (*chain, mode):
        source = source.convert(step)
    picture = as_picture(source)
    assert (picture.alpha is not None) == (mode in ("PA", "RGBa", "La"))
    expected = gradient().astype(float) if mode != "La" else np.asarray(source.convert("LA"))[:, :, :1]
    if mode != "PA":  # its palette of few colours is far from the picture
        assert np.abs(array_of(picture) * 255 - expected).max() < 8


def ink() -> np.ndarray:
    """(H, W, 4) CMYK, 0 is no ink."""
    return np.dstack([gradient(), ramp_alpha() // 2])


def light(ink: np.ndarray) -> np.ndarray:
    return (1 - ink[:, :, :3] / 255) * (1 - ink[:, :, 3:] / 255)


def test_cmyk_without_a_profile() -> None:
    image = Image.frombytes("CMYK", (WIDTH, HEIGHT), ink().tobytes())
    for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate"):
        data = saved(image, "TIFF", compression=compression)
        assert np.abs(array_of(loaded(data)) - light(ink())).max() < 1e-4
    assert np.abs(array_of(as_picture(image)) - light(ink())).max() < 1e-4
    data = saved(image, "TIFF", compression="jpeg", quality=100)
    assert np.abs(array_of(loaded(data)) - light(ink())).max() < 0.03
    for compression in (None, "lzw", "zlib"):
        deep = loaded(tiff(ink().astype(np.uint16) * 257, photometric="separated", compression=compression))
        assert deep.bits == 16
        assert np.abs(array_of(deep) - light(ink())).max() < 1e-4


@pytest.mark.parametrize("space", ["cmyk", "ycck"])
def test_cmyk_jpeg_as_adobe_writes_it(space: str) -> None:
    """Such files hold 255 for no ink."""
    data = imagecodecs.jpeg8_encode(255 - ink(), level=100, colorspace="cmyk", outcolorspace=space, subsampling="444")
    assert b"Adobe" in data
    assert np.abs(array_of(loaded(bytes(data))) - light(ink())).max() < 0.03


@pytest.mark.parametrize("fmt", ["GIF", "PNG", "WEBP", "TIFF", "AVIF", "MPO"])
def test_of_several_frames_the_first(fmt: str) -> None:
    frames = [Image.new("RGB", (40, 40), colour) for colour in ("red", "lime", "blue")]
    lossless = {"WEBP": {"lossless": True}}.get(fmt, {})
    picture = loaded(saved(frames[0], fmt, save_all=True, append_images=frames[1:], **lossless))
    assert (picture.height, picture.width) == (40, 40)
    assert np.abs(array_of(picture) - [1, 0, 0]).max() < 0.03


@pytest.mark.parametrize("fmt", ["GIF", "PNG", "WEBP", "TIFF", "JPEG"])
def test_what_is_not_painted_of_several_is_told(tmp_path: Path, fmt: str) -> None:
    frames = [Image.new("RGB", (40, 40), colour) for colour in ("red", "lime", "blue")]
    one, several = tmp_path / f"one.{fmt.lower()}", tmp_path / f"several.{fmt.lower()}"
    one.write_bytes(saved(frames[0], fmt))
    more = {} if fmt == "JPEG" else {"save_all": True, "append_images": frames[1:]}
    several.write_bytes(saved(frames[0], fmt, **more))
    assert left_out_note(one) is None
    assert left_out_note(tmp_path / "none.gif") is None
    note = left_out_note(several)
    if fmt == "JPEG":
        assert note is None
    else:
        assert note is not None
        told = "holds 3 full pictures" if fmt == "TIFF" else "is animated, and its first frame is painted"
        assert told in note


def test_a_thumbnail_is_no_picture_that_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(gradient16(), photometric="rgb", metadata=None)
        writer.write(gradient16()[::4, ::4].copy(), photometric="rgb", metadata=None, subfiletype=1)
    assert left_out_note(path) is None


def test_of_several_pages_the_first_at_sixteen_bits() -> None:
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for scale in (1, 2):
            writer.write(gradient16() // scale, photometric="rgb", metadata=None)
    assert np.array_equal(loaded(file.getvalue()).integers(16), gradient16())


def test_a_named_pipe(tmp_path: Path) -> None:
    import os
    import threading

    path = tmp_path / "pipe.png"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(saved(gradient(), "PNG"),))
    writer.start()
    assert np.array_equal(read(path).integers(8), gradient())
    writer.join()


def test_a_stream_is_left_open() -> None:
    stream = io.BytesIO(saved(gradient(), "JPEG"))
    assert read(stream).name == "stream"
    assert not stream.closed


def test_heic_without_the_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import sys

    from impasto.errors import MissingExtraError
    from impasto.imaging import check_output

    data = saved(gradient(), "HEIC")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    for attempt in (lambda: loaded(data), lambda: check_output(tmp_path / "out.heic")):
        with pytest.raises(MissingExtraError, match=r"pip install 'impasto\[heif\]'"):
            attempt()
    assert loaded(saved(gradient(), "AVIF")).width == WIDTH  # the sister format needs no extra
