"""ICC profiles: what a file means is what the program sees."""

from __future__ import annotations

import io
import zlib

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageCms

from impasto.imaging import as_picture, encode, read
from impasto.imaging.profiles import SRGB, to_srgb

from .imaging_samples import (
    HEIGHT,
    WIDTH,
    alpha_of,
    array_of,
    cmyk_profile,
    gradient,
    gradient16,
    png16,
    ramp_alpha,
    saved,
    tiff,
    with_alpha,
)

ADOBE = imagecodecs.cms_profile("adobergb")
GREY_18 = imagecodecs.cms_profile("gray", gamma=1.8)
STEP = 1 / 255


def encoded(linear: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1."""
    linear = linear.clip(0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def adobe_to_srgb(values: np.ndarray) -> np.ndarray:
    """Adobe RGB (1998) in [0, 1] to sRGB: both have white D65, so one matrix between the linear values."""
    matrix = np.array([[1.39836, -0.39836, 0.0], [0.0, 1.0, 0.0], [0.0, -0.04293, 1.04293]])
    return encoded(values ** (563 / 256) @ matrix.T)


def muted(array: np.ndarray) -> np.ndarray:
    """Colours inside the sRGB gamut, where no clipping blurs the comparison."""
    return (array * 0.4 + np.iinfo(array.dtype).max * 0.3).round().astype(array.dtype)


@pytest.mark.parametrize("fmt", ["PNG", "TIFF", "WEBP", "JPEG", "AVIF", "HEIC"])
def test_adobe_rgb_files(fmt: str) -> None:
    array = muted(gradient())
    options = {"lossless": True} if fmt == "WEBP" else {"quality": 95}
    image = Image.fromarray(array)
    image.info["icc_profile"] = ADOBE
    data = saved(image, fmt, icc_profile=ADOBE, **options)
    result = array_of(read(io.BytesIO(data)))
    error = np.abs(result - adobe_to_srgb(array / 255))
    assert error.max() < 0.6 * STEP if fmt in ("PNG", "TIFF", "WEBP") else error.mean() < 2 * STEP
    assert np.abs(result - array / 255).mean() > error.mean() + STEP  # the conversion matters


def test_adobe_rgb_at_sixteen_bits() -> None:
    array = muted(gradient16())
    body = b"x\0\0" + zlib.compress(ADOBE)
    for data in (png16(array, iCCP=body), tiff(array, iccprofile=ADOBE)):
        picture = read(io.BytesIO(data))
        assert picture.bits == 16
        assert np.abs(array_of(picture) - adobe_to_srgb(array / 65535)).max() < 2e-4


def test_out_of_gamut_colours_are_clipped_into_range() -> None:
    for array in (gradient(), gradient16()):
        result = to_srgb(array, ADOBE) / 65535
        assert np.abs(result - adobe_to_srgb(array / np.iinfo(array.dtype).max)).max() < 0.02


def test_alpha_is_not_converted() -> None:
    picture = read(io.BytesIO(saved(with_alpha(muted(gradient())), "PNG", icc_profile=ADOBE)))
    assert np.array_equal(alpha_of(picture) * 255, ramp_alpha())
    assert np.abs(array_of(picture) - adobe_to_srgb(muted(gradient()) / 255)).max() < 0.6 * STEP


def test_grey_with_its_own_gamma() -> None:
    grey = gradient()[:, :, 0]
    result = array_of(read(io.BytesIO(saved(Image.fromarray(grey), "PNG", icc_profile=GREY_18))))
    assert np.abs(result - encoded((grey / 255) ** 1.8)[:, :, None]).max() < STEP
    deep = gradient16()[:, :, 0]
    result = array_of(read(io.BytesIO(tiff(deep, photometric="minisblack", iccprofile=GREY_18))))
    assert np.abs(result - encoded((deep / 65535) ** 1.8)[:, :, None]).max() < 1e-3


def test_grey_pixels_under_an_rgb_profile() -> None:
    grey = gradient()[:, :, 0]
    result = array_of(read(io.BytesIO(saved(Image.fromarray(grey), "JPEG", quality=100, icc_profile=ADOBE))))
    expected = adobe_to_srgb(np.repeat(grey[:, :, None], 3, axis=2) / 255)
    assert np.abs(result - expected).max() < 3 * STEP


def lab_to_srgb(lightness: float, a: float, b: float) -> np.ndarray:
    """CIELab (D50) to sRGB by the Bradford-adapted matrix."""
    f = np.array([(lightness + 16) / 116 + a / 500, (lightness + 16) / 116, (lightness + 16) / 116 - b / 200])
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * [0.9642, 1.0, 0.8249]
    matrix = [[3.1339, -1.6169, -0.4906], [-0.9788, 1.9161, 0.0335], [0.0719, -0.2290, 1.4052]]
    return encoded(np.array(matrix) @ xyz)


def test_cmyk_with_a_profile() -> None:
    ink = np.zeros((40, 40, 4), np.uint8)
    ink[:20, :, 0] = 255  # cyan above, paper below
    image = Image.frombytes("CMYK", (40, 40), ink.tobytes())
    expected = lab_to_srgb(50, -30, -40)
    for data in (
        saved(image, "TIFF", icc_profile=cmyk_profile()),
        saved(image, "JPEG", quality=100, icc_profile=cmyk_profile()),
        tiff(ink.astype(np.uint16) * 257, photometric="separated", iccprofile=cmyk_profile()),
    ):
        result = array_of(read(io.BytesIO(data)))
        assert np.abs(result[2:16] - expected).max() < 0.02
        assert result[24:].min() > 0.99
    assert np.abs(expected - [0, 1, 1]).max() > 0.2  # what the plain formula would say


def test_black_stays_black() -> None:
    """The blackest ink is far from black, and is meant as black all the same (black-point compensation)."""
    ink = np.full((40, 40, 4), 255, np.uint8)
    assert to_srgb(ink, cmyk_profile(black=20)).max() < 0.02 * 65535


@pytest.mark.parametrize(
    "profile", [b"", b"junk" * 50, ADOBE[:200], GREY_18, cmyk_profile(), ADOBE[:128] + bytes(len(ADOBE) - 128)]
)
def test_a_useless_profile_is_ignored(profile: bytes) -> None:
    """Cut short, of zeros, or for another kind of picture: the numbers are taken as sRGB."""
    assert to_srgb(gradient(), profile) is not None
    assert np.array_equal(to_srgb(gradient(), profile), gradient())
    data = tiff(gradient16(), iccprofile=profile or None)
    assert np.array_equal(read(io.BytesIO(data)).integers(16), gradient16())


def test_srgb_by_any_name_changes_nothing() -> None:
    others = [ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(), imagecodecs.cms_profile("srgb")]
    for profile in (SRGB, *others):
        for array in (gradient(), gradient16()):
            assert np.array_equal(to_srgb(array, profile), array)


def test_writing_and_reading_does_not_drift() -> None:
    picture = read(io.BytesIO(saved(gradient(), "PNG", icc_profile=ADOBE)))
    once = read(io.BytesIO(encode(picture, "tiff")))
    twice = read(io.BytesIO(encode(once, "tiff")))
    assert np.array_equal(once.integers(once.bits), twice.integers(once.bits))


def test_the_depth_of_a_converted_picture_is_that_of_the_file() -> None:
    picture = read(io.BytesIO(saved(gradient(), "PNG", icc_profile=ADOBE)))
    assert picture.bits == 8
    assert (picture.height, picture.width) == (HEIGHT, WIDTH)


def test_the_profile_of_a_pillow_image_is_applied() -> None:
    image = Image.fromarray(muted(gradient()))
    image.info["icc_profile"] = ADOBE
    assert np.abs(array_of(as_picture(image)) - adobe_to_srgb(muted(gradient()) / 255)).max() < 0.6 * STEP
