"""Whatever a caller has in hand becomes the same picture."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from impasto.errors import ImageError
from impasto.imaging import Picture, as_picture
from impasto.imaging.picture import is_tensor

from .imaging_samples import HEIGHT, WIDTH, array_of, gradient, gradient16, ramp_alpha, saved, with_alpha

FLOATS = gradient().astype(np.float32) / 255
TENSOR = torch.from_numpy(gradient()).permute(2, 0, 1) / 255


@pytest.mark.parametrize(
    "kind", ["str", "path", "file", "pil", "array", "floats", "doubles", "tensor", "batch", "picture"]
)
def test_every_kind_gives_the_same(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(saved(gradient(), "PNG"))
    given = {
        "str": str(path),
        "path": path,
        "file": io.BytesIO(path.read_bytes()),
        "pil": Image.fromarray(gradient()),
        "array": gradient(),
        "floats": gradient().astype(np.float32) / 255,
        "doubles": gradient() / 255,
        "tensor": TENSOR,
        "batch": TENSOR[None].double().requires_grad_(),
        "picture": Picture(FLOATS),
    }[kind]
    picture = as_picture(given)
    assert picture.rgb.shape == (HEIGHT, WIDTH, 3)
    assert picture.rgb.dtype == np.float32
    assert picture.rgb.flags.c_contiguous
    assert picture.bits == 8
    assert np.abs(picture.rgb - FLOATS).max() < 1e-6


@pytest.mark.parametrize("array", [gradient(), gradient16(), gradient() > 99], ids=["uint8", "uint16", "bool"])
def test_tensors_of_the_numbers_that_arrays_may_have(array: np.ndarray) -> None:
    expected = as_picture(array)
    assert expected.rgb.max() > 0.5
    for tensor in (torch.from_numpy(array).permute(2, 0, 1), torch.from_numpy(array).permute(2, 0, 1)[None]):
        picture = as_picture(tensor)
        assert np.array_equal(picture.rgb, expected.rgb)
        assert (picture.bits, picture.name) == (expected.bits, "tensor")


def test_bools_are_black_and_white() -> None:
    mask = gradient()[:, :, 0] > 99
    assert np.array_equal(as_picture(mask).rgb, np.repeat(mask[:, :, None], 3, axis=2))


def test_a_picture_is_told_in_one_line() -> None:
    assert repr(Picture(FLOATS, name="a.png")) == f"Picture('a.png', {WIDTH}x{HEIGHT} px, 8 bits)"
    deep = Picture(FLOATS, FLOATS[:, :, 0], 16)
    assert repr(deep) == f"Picture('picture', {WIDTH}x{HEIGHT} px, 16 bits, with transparency)"


@pytest.mark.parametrize("array", [gradient(), gradient16(), gradient() / 255], ids=["uint8", "uint16", "float"])
def test_array_shapes(array: np.ndarray) -> None:
    top = 1 if array.dtype.kind == "f" else np.iinfo(array.dtype).max
    grey = array[:, :, 0]
    for shape in (grey, grey[:, :, None]):
        assert np.allclose(array_of(as_picture(shape)), grey[:, :, None] / top, atol=1e-6)
    alpha = ramp_alpha() / 255 if top == 1 else ramp_alpha(array.dtype.type)
    picture = as_picture(np.dstack([array, alpha]))
    assert picture.alpha is not None
    assert np.allclose(picture.alpha, alpha / top, atol=1e-6)
    assert np.allclose(array_of(picture), array / top, atol=1e-6)
    assert picture.bits == (16 if array.dtype == np.uint16 else 8)


def test_views_and_foreign_byte_order() -> None:
    assert np.array_equal(as_picture(gradient()[::-1, ::-1]).integers(8), gradient()[::-1, ::-1])
    assert np.array_equal(as_picture(gradient16().astype(">u2")).integers(16), gradient16())
    assert np.array_equal(as_picture(np.asfortranarray(gradient() / 255)[:, ::-1]).integers(8), gradient()[:, ::-1])


def test_the_callers_data_is_not_shared() -> None:
    floats, tensor = (gradient() / 255).astype(np.float32), TENSOR.clone()
    pictures = [as_picture(floats), as_picture(tensor), as_picture(floats[:, :, 0])]
    before = [picture.rgb.copy() for picture in pictures]
    floats[:], tensor[:] = 0, 0
    assert all(np.array_equal(picture.rgb, old) for picture, old in zip(pictures, before, strict=True))


def test_a_little_overshoot_is_clamped() -> None:
    picture = as_picture(TENSOR * 1.0005)
    assert float(picture.rgb.max()) == 1


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (np.nan, "NaN or infinite values, need floats in [0, 1]"),
        (-np.inf, "NaN or infinite values, need floats in [0, 1]"),
        (255.0, "values from 0 to 255, need [0, 1]; rescale them first"),
        (-0.5, "values from -0.5 to 1, need [0, 1]; rescale them first"),
    ],
)
def test_values(value: float, sentence: str) -> None:
    array = gradient() / 255
    array[5, 6, 2] = value
    for name, given in (("array", array), ("tensor", torch.from_numpy(array).permute(2, 0, 1))):
        with pytest.raises(ImageError) as caught:
            as_picture(given)
        assert str(caught.value) == f"{name}: {sentence}"


def test_values_in_alpha_and_beyond_float32() -> None:
    array = np.dstack([gradient() / 255, ramp_alpha() / 255])
    array[0, 0, 3] = np.nan
    with pytest.raises(ImageError, match="NaN or infinite"):
        as_picture(array)
    array[0, 0, 3] = 1e300
    with pytest.raises(ImageError, match="NaN or infinite"):
        as_picture(array)


@pytest.mark.parametrize("shape", [(40,), (3, 40, 40), (40, 40, 2), (40, 40, 5), (1, 40, 40, 3), ()])
def test_array_shapes_that_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ImageError) as caught:
        as_picture(np.zeros(shape, np.uint8))
    assert str(caught.value) == f"array: shape {shape}, need (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)"


@pytest.mark.parametrize("shape", [(40,), (40, 40), (40, 40, 3), (4, 40, 40), (2, 3, 40, 40), (1, 1, 3, 40, 40), ()])
def test_tensor_shapes_that_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ImageError) as caught:
        as_picture(torch.zeros(shape))
    assert str(caught.value) == f"tensor: shape {shape}, need (3, H, W) or (1, 3, H, W), one picture at a time"


@pytest.mark.parametrize("dtype", ["int64", "int8", "uint32", "complex64", "U1", "object"])
def test_array_types_that_are_refused(dtype: str) -> None:
    with pytest.raises(ImageError, match="need uint8, uint16, bools or floats in"):
        as_picture(np.zeros((40, 40, 3), dtype))


@pytest.mark.parametrize("dtype", [torch.int8, torch.int64, torch.complex64])
def test_tensor_types_that_are_refused(dtype: torch.dtype) -> None:
    with pytest.raises(ImageError, match=f"tensor: type {dtype}, need uint8, uint16, bools or floats in .*; convert"):
        as_picture(torch.zeros(3, 40, 40, dtype=dtype))


@pytest.mark.parametrize("thing", [None, 7, b"a.png", [[1, 2], [3, 4]], object()])
def test_other_things(thing: object) -> None:
    with pytest.raises(ImageError, match=f"{type(thing).__name__}: not a picture; give a path"):
        as_picture(thing)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "given", [np.zeros((12, 18)), torch.zeros(3, 12, 18), Picture(np.zeros((12, 18, 3), np.float32)), np.zeros((0, 18))]
)
def test_limits_hold_for_all(given: object) -> None:
    with pytest.raises(ImageError, match=r": 18x(12|0) px, need at least 32x32"):
        as_picture(given)  # type: ignore[arg-type]
    with pytest.raises(ImageError, match=r"megapixels, at most 1e-05 are read|need at least 1x1"):
        as_picture(given, min_side=1, max_megapixels=1e-5)  # type: ignore[arg-type]


def test_a_picture_checks_its_shapes() -> None:
    with pytest.raises(ImageError, match=r"shape \(3, 4, 4\), need \(H, W, 3\)"):
        Picture(np.zeros((3, 4, 4), np.float32))
    with pytest.raises(ImageError, match=r"alpha of shape \(4, 5\), need \(4, 4\) like the colours"):
        Picture(np.zeros((4, 4, 3), np.float32), np.zeros((4, 5), np.float32))
    with pytest.raises(ImageError, match="of Tensor, need arrays; `as_picture` takes tensors"):
        Picture(torch.zeros(4, 4, 3))


class _Subclass(torch.Tensor):
    """What a library beside torch may hand in."""


def test_tensors_of_all_kinds_are_known_without_torch() -> None:
    for tensor in (TENSOR.bfloat16(), TENSOR.half(), TENSOR.as_subclass(_Subclass), torch.nn.Parameter(TENSOR)):
        assert np.abs(as_picture(tensor).rgb - FLOATS).max() < 1 / 255
    assert not is_tensor(FLOATS)
    assert not is_tensor(torch.nn.Linear(1, 1))


def test_alpha_survives_a_colour_array_and_its_own_picture() -> None:
    once = as_picture(with_alpha(gradient()))
    assert as_picture(once) is once
