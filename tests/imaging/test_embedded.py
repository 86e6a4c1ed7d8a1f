"""A recipe goes into every format and comes back; nothing else changes; whatever is damaged is one sentence."""

from __future__ import annotations

import io
import json
import random
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from impasto.errors import ImageError, OptionError, OutputError
from impasto.imaging import Picture, as_picture, encode, read, read_recipe, strips, write
from impasto.imaging.embedded import recipe_xmp
from impasto.imaging.pixelfile import PixelFile
from impasto.imaging.xmp import MAX_RECIPE, MAX_XMP, NAMESPACE, merge_recipe, without_recipe

from .imaging_samples import gradient, gradient16, saved, with_alpha

SUFFIXES = ("jpg", "png", "webp", "tif", "avif", "heic")
PICTURES = {
    "8": as_picture(gradient()),
    "8 alpha": as_picture(with_alpha(gradient())),
    "16": as_picture(gradient16()),
    "16 alpha": as_picture(with_alpha(gradient16())),
}
RECIPE = json.dumps({"version": 1, "style": ["große Welle <神奈川> & co.", "\U0001f30a"], "path": "100%"}, indent=1)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("kind", PICTURES)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_gives_it_back_and_keeps_its_pixels(tmp_path: Path, suffix: str, kind: str) -> None:
    plain, path = tmp_path / f"plain.{suffix}", tmp_path / f"out.{suffix}"
    write(PICTURES[kind], plain)
    write(PICTURES[kind], path, recipe=RECIPE)
    assert read_recipe(plain) is None
    assert read_recipe(path) == RECIPE
    assert same_pixels(read(path), read(plain))
    assert 0 < path.stat().st_size - plain.stat().st_size < len(RECIPE) + 1000
    assert encode(PICTURES[kind], suffix) == plain.read_bytes()


def same_pixels(one: Picture, other: Picture) -> bool:
    if (one.alpha is None) != (other.alpha is None) or one.bits != other.bits:
        return False
    return bool((one.integers(one.bits) == other.integers(other.bits)).all())


@pytest.mark.parametrize("kind", PICTURES)
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_by_strips_too(tmp_path: Path, suffix: str, kind: str) -> None:
    pytest.importorskip("pyvips", reason="the extra huge (pyvips) is not installed")
    picture = PICTURES[kind]
    array = picture.integers(8 if suffix == "jpg" else picture.bits, with_alpha=suffix != "jpg")
    plain, path = tmp_path / f"plain.{suffix}", tmp_path / f"out.{suffix}"
    with PixelFile(array.shape[:2], array.shape[2], 8 * array.itemsize, path=tmp_path / "pixels") as pixels:
        pixels.write(0, array)
        strips.encode_strips(pixels, plain)
        strips.encode_strips(pixels, path, recipe=RECIPE)
    assert read_recipe(plain) is None
    assert read_recipe(path) == RECIPE
    assert same_pixels(read(path), read(plain))
    assert 0 < path.stat().st_size - plain.stat().st_size < len(RECIPE) + 1000


@settings(max_examples=60, deadline=None)
@given(value=JSON, suffix=st.sampled_from(SUFFIXES), ascii_only=st.booleans(), indent=st.none() | st.just("\t"))
def test_any_json_comes_back(value: Any, suffix: str, ascii_only: bool, indent: str | None) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    found = read_recipe(io.BytesIO(encode(PICTURES["8"], suffix, recipe=text)))
    assert found is not None
    assert found.isascii()
    assert json.loads(found) == value
    if ascii_only:
        assert found == text.replace("\x7f", "\\u007f")


@settings(max_examples=300, deadline=None)
@given(text=st.text().map(lambda text: json.dumps(text, ensure_ascii=False)), before=st.text("\t\n\r ", max_size=3))
def test_any_text_goes_through_xmp(text: str, before: str) -> None:
    found = read_recipe(io.BytesIO(jpeg_with(merge_recipe(None, before + text))))
    assert found is not None
    assert json.loads(found) == json.loads(text)
    assert found[: len(before)] == before


