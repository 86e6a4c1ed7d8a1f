"""What a photo's file says besides its pixels: what of it a painting says, and what it never does."""

from __future__ import annotations

import io
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image, PngImagePlugin

from impasto.imaging import Picture, encode, format_warnings, read, write
from impasto.imaging.metadata import Metadata
from impasto.imaging.metadata_files import photoshop_block
from impasto.imaging.pixelfile import PixelFile
from impasto.imaging.reading import as_picture
from impasto.imaging.strips import decode_strips, encode_strips

from .imaging_samples import gradient, gradient16

XMP = b"""<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
 exif:GPSLatitude="48,6.1N" tiff:Orientation="6" exif:PixelXDimension="4000" xmp:Rating="4">
<dc:title><rdf:Alt><rdf:li xml:lang="x-default">Boats &amp; gulls</rdf:li></rdf:Alt></dc:title>
<exif:GPSLongitude>11,30.2E</exif:GPSLongitude><xmp:Thumbnails>c2VjcmV0</xmp:Thumbnails>
</rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="w"?>"""
IPTC = b"\x1c\x02\x19\x00\x03sea" + b"\x1c\x02\xca\x00\x06secret"  # a keyword, a preview
SECRETS = (b"secret", b"48,6.1N", b"11,30.2E", b"NIKON")
FORMATS = ("jpg", "png", "tif", "webp", "avif")
BY_STRIPS = ("jpg", "png", "tif")


def exif() -> bytes:
    tags = Image.Exif()
    tags[ExifTags.Base.Artist], tags[ExifTags.Base.Model] = "Ada", "Camera 1"
    tags[ExifTags.Base.Orientation] = 6
    tags[0x8769] = {
        ExifTags.Base.DateTimeOriginal: "2020:01:02 03:04:05", ExifTags.Base.ISOSpeedRatings: 400,
        ExifTags.Base.MakerNote: b"NIKON secret", ExifTags.Base.ColorSpace: 65535,
        ExifTags.Base.ExifImageWidth: 4000, ExifTags.Base.ExifImageHeight: 3000,
    }  # fmt: skip
    tags[0x8825] = {1: "N", 2: (48.0, 6.0, 6.0), 3: "E", 4: (11.0, 30.0, 0.0)}
    return tags.tobytes()


def photo(folder: Path, suffix: str = "jpg", *, dpi: Any = (300, 200)) -> Path:
    """A file that says all it can, which a camera was turned for."""
    path, image = folder / f"photo.{suffix}", Image.fromarray(gradient())
    if suffix == "jpg":
        block = photoshop_block(IPTC)
        segment = b"\xff\xed" + (len(block) + 2).to_bytes(2, "big") + block
        image.save(path, exif=exif(), xmp=XMP, dpi=dpi, extra=segment)
    elif suffix == "png":
        text = PngImagePlugin.PngInfo()
        text.add_itxt("XML:com.adobe.xmp", XMP.decode(), zip=True)
        image.save(path, exif=exif(), dpi=dpi, pnginfo=text)
    elif suffix == "tif":
        tags = Image.Exif()
        tags.load(exif())
        tags[700], tags[33723] = XMP, IPTC
        image.save(path, exif=tags, dpi=dpi)
    else:
        image.save(path, exif=exif(), xmp=XMP)
    return path


def seen(path: Path) -> tuple[Image.Exif, bytes, Any]:
    """EXIF, XMP and resolution as Pillow finds them."""
    with Image.open(path) as image:
        image.load()
        xmp = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp", b"")  # the second in zTXt, as of libvips
        return image.getexif(), xmp.encode() if isinstance(xmp, str) else xmp, image.info.get("dpi")


