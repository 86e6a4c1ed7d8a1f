"""Colours that files name by other means than an ICC profile, in all ways of reading."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pillow_heif
import pytest
from PIL import Image

from impasto.imaging import as_picture, read, strips
from impasto.imaging.boxes import bits_per_channel, primary_nclx
from impasto.imaging.matrix_profile import (
    ADOBE_RGB,
    BT709,
    SRGB_CURVE,
    Chromaticities,
    Curve,
    code_points_profile,
    matrix_profile,
)
from impasto.imaging.profiles import SRGB, to_srgb
from impasto.training.crops import Crop, cut

from .corpus import bmp32
from .imaging_samples import array_of, gradient, gradient16, png16, saved, tiff

P3_RED, LINEAR_RED, ADOBE_RED = (184, 56, 49), (147, 5, 5), (172, 44, 43)  # what they hold
RED, DARK_RED = (200, 40, 40), (199, 38, 38)  # what is meant
P3_CHRM = struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
LINEAR = struct.pack(">I", 100000)
ADOBE = bytes(imagecodecs.cms_profile("adobergb"))
ICCP = b"x\0\0" + zlib.compress(ADOBE)


def flat(colour: tuple[int, ...], dtype: Any = np.uint8) -> np.ndarray:
    """(40, 48, 3)."""
    return np.full((40, 48, 3), colour, dtype) * dtype(257 if dtype == np.uint16 else 1)


def png(colour: tuple[int, ...], *, bits: int = 8, **chunks: bytes) -> bytes:
    if bits == 16:
        return png16(flat(colour, np.uint16), **chunks)
    data, extra = saved(flat(colour), "PNG"), b""
    for kind, body in chunks.items():
        tagged = kind.encode() + body
        extra += struct.pack(">I", len(body)) + tagged + struct.pack(">I", zlib.crc32(tagged))
    return data[:33] + extra + data[33:]


def heic(bits: int, points: tuple[int, int, int], colour: tuple[int, ...] = P3_RED, **options: Any) -> bytes:
    array = flat(colour, np.uint16)
    image = pillow_heif.from_bytes("RGB;16", (48, 40), array.tobytes())
    if bits == 8:
        image = pillow_heif.from_pillow(Image.fromarray(flat(colour)))
    names = ("color_primaries", "transfer_characteristics", "matrix_coefficients")
    file = io.BytesIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pillow_heif.options, "SAVE_HDR_TO_12_BIT", bits == 12)
        image.save(file, quality=-1, chroma=444, full_range_flag=1, **dict(zip(names, points, strict=True)), **options)
    return file.getvalue()


def avif(bits: int, points: tuple[int, int, int], colour: tuple[int, ...] = P3_RED) -> bytes:
    top = 2**bits - 1
    array = np.rint(flat(colour) / 255.0 * top).astype(np.uint8 if bits == 8 else np.uint16)
    options = dict(zip(("primaries", "transfer", "matrix"), points, strict=True))
    return bytes(imagecodecs.avif_encode(array, level=100, bitspersample=bits, pixelformat="444", **options))


def camera_exif(space: int, index: bytes = b"R03\0") -> bytes:
    """An EXIF block with ColorSpace and, as cameras put it, an interoperability directory within that of EXIF."""

    def directory(*entries: tuple[int, int, int, bytes]) -> bytes:
        table = b"".join(struct.pack("<HHI", *entry[:3]) + entry[3].ljust(4, b"\0") for entry in entries)
        return struct.pack("<H", len(entries)) + table + bytes(4)

    first, second, third = 8, 8 + 18, 8 + 18 + 30
    return (
        b"Exif\0\0II*\0"
        + struct.pack("<I", first)
        + directory((0x8769, 4, 1, struct.pack("<I", second)))
        + directory((0xA001, 3, 1, struct.pack("<H", space)), (0xA005, 4, 1, struct.pack("<I", third)))
        + directory((1, 2, len(index), index))
    )


def p3_tiff(**more: Any) -> bytes:
    """With WhitePoint and PrimaryChromaticities."""
    white = tuple(part for value in (31270, 32900) for part in (value, 100000))
    primaries = tuple(part for value in (68, 32, 265, 69, 15, 6) for part in (value, 1000 if value == 265 else 100))
    tags = [(318, 5, 2, white, True), (319, 5, 6, primaries, True)]
    return tiff(flat(P3_RED), extratags=[*tags, *more.get("tags", ())])


def p3_bmp(gamma: float = 1.0, colour: tuple[int, ...] = LINEAR_RED) -> bytes:
    """Header 4 with endpoints and gamma; the primaries are sRGB's."""
    rgb = [[0.4124, 0.2126, 0.0193], [0.3576, 0.7152, 0.1192], [0.1805, 0.0722, 0.9505]]
    head = bytearray(bmp32(np.full((36, 48), 255, np.uint8), header=108))
    head[70:74] = bytes(4)
    struct.pack_into("<9i", head, 74, *(round(value * 2**30) for row in rgb for value in row))
    struct.pack_into("<3I", head, 110, *[round(gamma * 65536)] * 3)
    return bytes(head[: 14 + 108]) + bytes((*colour[::-1], 255)) * (36 * 48)


