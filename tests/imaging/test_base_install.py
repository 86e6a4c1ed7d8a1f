"""Pictures in and out without imagecodecs, as after a plain `pip install impasto`: right, or one sentence.

What is read and written so is made by a process that cannot import it, once for all tests here.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from impasto.imaging import Picture, read, write
from impasto.imaging.matrix_profile import ADOBE_RGB, Chromaticities, Curve, matrix_profile
from impasto.imaging.sheets import Cell, contact_sheet

from .corpus import CORPUS
from .imaging_samples import (
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

P3 = matrix_profile(Chromaticities(0.680, 0.320, 0.265, 0.690, 0.150, 0.060, 0.3127, 0.3290), Curve(2.2))
GREY: bytes = imagecodecs.cms_profile("gray", gamma=1.8)
OUTPUTS = ("eight.png", "eight.jpg", "eight.webp", "eight.avif", "eight.tif", "deep.png", "deep.tif", "clear.png")
CHILD = """
import json, sys
sys.modules["imagecodecs"] = None
from pathlib import Path
import numpy as np
from impasto.errors import ImpastoError
from impasto.imaging import Picture, read, write
given, out = map(Path, sys.argv[1:])
told = {}
for path in sorted(given.iterdir()):
    try:
        found = read(path)
    except ImpastoError as error:
        told[path.name] = [type(error).__name__, str(error)]
    else:
        alpha = {} if found.alpha is None else {"alpha": found.alpha}
        np.savez(out / f"{path.name}.npz", rgb=found.rgb, bits=found.bits, **alpha)
for name in %r:
    values = np.load(given.parent / "values.npy")
    alpha = values[:, :, 3] if name.startswith("clear") else None
    deep = 16 if name.startswith(("deep", "clear")) else 8
    write(Picture(values[:, :, :3].copy(), alpha, deep), out / name, quality=95)