@pytest.mark.parametrize(("source", "goal"), [*itertools.product(("jpg", "png", "tif", "webp"), FORMATS)])
def test_what_describes_the_photo_is_kept_and_what_betrays_it_never(tmp_path: Path, source: str, goal: str) -> None:
    picture, out = read(photo(tmp_path, source)), tmp_path / f"out.{goal}"
    write(picture, out, keep_metadata=True)
    tags, xmp, _ = seen(out)
    details = tags.get_ifd(0x8769)
    assert (tags[ExifTags.Base.Artist], tags[ExifTags.Base.Model]) == ("Ada", "Camera 1")
    assert (details[ExifTags.Base.DateTimeOriginal], details[ExifTags.Base.ISOSpeedRatings]) == (
        "2020:01:02 03:04:05", 400
    )  # fmt: skip
    assert tags.get(ExifTags.Base.Orientation, 1) == 1
    assert (details[ExifTags.Base.ExifImageWidth], details[ExifTags.Base.ExifImageHeight]) == (36, 48)
    assert details[ExifTags.Base.ColorSpace] == 1
    assert not tags.get_ifd(0x8825)
    assert b"Boats &amp; gulls" in xmp
    assert b'xmp:Rating="4"' in xmp
    assert b"Orientation" not in xmp
    assert not [secret for secret in SECRETS if secret in out.read_bytes()]


@pytest.mark.parametrize("goal", FORMATS)
def test_without_asking_only_the_resolution_is_kept(tmp_path: Path, goal: str) -> None:
    picture, out = read(photo(tmp_path)), tmp_path / f"out.{goal}"
    assert picture.metadata.dpi == (200, 300)  # turned with the picture
    write(picture, out)
    tags, xmp, _ = seen(out)
    assert read(out).metadata.dpi == (200, 300)
    assert not {ExifTags.Base.Artist, ExifTags.Base.Model} & tags.keys()
    assert not tags.get_ifd(0x8769)
    assert not xmp


@pytest.mark.parametrize("goal", ["jpg", "png", "tif"])
def test_other_programs_find_the_resolution(tmp_path: Path, goal: str) -> None:
    write(read(photo(tmp_path)), tmp_path / f"out.{goal}")
    assert seen(tmp_path / f"out.{goal}")[2] == pytest.approx((200, 300), abs=0.01)


def test_where_no_resolution_was_known_none_is_made_up(tmp_path: Path) -> None:
    Image.fromarray(gradient()).save(tmp_path / "plain.jpg")
    assert read(tmp_path / "plain.jpg").metadata == Metadata()


def test_iptc_goes_into_jpeg_and_tiff_without_its_preview(tmp_path: Path) -> None:
    picture = read(photo(tmp_path))
    for goal in ("jpg", "tif"):
        write(picture, tmp_path / f"out.{goal}", keep_metadata=True)
        assert read(tmp_path / f"out.{goal}").metadata.iptc == IPTC[:8]
    assert not format_warnings(picture, "out.tif", keep_metadata=True)
    assert "IPTC" in format_warnings(picture, "out.png", keep_metadata=True)[0]
    assert not format_warnings(picture, "out.png")


@pytest.mark.parametrize(("source", "goal"), [*itertools.product(BY_STRIPS, BY_STRIPS)])
def test_by_strips_the_same_is_kept(tmp_path: Path, source: str, goal: str) -> None:
    pytest.importorskip("pyvips")
    strips, out = decode_strips(photo(tmp_path, source)), tmp_path / f"out.{goal}"
    with strips.pixels, PixelFile((48, 36), 3, 8, path=tmp_path / "pixels.tif") as pixels:
        pixels.write(0, np.zeros((48, 36, 3), np.uint8))
        encode_strips(pixels, out, metadata=strips.metadata, keep_metadata=True)
        tags, xmp, _ = seen(out)
        assert tags[ExifTags.Base.Artist] == "Ada"
        assert tags.get_ifd(0x8769)[ExifTags.Base.ISOSpeedRatings] == 400
        assert tags.get(ExifTags.Base.Orientation, 1) == 1
        assert b"Boats &amp; gulls" in xmp
        assert read(out).metadata.dpi == (200, 300)
        assert not [secret for secret in SECRETS if secret in out.read_bytes()]
        encode_strips(pixels, out, metadata=strips.metadata)
        assert not {ExifTags.Base.Artist} & seen(out)[0].keys()
        assert read(out).metadata.dpi == (200, 300)