@pytest.mark.parametrize("text", ["", "{", "not json", '{"a": "\0"}', "[" * 100_000])
def test_only_json_is_embedded(text: str) -> None:
    with pytest.raises(OptionError, match="recipe: not JSON"):
        encode(PICTURES["8"], "png", recipe=text)
    with pytest.raises(OptionError, match="recipe: not JSON"):
        encode(PICTURES["8"], "tiff", recipe=text)


def test_how_much_there_is_room_for(tmp_path: Path) -> None:
    largest = json.dumps("x" * (MAX_RECIPE - 2))
    for suffix in SUFFIXES:
        assert read_recipe(io.BytesIO(encode(PICTURES["8"], suffix, recipe=largest))) == largest
        with pytest.raises(OptionError, match=f"recipe: {MAX_RECIPE + 1} bytes, a picture holds at most {MAX_RECIPE}"):
            encode(PICTURES["8"], suffix, recipe=largest[:-1] + 'y"')
    with pytest.raises(OutputError, match="JPEG holds at most 65504"):  # ampersands take five bytes in XML
        write(PICTURES["8"], tmp_path / "out.jpg", recipe=json.dumps("&" * 20_000))
    assert list(tmp_path.iterdir()) == []


def test_nothing_else_is_embedded(tmp_path: Path) -> None:
    """Neither where it was painted nor by whom: the same bytes wherever and whenever it is written."""
    for suffix in SUFFIXES:
        path = tmp_path / f"out.{suffix}"
        write(PICTURES["8"], path, recipe='{"a": 1}')
        assert path.read_bytes() == encode(PICTURES["8"], suffix, recipe='{"a": 1}')
        for word in (str(tmp_path), tmp_path.name, sys.prefix):
            assert word.encode() not in path.read_bytes()


def test_standard_output_carries_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stdout(io.StringIO):
        buffer = io.BytesIO()

    monkeypatch.setattr(sys, "stdout", Stdout())
    write(PICTURES["8"], "-", recipe=RECIPE)
    assert read_recipe(io.BytesIO(Stdout.buffer.getvalue())) == RECIPE


# -- other XMP ------------------------------------------------------------------------------------------------

CAMERA = """<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="camera"><r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
 <!-- kept --><r:Description r:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" dc:format='image/jpeg'>
  <dc:title><r:Alt><r:li xml:lang="x-default">Großer Strand &amp; Meer</r:li></r:Alt></dc:title>
 </r:Description></r:RDF></x:xmpmeta>
<?xpacket end="w"?>""".encode()


def jpeg_with(xmp: bytes) -> bytes:
    return saved(gradient(), "JPEG", xmp=xmp)


def test_what_is_there_stays_byte_for_byte() -> None:
    merged = merge_recipe(CAMERA, RECIPE)
    assert read_recipe(io.BytesIO(jpeg_with(merged))) == RECIPE
    assert without_recipe(merged) == CAMERA
    assert without_recipe(CAMERA) == CAMERA
    at = CAMERA.index(b"</r:RDF>")
    assert (merged[:at], merged[-len(CAMERA) + at :]) == (CAMERA[:at], CAMERA[at:])
    other = merge_recipe(merged, "[]")
    assert read_recipe(io.BytesIO(jpeg_with(other))) == "[]"
    assert without_recipe(other) == CAMERA
    assert without_recipe(merge_recipe(None, RECIPE)) == without_recipe(merge_recipe(None, "[]"))


@pytest.mark.parametrize(
    ("attributes", "inside"),
    [
        ('i:recipe="[&quot;&gt;&quot;]" a="b>c"', "<i:other>1</i:other>"),
        ("a='\"' i:recipe = '[\">\"]'", ""),
        ("", '<i:recipe r:datatype=">">["&gt;"]</i:recipe><i:other/>'),
        ("", '<i:recipe><![CDATA[[">"]]]></i:recipe>'),
        ("", '<i:recipe>[<!-- > -->"&#62;"]</i:recipe>'),
    ],
)
def test_as_other_programs_write_it(attributes: str, inside: str) -> None:
    rdf = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
    text = f'<r:RDF xmlns:r="{rdf}"><r:D xmlns:i="{NAMESPACE}" {attributes}>{inside}</r:D></r:RDF>'
    xmp = text.encode()
    assert read_recipe(io.BytesIO(jpeg_with(xmp))) == '[">"]'
    bare = without_recipe(xmp)
    assert read_recipe(io.BytesIO(jpeg_with(bare))) is None
    for part in ('a="b>c"', "<i:other>1</i:other>", "a='\"'", "<i:other/>"):
        assert (part.encode() in bare) == (part in text)
    assert read_recipe(io.BytesIO(jpeg_with(merge_recipe(xmp, "3")))) == "3"