assert not any(name.startswith("imagecodecs") and module for name, module in sys.modules.items())
print(json.dumps(told))
"""


class Sample(NamedTuple):
    """A file and, from an install with everything, how far of 255 it may be from that."""

    data: bytes
    near: float = 0


def coloured(profile: bytes, mode: str, kind: str, **options: Any) -> bytes:
    shade = np.concatenate([np.tile(np.arange(256, dtype=np.uint8), (40, 1))[:, :, None], gradient_wide()], axis=2)
    image = Image.fromarray(shade[:, :, :3]) if mode == "RGB" else Image.fromarray(shade[:, :, 0])
    if mode == "CMYK":
        image = Image.frombytes("CMYK", (256, 40), shade.tobytes())
    return saved(image, kind, icc_profile=profile, **options)


def gradient_wide() -> NDArray[np.uint8]:
    return np.random.default_rng(3).integers(0, 256, (40, 256, 3), np.uint8)


def clear_colour() -> bytes:
    array = gradient16()
    red, green, blue = (int(value) for value in array[5, 7])
    return png16(array, tRNS=b"".join(value.to_bytes(2, "big") for value in (red, green, blue)))


def interlaced() -> bytes:
    """A PNG of 16 bits whose rows are scattered over the file (Adam7)."""
    array = gradient16()
    header = struct.pack(">2I5B", array.shape[1], array.shape[0], 16, 2, 0, 0, 1)
    ways = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    parts = [array[y::down, x::across].astype(">u2") for x, y, across, down in ways]
    rows = b"".join(b"\0" + row.tobytes() for part in parts for row in part)
    return png16(array)[:8] + b"".join(map(chunk, (b"IHDR", b"IDAT", b"IEND"), (header, zlib.compress(rows), b"")))


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


READ = {
    "p3.png": Sample(coloured(P3, "RGB", "PNG"), 2),
    "adobe.png": Sample(coloured(matrix_profile(*ADOBE_RGB), "RGB", "PNG"), 2),
    "p3.webp": Sample(coloured(P3, "RGB", "WEBP", lossless=True), 2),
    "p3.jpg": Sample(coloured(P3, "RGB", "JPEG", quality=95), 2),
    "p3.avif": Sample(coloured(P3, "RGB", "AVIF"), 2),
    "p3.tif": Sample(coloured(P3, "RGB", "TIFF"), 2),
    "grey.png": Sample(coloured(GREY, "L", "PNG"), 2),
    "inks.jpg": Sample(coloured(cmyk_profile(), "CMYK", "JPEG", quality=95), 2),
    "inks.tif": Sample(coloured(cmyk_profile(16), "CMYK", "TIFF"), 2),
    "broken profile.png": Sample(coloured(P3[:200], "RGB", "PNG")),
    "for another kind.png": Sample(coloured(cmyk_profile(), "RGB", "PNG")),
    "srgb.png": Sample(coloured(imagecodecs.cms_profile("srgb"), "RGB", "PNG")),
    "deep.png": Sample(png16(gradient16())),
    "deep alpha.png": Sample(png16(with_alpha(gradient16()))),
    "deep grey.png": Sample(bytes(imagecodecs.png_encode(gradient16()[:, :, 0].copy()))),
    "deep grey alpha.png": Sample(bytes(imagecodecs.png_encode(gradient16()[:, :, :2].copy()))),
    "deep clear.png": Sample(clear_colour()),
    "deep srgb.tif": Sample(tiff(gradient16(), iccprofile=imagecodecs.cms_profile("srgb"))),
}
WIDE = "a colour profile with 16 bits per channel"
TEN_BITS = bytes(imagecodecs.avif_encode(gradient16() >> 6, level=90, bitspersample=10))
TOLD = {
    "avif.avif": (TEN_BITS, "AVIF of 10 bits", "deep"),
    "wide.tif": (tiff(gradient16(), iccprofile=P3), WIDE, "deep"),
    "wide.png": (png16(gradient16(), gAMA=(60000).to_bytes(4, "big")), WIDE, "deep"),
    "interlaced.png": (interlaced(), "an interlaced PNG of 16 bits per channel", "deep"),
    "fax.tif": (CORPUS["group4 1 1"].data, "a TIFF of kind MINISBLACK with 1-bit samples, coded by CCITTFAX4,", "tiff"),
    "lab.tif": (CORPUS["cielab 8 {'compression': None, 'rowsperstrip': 9}"].data, "CIELab", "tiff"),
    "jpeg.tif": (
        saved(gradient(), "TIFF", compression="jpeg"),
        "a TIFF of kind RGB with 8-bit samples, coded by JPEG,",
        "tiff",
    ),
}  # fmt: skip


DAMAGED = {
    "cut.png": png16(gradient16())[:-200],
    "turned.png": (data := bytearray(png16(gradient16()))) and bytes(data[:900] + b"\xff\0\xff" + data[903:]),
    "cut.tif": tiff(gradient16(), compression="lzw")[:-200],
}


class Base(NamedTuple):
    """What the process left: pictures and files in a folder, and errors, [class, sentence], by name."""

    folder: Path
    errors: dict[str, list[str]]

    def picture(self, name: str) -> Picture:
        assert name not in self.errors, self.errors[name]
        with np.load(self.folder / f"{name}.npz") as found:
            return Picture(found["rgb"], found.get("alpha"), int(found["bits"]))


@pytest.fixture(scope="module")
def values() -> NDArray[np.float32]:
    return np.dstack([gradient16() / 65535, ramp_alpha() / 255]).astype(np.float32)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, values: NDArray[np.float32]) -> Base:
    top = tmp_path_factory.mktemp("base")
    given, out = top / "given", top / "out"
    given.mkdir()
    out.mkdir()
    np.save(top / "values.npy", values)
    for number, sample in enumerate(CORPUS.values()):
        (given / f"corpus-{number}{sample.suffix}").write_bytes(sample.data)
    for name, data in [
        *((name, one.data) for name, one in READ.items()),
        *((name, one[0]) for name, one in TOLD.items()),
        *DAMAGED.items(),
    ]:
        (given / name).write_bytes(data)
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", CHILD % (OUTPUTS,), str(given), str(out)],
        capture_output=True, text=True, timeout=300, env=os.environ | {"PYTHONUTF8": "1"},
    )  # fmt: skip
    assert (run.returncode, run.stderr) == (0, "")
    return Base(out, json.loads(run.stdout))


def test_every_kind_is_right_or_told(base: Base) -> None:
    right = 0
    for number, (name, sample) in enumerate(CORPUS.items()):
        file = f"corpus-{number}{sample.suffix}"
        if file in base.errors:
            kind, sentence = base.errors[file]
            assert kind == "MissingExtraError", (name, sentence)
            assert sentence.endswith("which is not installed: pip install 'impasto[tiff]'"), (name, sentence)
            continue
        found = base.picture(file)
        assert np.abs(array_of(found) - sample.colour).max() * 255 <= sample.near, name
        assert (found.alpha is None) == (sample.alpha is None), name
        if sample.alpha is not None:
            assert np.abs(alpha_of(found) - sample.alpha).max() * 255 <= 0.01, name
        right += 1
    assert right >= 100


@pytest.mark.parametrize("name", READ)
def test_the_same_as_with_everything(name: str, base: Base, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(READ[name].data)
    with_all, found = read(tmp_path / name), base.picture(name)
    assert found.bits == with_all.bits
    assert np.abs(array_of(found) - array_of(with_all)).max() * 255 <= READ[name].near
    assert (found.alpha is None) == (with_all.alpha is None)
    if found.alpha is not None:
        assert np.array_equal(alpha_of(found), alpha_of(with_all))


def test_profiles_do_something(base: Base) -> None:
    plain = np.concatenate([np.tile(np.arange(256), (40, 1))[:, :, None], gradient_wide()], axis=2)[:, :, :3] / 255
    assert np.abs(array_of(base.picture("p3.png")) - plain).max() * 255 > 20
    assert np.array_equal(array_of(base.picture("srgb.png")), (plain * 255).astype(np.float32) / np.float32(255))


@pytest.mark.parametrize("name", TOLD)
def test_what_needs_more_says_so(name: str, base: Base) -> None:
    _, what, extra = TOLD[name]
    assert base.errors[name][0] == "MissingExtraError"
    told = base.errors[name][1].rpartition("/")[2]
    assert told == f"{name}: {what} needs imagecodecs, which is not installed: pip install 'impasto[{extra}]'"


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_files_are_told(name: str, base: Base) -> None:
    assert base.errors[name][0] == "ImageError"
    assert "damaged or cut short" in base.errors[name][1]


@pytest.mark.parametrize("name", OUTPUTS)
def test_written_the_same(name: str, base: Base, values: NDArray[np.float32], tmp_path: Path) -> None:
    """Lossless formats value by value; the others byte by byte, since Pillow writes them in any case."""
    deep = 16 if name.startswith(("deep", "clear")) else 8
    alpha = values[:, :, 3] if name.startswith("clear") else None
    write(Picture(values[:, :, :3].copy(), alpha, deep), tmp_path / name, quality=95)
    here, there = read(tmp_path / name), read(base.folder / name)
    assert there.bits == here.bits == deep
    assert np.array_equal(array_of(here), array_of(there))
    assert (here.alpha is None) == (there.alpha is None)
    if Path(name).suffix not in (".png", ".tif"):
        assert (base.folder / name).read_bytes() == (tmp_path / name).read_bytes()
    with Image.open(base.folder / name) as image:
        assert image.info["icc_profile"]


def test_labels_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    def sheet() -> NDArray[np.float32]:
        return contact_sheet([[Cell(gradient() / np.float32(255), "Émile ü")]]).rgb

    from impasto.imaging import sheets

    with_letters = sheet()
    sheets._font.cache_clear()
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    without = sheet()
    sheets._font.cache_clear()
    assert with_letters.shape == without.shape
    assert (without[:14] < 0.5).sum() > 20
