"""All kinds of files: both ways of reading, and other readers, see the picture that was put in."""

from __future__ import annotations

import io
import shutil
import subprocess
from functools import cache
from pathlib import Path

import numpy as np
import PIL
import pytest
from PIL import Image, ImageCms

from impasto.imaging import Picture, read, strips

from .corpus import CORPUS, Sample
from .imaging_samples import alpha_of, array_of


def assert_is(picture: Picture, sample: Sample, near: float) -> None:
    assert np.abs(array_of(picture) - sample.colour).max() * 255 <= near
    assert (picture.alpha is None) == (sample.alpha is None)
    if sample.alpha is not None:
        assert np.abs(alpha_of(picture) - sample.alpha).max() * 255 <= 0.01


@pytest.mark.parametrize("name", CORPUS)
def test_in_memory(name: str, tmp_path: Path) -> None:
    sample = CORPUS[name]
    path = tmp_path / f"picture{sample.suffix}"
    path.write_bytes(sample.data)
    assert_is(read(path), sample, sample.near)


@pytest.mark.parametrize(
    "name", [name for name, one in CORPUS.items() if one.suffix in (".tif", ".tiff", ".png", ".jpg")]
)
def test_by_strips(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyvips", reason="the extra huge (pyvips) is not installed")
    monkeypatch.setattr(strips, "STRIP", 500)
    sample = CORPUS[name]
    path = tmp_path / f"picture{sample.suffix}"
    path.write_bytes(sample.data)
    found, whole = strips.decode_strips(path), read(path)
    with found.pixels:
        alpha = found.read_alpha(0, found.height) if found.has_alpha else None
        picture = Picture(found.read(0, found.height), alpha, found.bits, found.name)
    assert_is(picture, sample, sample.near)
    assert picture.bits == whole.bits
    assert np.abs(picture.rgb - whole.rgb).max() <= 1e-6


# -- a third reader -------------------------------------------------------------------------------------------

ELSEWHERE = {  # begin of a name -> how ImageMagick 6.9 differs there, and from whom we know better
    "white 2": "takes 2 and 4 bits for black and white where 0 is white",
    "white 4": "takes 2 and 4 bits for black and white where 0 is white",
    "cielab": "takes L*a*b* for one of daylight (D65)",
    "icclab": "takes a* and b* for signed",
    "ycbcr 2x": "takes samples that are shared by pixels for those of one",
    "ycbcr 4x": "takes samples that are shared by pixels for those of one",
    "second alpha 16": "is wrong by 1 of 255 in alpha",
    "thumbnail": "shows the page that is asked for",
    "unmarked thumbnail": "shows the page that is asked for",
    "turned, as the first page says": "shows the page that is asked for",
    "bmp": "takes a fourth byte of zeros for transparency",
}


@cache
def image_magick() -> str | None:
    """The program, not another one of its name."""
    for name in ("magick", "convert-im6.q16", "convert-im6", "convert"):
        if (path := shutil.which(name)) is not None:
            told = subprocess.run([path, "-version"], capture_output=True, text=True, check=False)
            if told.stdout.startswith("Version: ImageMagick"):
                return path
    return None


@pytest.mark.parametrize("name", [name for name in CORPUS if not name.startswith(tuple(ELSEWHERE))])
def test_as_image_magick_sees_it(name: str, tmp_path: Path) -> None:
    program = image_magick()
    if program is None:
        pytest.skip("ImageMagick is not installed")
    sample = CORPUS[name]
    path = tmp_path / f"picture{sample.suffix}"
    path.write_bytes(sample.data)
    options = ["-auto-orient", "-colorspace", "sRGB", "-type", "TrueColorAlpha", "-depth", "16", "-endian", "LSB"]
    told = subprocess.run([program, f"{path}[0]", *options, "rgba:-"], capture_output=True, check=False)
    if told.returncode and b"no decode delegate" in told.stderr:
        pytest.skip(f"this ImageMagick does not read {sample.suffix[1:]}")
    seen = np.frombuffer(told.stdout, "<u2").reshape(*sample.colour.shape[:2], 4) / 65535
    picture = read(path)
    assert np.abs(array_of(picture) - seen[:, :, :3]).max() * 255 <= sample.near + 1.01  # it rounds palettes down
    alpha = np.ones(seen.shape[:2]) if picture.alpha is None else alpha_of(picture)
    assert np.abs(alpha - seen[:, :, 3]).max() * 255 <= 0.01


@pytest.mark.parametrize(
    "name", [name for name in CORPUS if name.startswith(("cielab 8", "white", "ycbcr 1", "ycbcr p", "ycbcr t"))]
)
def test_as_pillow_sees_it(name: str) -> None:
    sample = CORPUS[name]
    image = Image.open(io.BytesIO(sample.data))
    if image.mode == "LAB":
        spaces = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        image = ImageCms.applyTransform(image, ImageCms.buildTransform(*spaces, "LAB", "RGB"))
    try:
        seen = np.asarray(image.convert("RGB")) / 255
    except OSError as error:
        pytest.skip(f"Pillow {PIL.__version__} cannot read it: {error}")
    assert np.abs(array_of(read(io.BytesIO(sample.data))) - seen).max() * 255 <= (
        8 if sample.near == 4 else max(1.01, sample.near)
    )  # Pillow's own way from CIELab is coarse