CASES: dict[str, tuple[bytes, tuple[int, ...], float]] = {
    "cicp.png": (png(P3_RED, cICP=bytes([12, 13, 0, 1])), RED, 0.6),
    "cicp deep.png": (png(P3_RED, bits=16, cICP=bytes([12, 13, 0, 1])), RED, 0.6),
    "cicp before a profile.png": (png(P3_RED, cICP=bytes([12, 13, 0, 1]), iCCP=ICCP, gAMA=LINEAR), RED, 0.6),
    "cicp before a profile deep.png": (png(P3_RED, bits=16, iCCP=ICCP, cICP=bytes([12, 13, 0, 1])), RED, 0.6),
    "gama.png": (png(LINEAR_RED, gAMA=LINEAR), DARK_RED, 1),
    "gama deep.png": (png(LINEAR_RED, bits=16, gAMA=LINEAR), DARK_RED, 1),
    "chrm.png": (png(P3_RED, cHRM=P3_CHRM), RED, 0.6),
    "chrm with gamma of sRGB.png": (png(P3_RED, gAMA=struct.pack(">I", 45455), cHRM=P3_CHRM), RED, 0.6),
    "srgb before gama.png": (png(RED, sRGB=b"\0", gAMA=LINEAR, cHRM=P3_CHRM), RED, 0.01),
    "gamma of sRGB.png": (png((20, 128, 5), gAMA=struct.pack(">I", 45455)), (20, 128, 5), 0.01),
    "a profile before gama.png": (png(ADOBE_RED, iCCP=ICCP, gAMA=LINEAR), RED, 1.6),
    "broken cicp.png": (png(RED, cICP=bytes([12, 13, 1, 1])), RED, 0.01),  # a matrix is not for PNG
    "cicp that says nothing.png": (png(RED, cICP=bytes([2, 2, 0, 1])), RED, 0.01),
    "impossible chrm.png": (png(RED, cHRM=struct.pack(">8I", *[33000] * 8)), RED, 0.01),
    "narrow.png": (png((187, 50, 50), cICP=bytes([1, 13, 0, 0])), (199, 40, 40), 1),
    "eight.heic": (heic(8, (12, 13, 6)), RED, 2),
    "ten.heic": (heic(10, (12, 13, 6)), RED, 1),
    "twelve.heic": (heic(12, (12, 13, 6)), RED, 0.6),
    "eight.avif": (avif(8, (12, 13, 6)), RED, 2),
    "ten.avif": (avif(10, (12, 13, 6)), RED, 1),
    "twelve.avif": (avif(12, (12, 13, 6)), RED, 0.6),
    "adobe.jpg": (saved(flat(ADOBE_RED), "JPEG", quality=100, subsampling=0, exif=camera_exif(65535)), RED, 2.5),
    "adobe.webp": (saved(flat(ADOBE_RED), "WEBP", lossless=True, exif=camera_exif(65535)), RED, 1.6),
    "adobe.png": (saved(flat(ADOBE_RED), "PNG", exif=camera_exif(65535)), RED, 1.6),
    "a profile before exif.jpg": (
        saved(flat(RED), "JPEG", quality=100, subsampling=0, exif=camera_exif(65535), icc_profile=SRGB),
        RED,
        1,
    ),
    "exif says sRGB.jpg": (saved(flat(RED), "JPEG", quality=100, subsampling=0, exif=camera_exif(1)), RED, 1),
    "exif R98.jpg": (saved(flat(RED), "JPEG", quality=100, subsampling=0, exif=camera_exif(65535, b"R98\0")), RED, 1),
    "chromaticities.tif": (p3_tiff(), RED, 0.6),
    "a profile before them.tif": (p3_tiff(tags=[(34675, 7, len(SRGB), SRGB, True)]), P3_RED, 0.01),
    "endpoints.bmp": (p3_bmp(), DARK_RED, 1),
    "no endpoints.bmp": (bmp32(np.full((36, 48), 255, np.uint8), header=108), tuple(gradient()[5, 5]), 0.01),
}


