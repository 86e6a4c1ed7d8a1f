"""By strips, a picture is what it is in memory: every kind that is read, turned, with profiles, and written again."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from impasto.errors import ImageError, MissingExtraError, OptionError, OutputError
from impasto.imaging import Picture, read, strips, tiff_checks, tiff_rows
from impasto.imaging.pixelfile import PixelFile, Strips
from impasto.imaging.profiles import SRGB
from impasto.imaging.reading import read_header

from .imaging_samples import (
    HEIGHT,
    WIDTH,
    cmyk_profile,
    gradient,
    gradient16,
    orientation_exif,
    png16,
    ramp_alpha,
    saved,
    tiff,
    with_alpha,
)

pytest.importorskip("pyvips", reason="the extra huge (pyvips) is not installed")


def big_tiff() -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, gradient(), photometric="rgb", bigtiff=True, metadata=None)
    return file.getvalue()


KINDS = {
    "rgb.jpg": saved(gradient(), "JPEG", quality=95),
    "grey.jpg": saved(gradient()[:, :, 0], "JPEG", quality=95),
    "progressive.jpg": saved(gradient(), "JPEG", quality=95, progressive=True),
    "cmyk.jpg": saved(Image.fromarray(gradient()).convert("CMYK"), "JPEG", quality=95),
    "profile cmyk.jpg": saved(
        Image.fromarray(gradient()).convert("CMYK"), "JPEG", quality=95, icc_profile=cmyk_profile()
    ),
    "rgb.png": saved(gradient(), "PNG"),
    "rgba.png": saved(with_alpha(gradient()), "PNG"),
    "grey.png": saved(gradient()[:, :, 0], "PNG"),
    "grey alpha.png": saved(Image.fromarray(gradient()).convert("LA"), "PNG"),
    "palette.png": saved(Image.fromarray(gradient()).quantize(16), "PNG"),
    "transparent palette.png": saved(Image.fromarray(gradient()).quantize(16), "PNG", transparency=3),
    "one bit.png": saved(Image.fromarray(gradient()).convert("1"), "PNG"),
    "deep.png": png16(gradient16()),
    "deep alpha.png": png16(with_alpha(gradient16())),
    "deep colour key.png": png16(gradient16(), tRNS=gradient16()[0, 0].astype(">u2").tobytes()),
    "rgb.tif": tiff(gradient()),
    "rgba.tif": tiff(with_alpha(gradient()), extrasamples=["unassalpha"]),
    "no alpha.tif": tiff(with_alpha(gradient()), extrasamples=["unspecified"]),
    "deep.tif": tiff(gradient16(), compression="zlib", predictor=True, rowsperstrip=5),
    "white.tif": tiff(gradient()[:, :, 0], photometric="miniswhite"),
    "cmyk.tif": tiff(with_alpha(gradient()), photometric="separated"),
    "planes.tif": tiff(np.moveaxis(gradient(), 2, 0).copy(), planarconfig="separate"),
    "tiles.tif": tiff(gradient(), tile=(16, 16)),
    "lzw.tif": saved(gradient(), "TIFF", compression="tiff_lzw"),
    "jpeg.tif": saved(gradient(), "TIFF", compression="jpeg"),
    "palette.tif": saved(Image.fromarray(gradient()).quantize(16), "TIFF"),
    "big.tif": big_tiff(),
}


def decoded(path: Path) -> Picture:
    found = strips.decode_strips(path)
    with found.pixels:
        alpha = found.read_alpha(0, found.height) if found.has_alpha else None
        return Picture(found.read(0, found.height), alpha, found.bits, found.name)


def assert_same(one: Picture, other: Picture, tolerance: float = 1e-6) -> None:
    np.testing.assert_allclose(one.rgb, other.rgb, rtol=0, atol=tolerance)
    assert (one.alpha is None) == (other.alpha is None)
    if one.alpha is not None and other.alpha is not None:
        np.testing.assert_allclose(one.alpha, other.alpha, rtol=0, atol=tolerance)
    assert (one.bits, one.name) == (other.bits, other.name)


@pytest.fixture(autouse=True)
def small_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strips, "STRIP", 7 * WIDTH)


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_is_decoded_as_in_memory(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(KINDS[name])
    assert_same(decoded(path), read(path))


def test_a_premultiplied_picture_is_divided(tmp_path: Path) -> None:
    """To the next lower value, where we round."""
    path = tmp_path / "photo.tif"
    path.write_bytes(tiff(with_alpha(gradient()), extrasamples=["assocalpha"]))
    assert_same(decoded(path), read(path), 1.001 / 255)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("alpha", [False, True])
def test_a_profile_is_applied_as_in_memory(tmp_path: Path, bits: int, alpha: bool) -> None:
    other = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()  # is ignored
    array = gradient16() if bits == 16 else gradient()
    array = with_alpha(array) if alpha else array
    options = {"extrasamples": ["unassalpha"]} if alpha else {}
    for profile in (SRGB, gamma_profile(), other):
        path = tmp_path / "photo.tif"
        path.write_bytes(tiff(array, iccprofile=profile, **options))
        assert_same(decoded(path), read(path))


def gamma_profile() -> bytes:
    """sRGB's primaries with a gamma of 1, so that every value moves."""
    import imagecodecs

    return bytes(imagecodecs.cms_profile("rgb", gamma=1.0))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_turned_pictures_come_upright(tmp_path: Path, orientation: int, suffix: str) -> None:
    exif = orientation_exif(orientation)
    data = {
        "jpg": lambda: saved(gradient(), "JPEG", quality=95, exif=exif),
        "png": lambda: saved(with_alpha(gradient()), "PNG", exif=exif),
        "tif": lambda: tiff(gradient16(), extratags=[(274, 3, 1, orientation, True)]),
    }[suffix]()
    path = tmp_path / f"photo.{suffix}"
    path.write_bytes(data)
    picture = read(path)
    assert_same(decoded(path), picture)
    assert read_header(path).size == (picture.height, picture.width)


