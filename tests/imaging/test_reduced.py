"""Large pictures are read no larger than they are needed: the same values, little memory, or refused undecoded."""

from __future__ import annotations

import io
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from impasto.core.resizing import bicubic_rows
from impasto.errors import ImageError, OptionError
from impasto.imaging import as_picture, fit_long_side, luminance, read, reduced, resize
from impasto.imaging.pngrows import PngRows
from impasto.imaging.reduced import read_light, read_reduced, reading_bytes

SIZE = (151, 97)
LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="measures memory as Linux does")


def pixels(channels: int = 3, dtype: Any = np.uint8) -> np.ndarray:
    """(97, 151, C): smooth, with noise."""
    y, x = np.mgrid[: SIZE[1], : SIZE[0]] / 150
    waves = np.stack([np.sin(5 * x + channel) * np.cos(7 * y) / 2 + 0.5 for channel in range(channels)], -1)
    noise = np.random.default_rng(0).random(waves.shape)
    return np.round((0.8 * waves + 0.2 * noise) * np.iinfo(dtype).max).astype(dtype)


def opaque(array: np.ndarray) -> np.ndarray:
    """With alpha that hides nothing."""
    full = np.full((*array.shape[:2], 1), np.iinfo(array.dtype).max, array.dtype)
    return np.concatenate([array, full], 2)