def test_an_empty_packet_is_replaced() -> None:
    empty = b'<RDF xmlns="http://www.w3.org/1999/02/22-rdf-syntax-ns#"/>\0\0'
    assert merge_recipe(empty, "1") == merge_recipe(None, "1")


def test_an_empty_recipe_is_taken_out() -> None:
    xmp = CAMERA.replace(b"</r:Desc", f'<i:recipe xmlns:i="{NAMESPACE}" i:a="/>"/></r:Desc'.encode())
    assert without_recipe(xmp) == CAMERA
    with pytest.raises(ImageError, match="its recipe is not JSON"):
        read_recipe(io.BytesIO(jpeg_with(xmp)))


LAUGHS = b'<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>' + CAMERA.split(b"\n", 1)[1].replace(b"Meer", b"&b;")


@pytest.mark.parametrize(
    ("xmp", "told"),
    [
        (LAUGHS, "declares a document type"),
        (CAMERA[:-40], "damaged"),
        (CAMERA.replace("ß".encode(), b"\xdf"), "damaged"),
        (CAMERA.decode().encode("utf-16"), "damaged"),
        (b"", "damaged"),
        (b"<a/>", "no rdf:RDF"),
        (b"<a>" * 100_000, "damaged"),
        (b" " * (MAX_XMP + 1), f"at most {MAX_XMP} are read"),
    ],
)
def test_bad_xmp_is_one_sentence(xmp: bytes, told: str) -> None:
    for call in (lambda: merge_recipe(xmp, "1"), lambda: without_recipe(xmp), lambda: recipe_xmp("1", "jpeg", xmp)):
        with pytest.raises(ImageError, match=told) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_deep_nesting_is_walked() -> None:
    rdf = (
        b'<RDF xmlns="http://www.w3.org/1999/02/22-rdf-syntax-ns#">' + b"<a>" * 300_000 + b"</a>" * 300_000 + b"</RDF>"
    )
    assert without_recipe(merge_recipe(rdf, "1")) == rdf


# -- read again -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF", "TIFF"])
def test_it_outlives_pillow(kind: str) -> None:
    with Image.open(io.BytesIO(encode(PICTURES["8"], kind, recipe=RECIPE))) as image:
        found = image.info.get("xmp") or image.tag_v2[700]
        again = saved(image, kind, **({"tiffinfo": image.tag_v2} if kind == "TIFF" else {"xmp": found}))
    assert read_recipe(io.BytesIO(again)) == RECIPE


@pytest.mark.parametrize("how", ["text", "packed", "international", "packed international", "xmp", "late"])
def test_every_text_chunk_of_png(how: str) -> None:
    info = PngInfo()
    if how == "xmp":
        info.add_itxt("XML:com.adobe.xmp", merge_recipe(None, RECIPE).decode())
    elif "international" in how:
        info.add_itxt("impasto", RECIPE, "en", "Rezept", zip="packed" in how)
    else:
        info.add_text("impasto", RECIPE, zip=how == "packed")
    data = saved(gradient(), "PNG", pnginfo=info)
    if how == "late":  # after the pixels
        at = data.index(b"tEXt") - 4
        chunk = data[at : at + 12 + int.from_bytes(data[at : at + 4], "big")]
        data = data.replace(chunk, b"")
        data = data[:-12] + chunk + data[-12:]
    assert read_recipe(io.BytesIO(data)) == RECIPE


def test_a_big_tiff_and_one_of_the_other_endianness() -> None:
    xmp = merge_recipe(None, RECIPE)
    for options in ({"bigtiff": True}, {"byteorder": ">"}):
        file = io.BytesIO()
        tags = [(700, 1, len(xmp), xmp, True)]
        tifffile.imwrite(file, gradient(), photometric="rgb", metadata=None, extratags=tags, **options)
        assert read_recipe(io.BytesIO(file.getvalue())) == RECIPE