@pytest.mark.parametrize("order", [">", "<"])
@pytest.mark.parametrize("big", [False, True])
def test_tiff_of_both_byte_orders_and_widths(tmp_path: Path, order: Any, big: bool) -> None:
    tags = [(315, 2, 4, "Ada", True), (700, 1, len(XMP), XMP, True)]
    options: dict[str, Any] = {"resolution": (300, 200), "resolutionunit": "INCH", "extratags": tags}
    tifffile.imwrite(tmp_path / "a.tif", gradient(), photometric="rgb", byteorder=order, bigtiff=big, **options)
    picture = read(tmp_path / "a.tif")
    assert picture.metadata.dpi == (300, 200)
    assert picture.metadata.xmp == XMP
    write(picture, tmp_path / "b.jpg", keep_metadata=True)
    assert seen(tmp_path / "b.jpg")[0][ExifTags.Base.Artist] == "Ada"


@pytest.mark.parametrize("goal", FORMATS)
def test_the_pixels_are_those_without_metadata(tmp_path: Path, goal: str) -> None:
    picture = read(photo(tmp_path))
    write(picture, tmp_path / f"with.{goal}", keep_metadata=True)
    write(Picture(picture.rgb), tmp_path / f"without.{goal}")
    assert (read(tmp_path / f"with.{goal}").rgb == read(tmp_path / f"without.{goal}").rgb).all()


def test_16_bits_stay(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", gradient16(), photometric="rgb", resolution=(240, 240), resolutionunit="INCH")
    for goal in ("png", "tif"):
        write(read(tmp_path / "a.tif"), tmp_path / f"b.{goal}", keep_metadata=True)
        again = read(tmp_path / f"b.{goal}")
        assert (again.bits, again.metadata.dpi) == (16, (240, 240))


@pytest.mark.parametrize(
    "broken",
    [
        Metadata(exif=b"II*\0\xff\xff\xff\x7f"), Metadata(exif=b"junk"), Metadata(xmp=b"<x"),
        Metadata(iptc=b"\x1c\x02\x19\xff"),
        Metadata(xmp=b'<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>'),
    ],
)  # fmt: skip
def test_what_cannot_be_understood_is_left_out(broken: Metadata) -> None:
    assert broken.of_painting((48, 36), everything=True) == Metadata()


def test_a_picture_in_memory_brings_its_own(tmp_path: Path) -> None:
    with Image.open(photo(tmp_path)) as image:
        picture = as_picture(image)
    data = encode(picture, "jpeg", keep_metadata=True)
    assert Image.open(io.BytesIO(data)).getexif()[ExifTags.Base.Artist] == "Ada"


def test_a_painting_of_another_size_says_its_own(tmp_path: Path) -> None:
    picture = read(photo(tmp_path))
    painted = picture.with_rgb(picture.rgb[:, :, ::2, ::2])
    details = Image.open(io.BytesIO(encode(painted, "jpeg", keep_metadata=True))).getexif().get_ifd(0x8769)
    assert (details[ExifTags.Base.ExifImageWidth], details[ExifTags.Base.ExifImageHeight]) == (18, 24)


def test_too_much_for_a_jpeg_is_told_and_left_out(tmp_path: Path) -> None:
    long = Picture(read(photo(tmp_path)).rgb, metadata=Metadata(xmp=XMP.replace(b"gulls", b"g" * 70000)))
    write(long, tmp_path / "out.jpg", keep_metadata=True)
    assert read(tmp_path / "out.jpg").metadata.xmp is None
    assert "XMP" in format_warnings(long, "out.jpg", keep_metadata=True)[0]
