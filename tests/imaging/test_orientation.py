"""All eight EXIF orientations, in every format that can carry one."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tifffile
from PIL import Image

from impasto.imaging import as_picture, read

from .imaging_samples import array_of, gradient, gradient16, orientation_exif, png16, saved, tiff, with_alpha

T = Image.Transpose
STORED = {  # how a camera stores an upright picture under each value: the inverse of what a viewer must do
    1: None,
    2: T.FLIP_LEFT_RIGHT,
    3: T.ROTATE_180,
    4: T.FLIP_TOP_BOTTOM,
    5: T.TRANSPOSE,
    6: T.ROTATE_90,
    7: T.TRANSVERSE,
    8: T.ROTATE_270,
}


def stored(array: np.ndarray, value: int) -> np.ndarray:
    """Any depth, channel by channel through Pillow, which is not what the reader uses."""
    operation = STORED[value]
    planes = [Image.fromarray(np.ascontiguousarray(array[:, :, c])) for c in range(array.shape[2])]
    return np.dstack([np.asarray(plane if operation is None else plane.transpose(operation)) for plane in planes])


@pytest.mark.parametrize("value", STORED)
@pytest.mark.parametrize("fmt", ["PNG", "TIFF", "WEBP", "JPEG", "AVIF", "HEIC"])
def test_files(fmt: str, value: int) -> None:
    options = {"WEBP": {"lossless": True}, "HEIC": {"quality": 95}}.get(fmt, {"quality": 95})
    data = saved(stored(gradient(), value), fmt, exif=orientation_exif(value), **options)
    result = array_of(read(io.BytesIO(data)))
    assert result.shape == gradient().shape
    tolerance = 0.01 if fmt in ("PNG", "TIFF", "WEBP") else 25
    assert np.abs(result * 255 - gradient()).max() <= tolerance


@pytest.mark.parametrize("value", STORED)
def test_sixteen_bits(value: int) -> None:
    upright = with_alpha(gradient16())
    turned = stored(upright, value)
    exif = orientation_exif(value).removeprefix(b"Exif\0\0")
    for data in (
        png16(turned, eXIf=exif),
        tiff(turned, extrasamples=["unassalpha"], extratags=[(274, 3, 1, value, True)]),
    ):
        assert np.array_equal(read(io.BytesIO(data)).integers(16), upright)


def test_sixteen_bit_tiff_carries_the_tag_where_it_is_read() -> None:
    data = tiff(gradient16(), extratags=[(274, 3, 1, 6, True)])
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        assert file.pages.first.tags.valueof("Orientation") == 6


@pytest.mark.parametrize("value", STORED)
def test_a_pillow_image_is_turned_too(value: int) -> None:
    with Image.open(io.BytesIO(saved(stored(gradient(), value), "PNG", exif=orientation_exif(value)))) as image:
        assert np.array_equal(as_picture(image).integers(8), gradient())


@pytest.mark.parametrize("exif", [orientation_exif(0), orientation_exif(9), b"Exif\0\0II*\0junk", b"Exif\0\0"])
@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "WEBP"])
def test_nonsense_means_upright(fmt: str, exif: bytes) -> None:
    data = saved(gradient(), fmt, exif=exif)
    assert np.abs(array_of(read(io.BytesIO(data))) * 255 - gradient()).mean() < 3


def test_orientation_is_not_written_again() -> None:
    from impasto.imaging import encode

    picture = read(io.BytesIO(saved(stored(gradient(), 6), "PNG", exif=orientation_exif(6))))
    assert np.array_equal(read(io.BytesIO(encode(picture, "png"))).integers(8), gradient())
