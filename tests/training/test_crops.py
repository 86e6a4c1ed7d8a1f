"""Squares cut from photos: where they lie, what they look like, and photos of every odd kind."""

from __future__ import annotations

import io

import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from impasto.errors import ImageError, OptionError
from impasto.imaging import read, resize
from impasto.training.crops import Crop, cut

WHOLE = Crop(scale=(1, 1), ratio=(1, 1), flip=False)  # of a square photo: all of it
SIDES = st.integers(32, 3000)


def picture(height: int, width: int) -> np.ndarray:
    """Smooth, coloured, and different in each corner."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    return np.stack([255 * x, 255 * y, 127 + 100 * np.sin(6 * x + 9 * y)], axis=-1).astype(np.uint8)


def encode(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def square(photo: bytes, size: int = 64, crop: Crop = WHOLE, seed: int = 0) -> np.ndarray:
    return cut(photo, "x", size, crop, np.random.default_rng(seed)).astype(int)


def expected(photo: bytes, size: int = 64) -> np.ndarray:
    """The whole picture by the slow and careful way."""
    rgb = resize(read(io.BytesIO(photo)).rgb, (size, size))
    return (rgb * 255).round().astype(int)


@given(SIDES, SIDES, st.integers(32, 512), st.integers(0, 2**32))
def test_rectangles_lie_in_the_photo_and_are_never_enlarged_more_than_needed(
    width: int, height: int, size: int, seed: int
) -> None:
    crop = Crop(scale=(0.25, 0.9))
    left, top, w, h = crop.region(width, height, size, np.random.default_rng(seed))
    assert left >= 0
    assert top >= 0
    assert left + w <= width + 1e-6
    assert top + h <= height + 1e-6
    assert min(w, h) >= min(size, width, height) - 1e-6
    assert 3 / 4 - 1e-6 <= w / h <= 4 / 3 + 1e-6
    if min(w, h) > min(size, width, height) + 1e-6 and max(w / width, h / height) < 1 - 1e-6:
        assert 0.25 - 1e-6 <= w * h / (width * height) <= 0.9 + 1e-6


@given(SIDES, SIDES, st.integers(32, 512), st.floats(1, 3), st.integers(0, 2**32))
def test_resize_and_crop_takes_a_square_of_the_short_side(
    width: int, height: int, size: int, enlarge: float, seed: int
) -> None:
    left, top, w, h = Crop(enlarge=enlarge).region(width, height, size, np.random.default_rng(seed))
    assert w == h == pytest.approx(min(width, height) / enlarge)
    assert 0 <= left <= width - w + 1e-6
    assert 0 <= top <= height - h + 1e-6


def test_crops_and_flips_vary_and_repeat_with_the_seed() -> None:
    photo = encode(Image.fromarray(picture(80, 100)))
    found = [square(photo, 32, Crop(), seed) for seed in range(24)]
    assert len({one.tobytes() for one in found}) == 24
    assert all((square(photo, 32, Crop(), seed) == one).all() for seed, one in enumerate(found))
    flipped = [bool(one[:, 0, 0].mean() > one[:, -1, 0].mean()) for one in found]  # red grows to the right
    assert 4 < sum(flipped) < 20
    assert not any(
        (one := square(photo, 32, Crop(flip=False), s))[:, 0, 0].mean() > one[:, -1, 0].mean() for s in range(9)
    )


def test_a_large_jpeg_decoded_small_looks_the_same() -> None:
    photo = encode(Image.fromarray(picture(1024, 1024)), "JPEG", quality=95)
    assert np.abs(square(photo) - expected(photo)).mean() < 1
    corner = Crop(scale=(0.25, 0.25), ratio=(1, 1), flip=False)
    seed = 5
    left, top, w, h = corner.region(1024, 1024, 64, np.random.default_rng(seed))
    slow = Image.fromarray(picture(1024, 1024)).resize(
        (64, 64), Image.Resampling.BICUBIC, (left, top, left + w, top + h)
    )
    assert np.abs(square(photo, 64, corner, seed) - np.asarray(slow).astype(int)).mean() < 1.5


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    for height, width in ((160, 160), (400, 400)):  # the larger is decoded at half its size
        photo = encode(Image.fromarray(picture(height, width)), "JPEG", quality=95, exif=exif)
        assert np.abs(square(photo) - expected(photo)).mean() < 1.5
    wide = encode(Image.fromarray(picture(100, 300)), "JPEG", quality=95, exif=exif)
    middle = Crop(enlarge=1, flip=False)
    upright = read(io.BytesIO(wide))
    left, top, w, h = middle.region(upright.width, upright.height, 64, np.random.default_rng(0))
    cropped = upright.rgb[round(top) : round(top + h), round(left) : round(left + w)]
    slow = resize(cropped, (64, 64)) * 255
    assert np.abs(square(wide, 64, middle) - slow).mean() < 3


def odd_kinds() -> dict[str, bytes]:
    rgb = Image.fromarray(picture(96, 96))
    deep = picture(96, 96).astype(np.uint16) * 257
    primaries = (0.68, 0.32, 1, 0.265, 0.69, 1, 0.15, 0.06, 1)  # Display P3's
    p3 = imagecodecs.cms_profile("rgb", whitepoint=(0.3127, 0.329, 1.0), primaries=primaries, gamma=2.2)
    return {
        "grey jpeg": encode(rgb.convert("L"), "JPEG", quality=95),
        "cmyk jpeg": encode(rgb.convert("CMYK"), "JPEG", quality=95),
        "wide gamut jpeg": encode(rgb, "JPEG", quality=95, icc_profile=p3),
        "broken profile": encode(rgb, "JPEG", quality=95, icc_profile=b"nonsense"),
        "palette png": encode(rgb.quantize(64)),
        "transparent png": encode(rgb.convert("RGBA")),
        "grey and alpha": encode(rgb.convert("LA")),
        "16-bit png": imagecodecs.png_encode(deep),
        "1-bit png": encode(rgb.convert("1")),
        "gif": encode(rgb, "GIF"),
        "webp": encode(rgb, "WEBP", quality=95),
        "tiff": encode(rgb, "TIFF"),
    }


@pytest.mark.parametrize("kind", odd_kinds())
def test_photos_of_every_kind_become_rgb(kind: str) -> None:
    photo = odd_kinds()[kind]
    found = square(photo)
    assert found.shape == (64, 64, 3)
    assert np.abs(found - expected(photo)).mean() < 2  # hard edges differ a little by the order of rounding


@pytest.mark.parametrize("mode", ["RGBA", "tRNS"])
def test_what_transparency_hides_reaches_no_square(mode: str) -> None:
    squares = []
    for hidden in (0, 255):
        array = np.full((64, 64, 4), hidden, np.uint8)
        array[:, :, 3] = 0
        array[8:, :] = (200, 40, 60, 255)
        image = Image.fromarray(array)
        if mode == "tRNS":
            image = image.convert("RGB")
            image.info["transparency"] = (hidden,) * 3
        squares.append(square(encode(image)))
    assert np.array_equal(*squares)
    assert np.abs(squares[0].astype(int) - (200, 40, 60)).max() <= 1


def test_a_photo_that_is_transparent_everywhere_is_an_image_error() -> None:
    clear = Image.new("RGBA", (64, 64), (10, 20, 30, 0))
    with pytest.raises(ImageError, match="transparent everywhere, need something that shows"):
        square(encode(clear))


def test_a_photo_smaller_than_the_square_is_enlarged() -> None:
    found = square(encode(Image.fromarray(picture(40, 40))), 64)
    assert np.abs(found - picture(64, 64)).mean() < 3


@pytest.mark.parametrize(
    ("photo", "message"),
    [
        (b"", "empty"),
        (b"no picture at all", "not a picture"),
        (encode(Image.fromarray(picture(64, 64)), "JPEG")[:-200], "damaged or cut short"),
        (encode(Image.fromarray(picture(64, 64)))[:100], "damaged or cut short"),
        (encode(Image.fromarray(picture(64, 20))), "20x64 px, need at least 32x32"),
        (encode(Image.fromarray(picture(64, 20)).convert("CMYK"), "JPEG"), "20x64 px, need at least 32x32"),
    ],
)
def test_a_damaged_or_tiny_photo_is_an_image_error(photo: bytes, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        square(photo)


@pytest.mark.parametrize(
    "options",
    [{"enlarge": 0.9}, {"enlarge": float("inf")}, {"scale": (0, 1)}, {"scale": (0.5, 0.4)}, {"scale": (0.5, 1.1)},
     {"ratio": (0, 1)}, {"ratio": (2, 1)}],
)  # fmt: skip
def test_options_out_of_range_are_refused(options: dict) -> None:
    with pytest.raises(OptionError, match=f"crop: {next(iter(options))} is"):
        Crop(**options)