@pytest.mark.parametrize("name", CASES)
def test_in_memory(name: str) -> None:
    data, meant, near = CASES[name]
    assert np.abs(array_of(read(io.BytesIO(data)))[5, 5] * 255 - meant).max() <= near


@pytest.mark.parametrize("name", [name for name in CASES if not name.endswith(".heic") and "deep" not in name])
def test_of_a_pillow_image(name: str) -> None:
    data, meant, near = CASES[name]
    with Image.open(io.BytesIO(data)) as image:
        near += 6 if name.endswith(".avif") else 0  # Pillow cuts its depth
        near += 200 if name == "chromaticities.tif" else 0  # and does not tell TIFF's tags under the same names
        assert np.abs(array_of(as_picture(image))[5, 5] * 255 - meant).max() <= near


@pytest.mark.parametrize("name", [name for name in CASES if name.endswith((".png", ".jpg", ".tif"))])
def test_by_strips(name: str, tmp_path: Path) -> None:
    pytest.importorskip("pyvips", reason="the extra huge (pyvips) is not installed")
    data, meant, near = CASES[name]
    path = tmp_path / name
    path.write_bytes(data)
    if name == "adobe.png":  # whose EXIF Pillow writes behind the pixels, where only a whole reading finds it
        pytest.skip("EXIF behind the pixels of a PNG is not read by strips")
    found = strips.decode_strips(path)
    with found.pixels:
        assert np.abs(found.read(5, 6)[0, 5] * 255 - meant).max() <= near


@pytest.mark.parametrize("name", [name for name in CASES if name != "no endpoints.bmp"])
def test_in_training(name: str) -> None:
    data, meant, near = CASES[name]
    square = cut(data, name, 32, Crop(flip=False), np.random.default_rng(0))
    assert np.abs(square[5, 5].astype(float) - meant).max() <= near + 1


def test_deep_heic_and_avif_keep_their_depth_and_range() -> None:
    for data in (heic(10, (1, 13, 0), (255, 255, 255)), avif(10, (1, 13, 6), (255, 255, 255))):
        picture = read(io.BytesIO(data))
        assert picture.bits == 16
        assert array_of(picture).min() > 0.9985  # 1022 of 1023, as the codec left it
    assert read(io.BytesIO(heic(8, (1, 13, 6)))).bits == 8


def test_nclx_of_the_picture_and_not_of_another() -> None:
    data = avif(10, (12, 13, 6))
    assert primary_nclx(data) == (12, 13, 6)
    assert bits_per_channel(data) == 10
    for cut_at in range(0, len(data), 7):
        primary_nclx(data[:cut_at])  # never an error
    assert primary_nclx(saved(gradient(), "PNG")) is None


# -- profiles from numbers ------------------------------------------------------------------------------------


def through(profile: bytes | None, *colours: tuple[float, ...]) -> np.ndarray:
    """(N, 3) of 255 in sRGB, from values in [0, 1]."""
    return to_srgb(np.rint(np.array([colours]) * 65535).astype(np.uint16), profile)[0] / 257


def test_adobe_rgb_is_as_little_cms_makes_it() -> None:
    for array in (gradient(), gradient16()):
        ours, theirs = (to_srgb(array, profile).astype(int) for profile in (matrix_profile(*ADOBE_RGB), ADOBE))
        assert np.abs(ours - theirs).max() <= 64  # of 65535