def png(image: Image.Image, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG", **options)
    return out.getvalue()


def save(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def tiff(array: np.ndarray, **options: Any) -> bytes:
    out = io.BytesIO()
    tifffile.imwrite(out, array, **options)
    return out.getvalue()


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def rgb() -> Image.Image:
    return Image.fromarray(pixels())


FILES = {
    "PNG": lambda: png(rgb()),
    "PNG, grey": lambda: png(rgb().convert("L")),
    "PNG, 1 bit": lambda: png(rgb().convert("1")),
    "PNG, 2 bits": lambda: png(rgb().quantize(4), bits=2),
    "PNG, 4 bits": lambda: png(rgb().quantize(16), bits=4),
    "PNG, palette": lambda: png(rgb().quantize(200)),
    "PNG, opaque alpha": lambda: png(Image.fromarray(opaque(pixels()))),
    "PNG, grey with opaque alpha": lambda: png(Image.fromarray(opaque(pixels(1)), "LA")),
    "PNG, 16 bits": lambda: imagecodecs.png_encode(pixels(3, np.uint16)),
    "PNG, 16 bits with opaque alpha": lambda: imagecodecs.png_encode(opaque(pixels(3, np.uint16))),
    "PNG, 16 bits grey": lambda: imagecodecs.png_encode(pixels(1, np.uint16)[:, :, 0]),
    "PNG, mirrored": lambda: png(rgb(), exif=turned(4)),
    "PNG, turned": lambda: png(rgb(), exif=turned(6)),
    "TIFF": lambda: tiff(pixels(), photometric="rgb"),
    "TIFF, strips": lambda: tiff(pixels(), photometric="rgb", rowsperstrip=10, compression="zlib", predictor=True),
    "TIFF, tiles": lambda: tiff(pixels(), photometric="rgb", tile=(32, 48), compression="zlib"),
    "TIFF, planes": lambda: tiff(np.moveaxis(pixels(), 2, 0), photometric="rgb", planarconfig="separate"),
    "TIFF, tiled planes": lambda: tiff(
        np.moveaxis(pixels(), 2, 0), photometric="rgb", planarconfig="separate", tile=(32, 32)
    ),
    "TIFF, big endian 16 bits": lambda: tiff(pixels(3, np.uint16), photometric="rgb", byteorder=">"),
    "TIFF, floats": lambda: tiff((pixels() / 255).astype(np.float32), photometric="rgb", rowsperstrip=16),
    "TIFF, inks": lambda: tiff(pixels(4), photometric="separated", extrasamples=[]),
    "TIFF, white is zero": lambda: tiff(pixels(1)[:, :, 0], photometric="miniswhite", rowsperstrip=9),
    "TIFF, LZW": lambda: tiff(pixels(), photometric="rgb", compression="lzw", rowsperstrip=16),
    "TIFF, JPEG": lambda: tiff(pixels(), photometric="ycbcr", compression="jpeg", rowsperstrip=16),
    "WebP": lambda: save(rgb(), "WEBP", lossless=True),
    "GIF": lambda: save(rgb().quantize(100), "GIF"),
    "BMP": lambda: save(rgb(), "BMP"),
    "JPEG, not smaller": lambda: save(rgb(), "JPEG", quality=95),
    "JPEG, turned": lambda: save(rgb(), "JPEG", quality=95, exif=turned(8)),
}


@pytest.fixture
def strips(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small pictures are read as large ones are."""
    monkeypatch.setattr(reduced, "WHOLE", 0)
    monkeypatch.setattr(reduced, "SMALL", 0)
    monkeypatch.setattr(reduced, "STRIP", 1000)


@pytest.mark.usefixtures("strips")
@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("long_side", [100, 31, 9])
def test_by_strips_values_are_those_of_the_whole(kind: str, long_side: int) -> None:
    if kind.startswith("JPEG") and long_side < 100:
        pytest.skip("decoded smaller, see below")
    data = FILES[kind]()
    whole = read(io.BytesIO(data))
    found = read_reduced(io.BytesIO(data), long_side=long_side)
    size = fit_long_side((whole.height, whole.width), long_side)
    assert (found.height, found.width) == size
    assert (found.bits, found.alpha is None) == (whole.bits, whole.alpha is None)
    np.testing.assert_allclose(found.rgb, resize(whole.rgb, size), atol=3e-6, rtol=0)
    light = luminance(whole.rgb) if whole.alpha is None else luminance(whole.rgb) * whole.alpha
    np.testing.assert_allclose(read_light(io.BytesIO(data), (50, 60)), resize(light, (50, 60)), atol=3e-6, rtol=0)


@pytest.mark.usefixtures("strips")
def test_the_same_bits_where_the_file_is_upright() -> None:
    data = FILES["PNG"]()
    whole = read(io.BytesIO(data)).rgb
    found = read_reduced(io.BytesIO(data), long_side=40, by=bicubic_rows)
    assert np.array_equal(found.rgb, resize(whole, (26, 40), bicubic_rows))


@pytest.mark.usefixtures("strips")
@pytest.mark.parametrize("kind", ["array", "floats", "tensor", "image", "palette"])
def test_pictures_in_memory(kind: str) -> None:
    image: Any = {
        "array": pixels(3, np.uint16),
        "floats": pixels()[:, :, 0] / 255,
        "tensor": torch.from_numpy(pixels() / 255).permute(2, 0, 1),
        "image": rgb(),
        "palette": rgb().quantize(50),
    }[kind]
    whole, found = as_picture(image), read_reduced(image, long_side=40)
    assert (found.bits, found.name) == (whole.bits, whole.name)
    np.testing.assert_allclose(found.rgb, resize(whole.rgb, (26, 40)), atol=3e-6, rtol=0)


@pytest.mark.usefixtures("strips")
def test_a_jpeg_decoded_smaller_looks_the_same() -> None:
    data = save(rgb().resize((1510, 970), Image.Resampling.BICUBIC), "JPEG", quality=95)
    found = read_reduced(io.BytesIO(data), long_side=60)
    assert np.abs(found.rgb - resize(read(io.BytesIO(data)).rgb, (39, 60))).mean() < 0.006


@pytest.mark.usefixtures("strips")
def test_what_alpha_hides_does_not_count() -> None:
    paintings = []
    for hidden in (0, 255):
        array = opaque(pixels())
        array[:, 70:] = (hidden, hidden, hidden, 0)
        paintings.append(read_reduced(array, long_side=40))
    black, white = paintings
    assert black.alpha is not None
    shown = black.alpha > 0.05
    assert np.abs(black.rgb - white.rgb)[shown].max() < 1e-5


@pytest.mark.parametrize("kind", FILES)
def test_small_pictures_are_read_whole_as_ever(kind: str) -> None:
    data = FILES[kind]()
    whole, found = read(io.BytesIO(data)), read_reduced(io.BytesIO(data), long_side=30, room=0)
    assert np.array_equal(found.rgb, whole.rgb)


@pytest.mark.usefixtures("strips")
@pytest.mark.parametrize("damage", ["cut", "checksum", "pixels"])
def test_a_damaged_png_is_one_sentence(damage: str) -> None:
    data = bytearray(FILES["PNG"]())
    if damage == "cut":
        del data[len(data) // 2 :]
    else:
        place = data.index(b"IDAT") + (200 if damage == "pixels" else -20)
        data[place] ^= 0xFF
    with pytest.raises(ImageError, match=r"damaged or cut short|not a picture"):
        read_reduced(io.BytesIO(bytes(data)), long_side=40)


def test_rows_of_a_png_are_pngs() -> None:
    data = FILES["PNG"]()
    parts = [np.asarray(Image.open(io.BytesIO(part))) for part in PngRows(io.BytesIO(data)).pieces(10)]
    assert [len(part) for part in parts] == [10] * 9 + [7]
    np.testing.assert_array_equal(np.concatenate(parts), pixels())


# -- memory ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("strips")
def test_what_does_not_fit_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    data = FILES["WebP"]()
    need = reading_bytes(io.BytesIO(data), long_side=40)
    read_reduced(io.BytesIO(data), long_side=40, room=need)
    monkeypatch.setattr(Image.Image, "crop", None)
    with pytest.raises(OptionError, match=r"151x97 px of WEBP takes .* MB, and max_memory leaves"):
        read_reduced(io.BytesIO(data), long_side=40, room=need - 1)


@pytest.mark.usefixtures("strips")
def test_what_gathers_its_scans_is_counted() -> None:
    plain, progressive = (save(rgb(), "JPEG", progressive=value) for value in (False, True))
    more = reading_bytes(io.BytesIO(progressive), long_side=10) - reading_bytes(io.BytesIO(plain), long_side=10)
    assert more >= 3 * SIZE[0] * SIZE[1]


CHILD = textwrap.dedent("""
    import sys
    from pathlib import Path
    from impasto.imaging.reduced import read_light, read_reduced, reading_bytes
    def memory(name):
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024
    file, light = sys.argv[1], sys.argv[2] == "light"
    read_reduced("small.png", long_side=10)  # loads what reading needs
    held, need = memory("VmRSS:"), reading_bytes(file, size=(512, 512), light=light)
    read_light(file, (512, 512)) if light else read_reduced(file, size=(512, 512))
    print(memory("VmHWM:") - held, need)
""")


@LINUX
@pytest.mark.parametrize("kind", ["png", "jpg", "progressive.jpg", "webp", "plain.tif", "strips.tif", "lzw.tif"])
def test_reading_takes_what_is_said(kind: str, tmp_path: Path) -> None:
    """Of 16.8 Mpx, just more than are read whole, of which all would take 400 MB."""
    Image.fromarray(pixels()).save(tmp_path / "small.png")
    array = np.kron(pixels()[:50, :50], np.ones((82, 82, 1), np.uint8))
    assert array.shape[0] * array.shape[1] > reduced.WHOLE
    path = tmp_path / f"large.{kind}"
    if kind.endswith("tif"):
        how = {"plain.tif": None, "strips.tif": "zlib", "lzw.tif": "lzw"}[kind]
        tifffile.imwrite(path, array, photometric="rgb", compression=how, rowsperstrip=64)
    else:
        options = {"png": {"compress_level": 1}, "progressive.jpg": {"progressive": True}, "webp": {"method": 0}}
        Image.fromarray(array).save(path, **options.get(kind, {}))
    for what in ("colours", "light"):
        command = [sys.executable, "-c", CHILD, str(path), what]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        taken, said = (int(number) for number in done.stdout.split())
        assert taken <= said < (375e6 if kind == "webp" else 335e6)