@pytest.mark.parametrize("name", [*KINDS, "a.webp", "a.avif", "a.gif", "a.bmp", "a.heic"])
def test_the_header_tells_the_size(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    kind = path.suffix[1:].upper()
    path.write_bytes(KINDS[name] if name in KINDS else saved(gradient(), kind))
    assert read_header(path).size == (HEIGHT, WIDTH)


@settings(max_examples=25, deadline=None)
@given(size=st.tuples(st.integers(1, 60), st.integers(1, 60)), rows=st.integers(1, 70), deep=st.booleans())
def test_any_size_and_any_strip(tmp_path_factory: pytest.TempPathFactory, size, rows, deep) -> None:
    array = np.random.default_rng(rows).integers(0, 65536 if deep else 256, (*size, 3))
    path = tmp_path_factory.mktemp("any") / "photo.tif"
    path.write_bytes(tiff(array.astype(np.uint16 if deep else np.uint8), rowsperstrip=3))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strips, "STRIP", rows * size[1])
        found = strips.decode_strips(path, min_side=1)
    with found.pixels:
        assert (found.pixels.read(0, size[0]) == array).all()


# -- writing --------------------------------------------------------------------------------------------------


def filled(folder: Path, array: np.ndarray) -> PixelFile:
    pixels = PixelFile(array.shape[:2], array.shape[2], 8 * array.itemsize, path=folder / "pixels")
    pixels.write(0, array[:20])
    pixels.write(20, array[20:])
    return pixels


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("array", [gradient(), with_alpha(gradient()), gradient16(), with_alpha(gradient16())])
def test_what_is_written_is_read_again(tmp_path: Path, suffix: str, array: np.ndarray) -> None:
    path = tmp_path / f"out.{suffix}"
    with filled(tmp_path, array) as pixels:
        assert (tifffile.imread(tmp_path / "pixels") == array).all()
        strips.encode_strips(pixels, path)
    picture = read(path)
    assert picture.bits == 8 * array.itemsize
    assert (picture.integers(picture.bits) == array).all()
    with (
        Image.open(path)
        if array.itemsize == 1
        else tifffile.TiffFile(path)
        if suffix == "tif"
        else path.open("rb") as file
    ):
        if isinstance(file, Image.Image):
            assert file.info["icc_profile"] == SRGB
        elif isinstance(file, tifffile.TiffFile):
            assert file.pages[0].tags.valueof("InterColorProfile") == SRGB
        else:
            assert b"iCCP" in file.read(200)


def test_jpeg_is_near_and_has_its_profile(tmp_path: Path) -> None:
    with filled(tmp_path, gradient()) as pixels:
        strips.encode_strips(pixels, tmp_path / "fine.jpg", quality=95)
        strips.encode_strips(pixels, tmp_path / "coarse.jpg", quality=40)
    assert np.abs(read(tmp_path / "fine.jpg").integers(8).astype(int) - gradient()).max() < 12
    assert (tmp_path / "coarse.jpg").stat().st_size < (tmp_path / "fine.jpg").stat().st_size
    with Image.open(tmp_path / "fine.jpg") as image:
        assert image.info["icc_profile"] == SRGB


