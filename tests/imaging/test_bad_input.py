"""What cannot be read is one sentence that names the picture, says what it got and what to do."""

from __future__ import annotations

import io
import logging
import os
import struct
import threading
import warnings
import zlib
from contextlib import suppress
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from impasto.errors import ImageError
from impasto.imaging import as_picture, read
from impasto.imaging.embedded import read_recipe
from impasto.imaging.guards import QUIET
from impasto.imaging.reading import is_animation, read_header
from impasto.imaging.reduced import read_reduced

from .corpus import CORPUS
from .imaging_samples import gradient, gradient16, orientation_exif, plain_tiff, png16, saved, tiff

RARE = ("group3 0 1", "group4 1 2", "tiff_ccitt 0 1", "ycbcr 2x2", "ycbcr tiff_lzw", "thumbnail, then the picture")
KINDS = {
    **{fmt: saved(gradient(), fmt) for fmt in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF", "GIF", "BMP", "HEIC")},
    "JPEG progressive": saved(gradient(), "JPEG", progressive=True),
    "WebP lossless": saved(gradient(), "WEBP", lossless=True),
    "TIFF jpeg": saved(gradient(), "TIFF", compression="jpeg"),
    "TIFF palette lzw": saved(Image.fromarray(gradient()).quantize(64), "TIFF", compression="tiff_lzw"),
    "TIFF header first": tiff(gradient(), compression="zlib", rowsperstrip=8),
    "PNG 16": png16(gradient16()),
    "TIFF 16": tiff(gradient16(), rowsperstrip=8),
    "TIFF 16 lzw tiles": tiff(gradient16(), compression="lzw", tile=(16, 16)),
    "TIFF tiled planes": tiff(np.moveaxis(gradient(), 2, 0).copy(), planarconfig="separate", tile=(16, 16)),
    **{f"TIFF {name}": CORPUS[name].data for name in RARE},
    "AVIF 10": bytes(
        imagecodecs.avif_encode(gradient16() >> 6, level=90, bitspersample=10, primaries=12, transfer=13, matrix=6)
    ),
}


def refusal(source: object, **limits: object) -> str:
    with pytest.raises(ImageError) as caught:
        read(source, **limits)  # type: ignore[arg-type]
    sentence = str(caught.value)
    assert sentence.isprintable()
    return sentence


def test_missing(tmp_path: Path) -> None:
    assert refusal(tmp_path / "a.jpg") == f"{tmp_path}/a.jpg: no such file; check the name and the folder"
    assert "no such file" in refusal(str(tmp_path / "nowhere" / "a.jpg"))


def test_folder(tmp_path: Path) -> None:
    assert refusal(tmp_path) == f"{tmp_path}: a folder, need a picture file"


def test_names_no_file_can_have(tmp_path: Path) -> None:
    assert "cannot be opened (File name too long)" in refusal(tmp_path / ("x" * 300))
    assert "a\\x00b.png: cannot be opened" in refusal(f"{tmp_path}/a\0b.png")


def test_no_right_to_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert "cannot be opened (Permission denied)" in refusal(tmp_path / "a.png")


def test_empty(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    assert (
        refusal(tmp_path / "a.jpg") == f"{tmp_path}/a.jpg: empty (0 bytes), need a picture; copy or download it again"
    )
    assert "stream: empty" in refusal(io.BytesIO())


@pytest.mark.parametrize(
    "data",
    [b"x", b"hello, this is text\n" * 20, bytes(5000), b"%PDF-1.7 ...", b"<svg xmlns='x'/>", b"RIFF\0\0\0\0WAVEfmt "],
)
def test_not_an_image(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(data)
    assert "a.jpg: not a picture of a kind read here, or badly damaged; give JPEG, " in refusal(tmp_path / "a.jpg")


@pytest.mark.parametrize(
    "data",
    [
        *(b"\0\0\0\x20ftyp" + brand + b"\0\0\2\0isomiso2" for brand in (b"isom", b"mp42", b"qt  ", b"M4V ", b"3gp5")),
        b"\0\0\0\x08wide\0\0\0\x10mdat",
        b"\x1aE\xdf\xa3\x9fB\x86",
        b"RIFF\0\0\0\0AVI LIST",
        b"OggS\0\2",
    ],
)
def test_a_film_is_told_what_paints_it(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(data + bytes(64))
    for look in (read, read_header, read_reduced, read_recipe):
        with pytest.raises(ImageError) as caught:
            look(tmp_path / "a.jpg")
        assert str(caught.value) == f"{tmp_path}/a.jpg: is a film, need a picture: `impasto video` paints films"


def test_formats_that_run_programs_are_not_opened(tmp_path: Path) -> None:
    (tmp_path / "a.eps").write_bytes(saved(gradient(), "EPS"))
    assert "not a picture" in refusal(tmp_path / "a.eps")


@pytest.mark.parametrize("kind", KINDS)
def test_cut_short_is_never_taken_for_whole(kind: str) -> None:
    """Wherever a file ends too early, either it is refused or nothing of the picture was missing."""
    data = KINDS[kind]
    whole = read(io.BytesIO(data)).rgb
    refused = 0
    cuts = {*range(1, len(data), max(1, len(data) // 60)), *range(len(data) - 12, len(data))}
    for cut in sorted(cuts):
        try:
            picture = read(io.BytesIO(data[:cut]))
        except ImageError:
            refused += 1
        else:
            assert (picture.rgb == whole).all()
    assert refused > len(cuts) / 2
    assert "stream: damaged or cut short (" in refusal(io.BytesIO(data[: len(data) * 2 // 3]))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    kind=st.sampled_from(sorted(KINDS)),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6),
)
def test_damage_is_an_image_error_or_a_picture(kind: str, changes: list[tuple[float, int]]) -> None:
    data = bytearray(KINDS[kind])
    for where, value in changes:
        data[int(where**2 * len(data))] = value  # more often near the header
    try:
        picture = read(io.BytesIO(bytes(data)), max_megapixels=1)
    except ImageError:
        return
    assert 0 <= float(picture.rgb.min()) <= float(picture.rgb.max()) <= 1


def bomb_png(width: int, height: int, depth: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def bomb_tiff(width: int, height: int) -> bytes:
    entries = {256: (4, width), 257: (4, height), 258: (3, 16), 259: (3, 1), 262: (3, 1), 277: (3, 1)}
    return plain_tiff(entries, bytes(8))


@pytest.mark.parametrize(
    "data",
    [
        bomb_png(100_000, 90_000, 8),
        bomb_png(100_000, 90_000, 16),
        bomb_tiff(100_000, 90_000),
        b"BM" + struct.pack("<IIIIiiHHIIIIII", 0, 0, 54, 40, 100_000, 90_000, 1, 24, 0, 0, 0, 0, 0, 0),
        b"GIF89a" + struct.pack("<HH3xc4H", 65_000, 65_000, b",", 0, 0, 65_000, 65_000) + b"\0\2\0;",
    ],
    ids=["png", "png16", "tiff16", "bmp", "gif"],
)
def test_decompression_bomb(data: bytes) -> None:
    sentence = refusal(io.BytesIO(data))
    assert sentence.startswith(("stream: 100000x90000 px is 9000 mega", "stream: 65000x65000 px is 4225 mega"))
    assert sentence.endswith("at most 200 are read; scale it down or raise the limit, `max_megapixels`")


def with_tag(data: bytes, tag: int, value: int) -> bytes:
    """A TIFF with one value of its header changed."""
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        entry = file.pages.first.tags[tag]
    changed = bytearray(data)
    struct.pack_into("<H" if entry.dtype == 3 else "<I", changed, entry.valueoffset, value)
    return bytes(changed)


def test_bombs_inside_a_small_tiff() -> None:
    """The header's size is harmless, but tiles, samples or the JPEG within ask for gigabytes."""
    wide_tile = with_tag(KINDS["TIFF 16 lzw tiles"], 322, 65520)
    assert "damaged or cut short (tiles of 65520x65520 px)" in refusal(io.BytesIO(with_tag(wide_tile, 323, 65520)))
    assert "(60000 samples per pixel)" in refusal(io.BytesIO(with_tag(KINDS["TIFF 16"], 277, 60000)))
    start = KINDS["TIFF jpeg"].index(b"\xff\xc0") + 5  # height and width in the start-of-frame marker
    bomb = KINDS["TIFF jpeg"][:start] + struct.pack(">HH", 65500, 65500) + KINDS["TIFF jpeg"][start + 4 :]
    assert "(65500x65500 px within 48x36)" in refusal(io.BytesIO(bomb))


@pytest.mark.parametrize("kind", KINDS)
def test_the_limit_in_megapixels(kind: str) -> None:
    exact = 48 * 36 / 1e6
    assert read(io.BytesIO(KINDS[kind]), max_megapixels=exact).width == 48
    assert "48x36 px is 0.001728 megapixels, at most 0.0017 are read" in refusal(
        io.BytesIO(KINDS[kind]), max_megapixels=0.0017
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_limit_in_pixels_per_side(kind: str) -> None:
    assert read(io.BytesIO(KINDS[kind]), min_side=36).height == 36
    assert refusal(io.BytesIO(KINDS[kind]), min_side=37) == "stream: 48x36 px, need at least 37x37"


def test_too_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("beach.jpg").write_bytes(saved(gradient()[:12, :18], "JPEG"))
    assert refusal("beach.jpg") == "beach.jpg: 18x12 px, need at least 32x32"


def test_pillows_limit_is_neither_used_nor_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    for fmt in ("PNG", "TIFF", "GIF", "WEBP", "JPEG"):
        assert read(io.BytesIO(KINDS[fmt])).width == 48
    assert Image.MAX_IMAGE_PIXELS == 100
    refusal(io.BytesIO(b"junk"))
    assert Image.MAX_IMAGE_PIXELS == 100


def test_a_program_that_lets_pillow_load_half_files_does_not_make_us(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    assert "cut short" in refusal(io.BytesIO(KINDS["JPEG"][:-100]))
    assert ImageFile.LOAD_TRUNCATED_IMAGES


def test_settings_last_until_the_last_one_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with QUIET:
        with QUIET:
            pass
        assert Image.MAX_IMAGE_PIXELS is None
    assert Image.MAX_IMAGE_PIXELS == 100


def test_settings_survive_many_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    filters = list(warnings.filters)
    failures: list[Exception] = []

    def work(kind: str) -> None:
        try:
            for _ in range(5):
                read(io.BytesIO(KINDS[kind]))
        except Exception as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=work, args=(kind,)) for kind in ("PNG", "JPEG", "TIFF 16", "GIF", "TIFF jpeg")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert Image.MAX_IMAGE_PIXELS == 100
    assert list(warnings.filters) == filters


def scratched(data: bytes) -> bytes:
    """A few bytes in the middle, where the pixels are, turned over."""
    middle = len(data) // 2
    return data[:middle] + bytes(255 - byte for byte in data[middle : middle + 8]) + data[middle + 8 :]


def test_libraries_stay_silent(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    """tifffile logs, Pillow warns, C libraries print: none of it may reach the user."""
    quirks = [
        KINDS["TIFF 16"][:-3000],
        KINDS["TIFF header first"][:200],
        saved(gradient(), "JPEG", exif=orientation_exif(6)[:-4]),
        saved(gradient(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x09"),
        png16(gradient16(), iCCP=b"x\0\0" + zlib.compress(b"junk" * 40)),
        saved(Image.fromarray(gradient()).quantize(64), "PNG", transparency=bytes(range(64))),
        tiff(gradient16(), extratags=[(65000, 2, 3, b"a\0b", True)]),
        *[scratched(data) for data in KINDS.values()],
    ]
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        for data in quirks:
            try:
                read(io.BytesIO(data))
            except ImageError:
                continue
    assert seen == []
    assert [record for record in caplog.records if record.levelno >= logging.INFO] == []
    assert capfd.readouterr() == ("", "")
    for name in ("tifffile", "imagecodecs"):
        logging.getLogger(name).warning("%s is heard again", name)
        assert f"{name} is heard again" in caplog.text


def test_libpng_stays_silent(caplog: pytest.LogCaptureFixture) -> None:
    """One byte turned over now and then ends the compressed pixels early, which libpng remarks on."""
    data = KINDS["PNG 16"]
    for position in range(len(data) // 2, len(data) // 2 + 700):
        broken = data[:position] + bytes([data[position] ^ 255]) + data[position + 1 :]
        assert "damaged" in refusal(io.BytesIO(broken))
    assert caplog.records == []


def test_too_much_for_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Image, "open", exhausted)
    assert refusal(io.BytesIO(KINDS["PNG"])) == "stream: more than the memory can hold; scale the picture down"


def test_interrupting_is_not_an_image_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Image, "open", interrupted)
    with pytest.raises(KeyboardInterrupt):
        read(io.BytesIO(KINDS["PNG"]))


def test_a_closed_image_is_called_closed(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (40, 40)).save(path)
    closed = Image.new("RGB", (40, 40))
    closed.close()
    with Image.open(path) as unread:
        pass
    with Image.open(path) as loaded:
        loaded.load()
    loaded.close()
    for image, name in ((closed, "image"), (unread, "a.png"), (loaded, "a.png")):
        with pytest.raises(ImageError) as caught:
            as_picture(image)
        assert str(caught.value) == f"{name}: the image is closed; give it while it is open, or its `copy()`"


def test_animations_are_told_from_pictures(tmp_path: Path) -> None:
    one, other = Image.new("RGB", (40, 40)), Image.new("RGB", (40, 40), "red")
    for suffix in ("gif", "webp", "png"):
        one.save(tmp_path / f"one.{suffix}")
        one.save(tmp_path / f"two.{suffix}", save_all=True, append_images=[other])
        assert not is_animation(tmp_path / f"one.{suffix}")
        assert is_animation(tmp_path / f"two.{suffix}")
    one.save(tmp_path / "pages.tif", save_all=True, append_images=[other])
    assert not is_animation(tmp_path / "pages.tif")
    (tmp_path / "odd.png").write_bytes(b"hello")
    assert not is_animation(tmp_path / "odd.png")


def test_files_are_closed(tmp_path: Path) -> None:
    for index, data in enumerate([*KINDS.values(), b"junk", KINDS["JPEG"][:500]]):
        path = tmp_path / f"{index}"
        path.write_bytes(data)
        with suppress(ImageError):
            read(path)
        opened = [os.readlink(f"/proc/self/fd/{number}") for number in _descriptors()]  # noqa: PTH115
        assert str(path) not in opened


def _descriptors() -> list[str]:
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("this system does not list open files in /proc")
    return [name for name in os.listdir("/proc/self/fd") if Path(f"/proc/self/fd/{name}").is_symlink()]  # noqa: PTH208


def test_a_damaged_pillow_image() -> None:
    with Image.open(io.BytesIO(KINDS["JPEG"][:-100])) as image, pytest.raises(ImageError, match="image: damaged"):
        as_picture(image)
    with pytest.raises(ImageError, match="image: 18x12 px, need at least 32x32"):
        as_picture(Image.new("RGB", (18, 12)))


def test_the_name_of_a_pillow_image(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(KINDS["PNG"])
    with Image.open(path) as image:
        assert as_picture(image).name == "a.png"
    assert as_picture(Image.fromarray(np.zeros((40, 40), np.uint8))).name == "image"