def test_srgb_by_code_points_changes_nothing() -> None:
    for profile in (code_points_profile(1, 13), code_points_profile(1, 1), matrix_profile(BT709, SRGB_CURVE)):
        assert np.array_equal(to_srgb(gradient16(), profile), gradient16())
    assert code_points_profile(2, 2) is None


@pytest.mark.parametrize("primaries", [1, 4, 5, 6, 7, 8, 9, 10, 11, 12, 22, 200])
@pytest.mark.parametrize("transfer", [1, 2, 4, 5, 8, 13, 14, 16, 17, 18, 99])
def test_grey_stays_grey_and_rises(primaries: int, transfer: int) -> None:
    levels = [(value, value, value) for value in np.linspace(0, 1, 20)]
    found = through(code_points_profile(primaries, transfer), *levels)
    assert np.abs(found - found[:, :1]).max() < 0.2
    assert (np.diff(found[:, 0]) >= 0).all()
    assert found[0].max() == 0
    assert found[-1].min() > (254.9 if transfer != 17 else 254)


def test_gamma_and_linear_light() -> None:
    assert through(code_points_profile(1, 8), (0.5, 0.5, 0.5))[0] == pytest.approx(187.52, abs=0.1)
    assert through(code_points_profile(1, 4), (0.5, 0.5, 0.5))[0] == pytest.approx(128.3, abs=0.4)
    table = Curve(table=np.linspace(0, 1, 64) ** 2)
    assert through(matrix_profile(BT709, table), (0.5, 0.5, 0.5))[0] == pytest.approx(137.0, abs=0.2)


def pq(light: float) -> float:
    """SMPTE ST 2084: cd/m2 -> [0, 1]."""
    power = (light / 10000) ** 0.1593017578125
    return float(((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375)


def srgb(linear: float) -> float:
    return 255 * (12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055)


def test_pq_keeps_what_is_dark_and_bends_what_is_bright() -> None:
    """BT.2390 from 1000 to 203 cd/m2: as it is up to 93, paper white a little below white, the peak white."""
    lights = (1, 5, 20, 60, 92, 203, 600, 1000, 4000)
    found = through(code_points_profile(9, 16), *[(pq(light),) * 3 for light in lights])[:, 1]
    assert found[:5] == pytest.approx([srgb(light / 203) for light in lights[:5]], abs=0.6)
    assert found[5:] == pytest.approx([228.9, 253.5, 255, 255], abs=0.6)
    red = through(code_points_profile(1, 16), (pq(60), pq(4), pq(4)))[0]
    assert red == pytest.approx([srgb(60 / 203), srgb(4 / 203), srgb(4 / 203)], abs=0.6)  # colours stay as well


def test_hlg_shows_paper_and_peak_as_pq_does() -> None:
    """Its reference white is at 75 % (BT.2408), 203 cd/m2 on the nominal display."""
    found = through(code_points_profile(9, 18), (0.75,) * 3, (1.0,) * 3, (0.38,) * 3)[:, 1]
    assert found[:2] == pytest.approx([228.8, 255], abs=0.6)
    assert found[2] == pytest.approx(srgb(1000 / 203 * (0.38**2 / 3) ** 1.2), abs=0.6)  # 18 % grey


@pytest.mark.parametrize("transfer", [16, 18])
def test_hdr_files_are_bright_and_colourful(transfer: int) -> None:
    sample = tuple(round(255 * pq(light)) for light in (150, 20, 20)) if transfer == 16 else (180, 80, 80)
    for data in (
        png(sample, cICP=bytes([9, transfer, 0, 1])),
        heic(10, (9, transfer, 9), sample),
        avif(10, (9, transfer, 9), sample),
    ):
        colour = array_of(read(io.BytesIO(data)))[5, 5] * 255
        assert colour[0] > 200
        assert colour[1:].max() < 100


def test_chromaticities_that_cannot_be() -> None:
    assert BT709.possible
    assert not Chromaticities(0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3127, 0.329).possible
    assert not Chromaticities(*BT709[:6], 0.9, 0.05).possible
    assert not Chromaticities(*BT709[:6], float("nan"), 0.3).possible