def test_a_very_large_tiff_has_wide_offsets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strips, "_BIG", 100)
    with filled(tmp_path, gradient()) as pixels:
        strips.encode_strips(pixels, tmp_path / "big.tif", compression=0)
    assert (tmp_path / "big.tif").read_bytes()[:4] in (b"II+\0", b"MM\0+")
    assert (read(tmp_path / "big.tif").integers(8) == gradient()).all()


def test_writing_that_fails_leaves_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with PixelFile((40, 70_000), 3, 8, path=tmp_path / "pixels") as pixels:
        with pytest.raises(OutputError, match=r"70000x40 px, JPEG holds at most 65500 per side; use \.png or \.tiff"):
            strips.encode_strips(pixels, out / "wide.jpg")
        with pytest.raises(OutputError, match=r"wide\.tif: TIFF could not be made"):  # nothing was ever painted
            strips.encode_strips(pixels, out / "wide.tif")
        with pytest.raises(OptionError, match="quality 101"):
            strips.encode_strips(pixels, out / "wide.tif", quality=101)
    assert list(out.iterdir()) == []


# -- errors ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["rgb.jpg", "rgb.png", "deep.png", "deep.tif", "tiles.tif"])
def test_a_file_cut_short_is_one_sentence(tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / name
    data = KINDS[name]
    path.write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(ImageError, match="damaged or cut short"):
        strips.decode_strips(path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("a.webp", saved(gradient(), "WEBP"), "only JPEG, PNG and TIFF are read by strips"),
        ("a.tif", tiff(gradient().astype(np.int16)), "samples of type int16, need RGB"),
        ("b.tif", tiff((gradient() / 25).astype(np.float32)), "float samples from .*, need 0 to 1"),
        ("a.png", b"", "empty"),
        ("b.png", b"no picture at all", "not a picture"),
    ],
)
def test_what_cannot_be_read_by_strips(tmp_path: Path, name: str, data: bytes, told: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ImageError, match=told):
        strips.decode_strips(tmp_path / name)
    with pytest.raises(ImageError, match="no such file"):
        strips.decode_strips(tmp_path / "gone.png")


def test_limits_are_those_of_reading(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(KINDS["rgb.png"])
    with pytest.raises(ImageError, match="megapixels"):
        strips.decode_strips(tmp_path / "a.png", max_megapixels=0.001)
    with pytest.raises(ImageError, match="need at least 40x40"):
        strips.decode_strips(tmp_path / "a.png", min_side=40)


def test_formats_are_refused_beforehand(tmp_path: Path) -> None:
    (tmp_path / "a.webp").write_bytes(saved(gradient(), "WEBP"))
    with pytest.raises(ImageError, match=r"a\.webp: only JPEG, PNG and TIFF are read by strips, and it is large"):
        strips.check_readable(tmp_path / "a.webp", "it is large")
    for path in ("a.webp", "-"):
        with pytest.raises(OutputError, match="written by strips, and it is large"):
            strips.check_writable(path, "it is large")
    strips.check_writable("a.tiff", "it is large")


def test_without_the_extra_one_sentence_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.png").write_bytes(KINDS["rgb.png"])
    monkeypatch.setitem(sys.modules, "pyvips", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'impasto\[huge\]'"):
        strips.decode_strips(tmp_path / "a.png")


def test_nothing_stays_in_the_folder(tmp_path: Path) -> None:
    path, work = tmp_path / "a.png", tmp_path / "work"
    work.mkdir()
    path.write_bytes(KINDS["rgba.png"])
    found: Strips = strips.decode_strips(path, folder=work)
    assert found.pixels.bytes == HEIGHT * WIDTH * 4
    assert np.rint(found.read_alpha(3, 9) * 255).tolist() == ramp_alpha()[3:9].tolist()
    assert os.listdir(work) == []  # noqa: PTH208
    found.pixels.file.close()


def test_strips_that_would_fill_the_memory_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiff_checks, "_LARGE_STRIP", 1000)
    path = tmp_path / "photo.tif"
    path.write_bytes(tiff(gradient(), compression="zstd", rowsperstrip=HEIGHT))
    with pytest.raises(ImageError, match="a TIFF in strips of 36 rows, 0 MB each; save it with smaller ones"):
        strips.decode_strips(path)


def test_a_long_strip_without_compression_is_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiff_rows, "_PIECE", 5 * WIDTH * 3 * 4)
    values = (gradient16() / 65535).astype(np.float32)
    path = tmp_path / "photo.tif"
    path.write_bytes(tiff(values, rowsperstrip=HEIGHT))
    with tifffile.TiffFile(path) as file:
        assert [len(rows) for rows in tiff_rows.decode_rows(file.pages.first)] == [5] * 7 + [1]
    assert_same(decoded(path), read(path))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ImageError, match="damaged or cut short"):
        strips.decode_strips(path)