@pytest.mark.parametrize("kind", ["GIF", "BMP", "PNG", "JPEG", "WEBP", "AVIF", "HEIC", "TIFF"])
def test_a_picture_without_one(kind: str) -> None:
    assert read_recipe(io.BytesIO(saved(gradient(), kind))) is None


def test_xmp_of_others_is_no_recipe_even_if_damaged() -> None:
    for xmp in (CAMERA, CAMERA[:-30], b"x"):
        assert read_recipe(io.BytesIO(jpeg_with(xmp))) is None


# -- damaged --------------------------------------------------------------------------------------------------


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_with(*chunks: bytes) -> bytes:
    data = saved(gradient(), "PNG")
    return data[:33] + b"".join(chunks) + data[33:]


WHOLE = merge_recipe(None, RECIPE)
DAMAGED = {
    "no JSON": jpeg_with(WHOLE.replace(b"{", b"(")),
    "no XML": jpeg_with(WHOLE.replace(b"</impasto:recipe>", b"")),
    "entities": jpeg_with(WHOLE.replace(b"<x:xmp", b'<!DOCTYPE a [<!ENTITY b "c">]><x:xmp')),
    "deep JSON": jpeg_with(WHOLE.replace(RECIPE.encode()[:1], b"[" * 50_000)),
    "flipped bit": encode(PICTURES["8"], "png", recipe=RECIPE).replace(b"version", b"vercion"),
    "a bomb": png_with(chunk(b"zTXt", b"impasto\0\0" + zlib.compress(bytes(1 << 27), 9))),
    "packed and cut": png_with(chunk(b"zTXt", b"impasto\0\0" + zlib.compress(RECIPE.encode())[:-9])),
    "long": png_with(chunk(b"tEXt", b"impasto\0" + b"1" * (MAX_RECIPE + 1))),
    "longer": png_with(chunk(b"tEXt", b"impasto\0" + b"1" * (MAX_XMP + 1))),
    "no ASCII": png_with(chunk(b"tEXt", b'impasto\0"\xe9"')),
    "cut JPEG": encode(PICTURES["8"], "jpeg", recipe=RECIPE)[:300],
    "cut PNG": encode(PICTURES["8"], "png", recipe=RECIPE)[:100],
    "cut WebP": encode(PICTURES["8"], "webp", recipe=RECIPE)[:-50],
    "cut TIFF": encode(PICTURES["8"], "tiff", recipe=RECIPE)[:100],
    "cut AVIF": encode(PICTURES["8"], "avif", recipe=RECIPE)[:200],
    "announced": b"RIFF\xff\xff\xff\xffWEBPXMP \xff\xff\xff\x7f",
    "empty": b"",
    "no picture": b'{"a": 1}',
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_is_one_sentence(tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "in.dat"
    path.write_bytes(DAMAGED[name])
    with pytest.raises(ImageError, match=r"in\.dat: (damaged|empty|not a picture)") as caught:
        read_recipe(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < len(str(path)) + 220
    assert capfd.readouterr() == ("", "")


def test_missing_files_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"gone\.png: no such file"):
        read_recipe(tmp_path / "gone.png")
    with pytest.raises(ImageError, match="a folder"):
        read_recipe(tmp_path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_whatever_is_changed_nothing_else_is_raised(suffix: str) -> None:
    """The recipe as it was, another, none, or one sentence."""
    data, draw = encode(PICTURES["8"], suffix, recipe=RECIPE), random.Random(0)
    for _ in range(150):
        bad = bytearray(data)
        for _ in range(draw.randint(1, 4)):
            bad[draw.randrange(min(len(bad), 600))] = draw.randrange(256)
        try:
            found = read_recipe(io.BytesIO(bytes(bad[: draw.choice([len(bad), draw.randrange(len(bad))])])))
        except ImageError as error:
            assert "\n" not in str(error)  # noqa: PT017
        else:
            assert found is None or json.loads(found) != ""


def test_no_pixel_is_decoded(tmp_path: Path) -> None:
    """A picture of 1.6 gigapixels answers at once, though reading it would be refused."""
    path = tmp_path / "large.png"
    header = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    texts = chunk(b"tEXt", b"impasto\0[1]")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + texts + chunk(b"IEND", b""))
    assert read_recipe(path) == "[1]"
