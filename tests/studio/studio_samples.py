"""Photos, servers and hostile files for the tests of the studio, all made at run time."""

from __future__ import annotations

import io
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from impasto.studio.app import create_app
from impasto.studio.server import StudioServer, address_of, bound
from impasto.studio.service import Service


def photo(size: tuple[int, int] = (64, 80), seed: int = 0) -> Image.Image:
    """Blotches of colour, of this (height, width)."""
    blotches = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), np.uint8)
    return Image.fromarray(blotches).resize(size[::-1], Image.Resampling.BICUBIC)


def data_of(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """The bytes of a picture's file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@contextmanager
def served(service: Service, **options: Any) -> Iterator[str]:
    """The address of a server of this service, without a slash; the service is left open."""
    app = create_app(service=service, page=False, **options)
    with bound("127.0.0.1", 0) as place:
        address = address_of(place).rstrip("/")
        server = StudioServer(app, service)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [place]})
        thread.start()
        try:
            until(lambda: server.started)
            yield address
        finally:
            server.should_exit = True
            thread.join()


def files_of_jobs(service: Service) -> list[Path]:
    """What is there of photos, styles and paintings."""
    return [*service.place.glob("job-*/*")]


def until(holds: Callable[[], Any], seconds: float = 60.0) -> None:
    """Wait for something that must come."""
    by = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < by, "it did not come"
        time.sleep(0.01)


# -- hostile files: each claims to be a picture, and none may be taken for one or cost more than a look ------------


def hostile() -> Iterator[tuple[str, bytes]]:
    """Name and bytes of files that must all be refused."""
    yield from _truncated()
    yield from _wrong_type()
    yield from _dimensions()
    yield from _bombs()
    yield from _polyglots()
    yield from _damaged()


def _whole() -> dict[str, bytes]:
    image = photo((48, 56), seed=3)
    kinds = {"jpeg": "JPEG", "png": "PNG", "webp": "WEBP", "gif": "GIF", "bmp": "BMP", "tiff": "TIFF", "avif": "AVIF"}
    return {name: data_of(image, kind) for name, kind in kinds.items()}


def _truncated() -> Iterator[tuple[str, bytes]]:
    for kind, data in _whole().items():
        for share in (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7):
            yield f"{kind} cut at {share:g}", data[: max(1, int(share * len(data)))]
        yield f"{kind} of signature alone", data[:12]


def _wrong_type() -> Iterator[tuple[str, bytes]]:
    svg = b'<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"><image href="file:///etc/hostname"/></svg>'
    yield "empty", b""
    yield "svg", svg
    yield "svg with declaration", b'<?xml version="1.0"?>\n' + svg
    yield "svg of entities", b'<?xml version="1.0"?><!DOCTYPE s [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>' + svg
    yield "svg compressed", zlib.compress(svg)
    yield "html", b"<!doctype html><script>alert(1)</script>"
    yield "text", b"a picture, honestly"
    yield "json", b'{"photo": true}'
    yield "zip", b"PK\x03\x04" + bytes(60)
    yield "pdf", b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\ntrailer<<>>\n%%EOF"
    yield "postscript", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\nshowpage\n"
    yield "elf", b"\x7fELF" + bytes(124)
    yield "shell", b"#!/bin/sh\ntrue\n"
    yield "mp4", b"\0\0\0\x20ftypisom" + bytes(100)
    yield "safetensors", struct.pack("<Q", 2) + b"{}"
    yield "pickle", b"\x80\x04N."
    yield "zeros", bytes(4096)
    yield "ones", b"\xff" * 4096
    yield "noise", np.random.default_rng(0).bytes(4096)
    for kind in ("ICO", "PPM", "TGA", "PCX", "SGI", "DDS"):  # pictures, of kinds that are not read
        yield kind.lower(), data_of(photo((48, 48)), kind)


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *chunks: bytes, bits: int = 8, colour: int = 2) -> bytes:
    """A PNG that says it is so large, with these chunks."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunks) + chunk(b"IEND", b"")


def _bmp(width: int, height: int) -> bytes:
    return (
        b"BM"
        + struct.pack("<IHHIIiiHHIIiiII", 154, 0, 0, 54, 40, width, height, 1, 24, 0, 100, 0, 0, 0, 0)
        + bytes(100)
    )


def _gif(width: int, height: int) -> bytes:
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
    return head + b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x4c\x01\x00;"


def _jpeg(width: int, height: int) -> bytes:
    data = bytearray(data_of(photo((48, 48)), "JPEG"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def _webp(width: int, height: int) -> bytes:
    body = (
        b"VP8X"
        + struct.pack("<I", 10)
        + bytes(4)
        + struct.pack("<I", width - 1)[:3]
        + struct.pack("<I", height - 1)[:3]
    )
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def tiff(entries: list[tuple[int, int, int, int]], *, big_endian: bool = False, then: int = 0) -> bytes:
    """A TIFF of one directory with these (tag, type, count, value)."""
    order = ">" if big_endian else "<"
    table = struct.pack(f"{order}H", len(entries))
    for tag, kind, count, value in sorted(entries):
        table += struct.pack(f"{order}HHI", tag, kind, count)
        small = kind == 3 and count == 1
        table += struct.pack(f"{order}HH", value, 0) if small else struct.pack(f"{order}I", value)
    head = b"MM\0*" if big_endian else b"II*\0"
    return head + struct.pack(f"{order}I", 8) + table + struct.pack(f"{order}I", then) + bytes(64)


def _plain_tiff(width: int, height: int, **more: Any) -> bytes:
    entries = {256: (4, 1, width), 257: (4, 1, height), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1)}
    entries |= {273: (4, 1, 8), 277: (3, 1, 1), 278: (4, 1, height), 279: (4, 1, 64)}
    entries |= {int(name[1:]): value for name, value in more.items()}
    return tiff([(tag, *facts) for tag, facts in entries.items()])


def _dimensions() -> Iterator[tuple[str, bytes]]:
    for width, height in ((0, 0), (0, 64), (64, 0), (1, 1), (8, 8), (31, 200), (1, 60000)):
        yield f"png {width}x{height}", png(width, height, chunk(b"IDAT", zlib.compress(bytes(300))))
    for width, height in ((30000, 30000), (65000, 65000), (65535, 40000)):
        yield f"gif {width}x{height}", _gif(width, height)
        yield f"jpeg {width}x{height}", _jpeg(min(width, 65500), min(height, 65500))
        yield f"webp {width}x{height}", _webp(width * 20, height * 20)
        yield f"bmp {width}x{height}", _bmp(width, height)
        yield f"tiff {width}x{height}", _plain_tiff(width, height)
    for side in (100_000, 2**31 - 1, 2**32 - 1):
        yield f"png of side {side}", png(side, side, chunk(b"IDAT", zlib.compress(bytes(300))))
        yield f"tiff of side {side}", _plain_tiff(min(side, 2**32 - 1), min(side, 2**32 - 1))
    yield "bmp of negative sides", _bmp(-64, -64)
    yield "bmp of the most negative side", _bmp(64, -(2**31))


def _bombs() -> Iterator[tuple[str, bytes]]:
    """Little that says it unfolds to a lot: the sizes here are refused by the header, before anything is unfolded."""
    rows = zlib.compress(bytes(4 << 20), 9)  # four megabytes of black in four kilobytes
    for side in (8000, 20000, 50000):
        yield f"png bomb of side {side}", png(side, side, chunk(b"IDAT", rows))
        yield f"png bomb of 16 bits and side {side}", png(side, side, chunk(b"IDAT", rows), bits=16)
        yield f"deflated tiff bomb of side {side}", _plain_tiff(side, side, _259=(3, 1, 8))
        yield f"lzw tiff bomb of side {side}", _plain_tiff(side, side, _259=(3, 1, 5))
    for side in (10000, 40000):
        image = data_of(Image.new("1", (side, side)), "GIF") if side == 10000 else _gif(side, side)
        yield f"gif bomb of side {side}", image
    yield (
        "png with text that unfolds",
        png(64, 64, chunk(b"zTXt", b"a\0\0" + rows), chunk(b"IDAT", zlib.compress(bytes(9)))),
    )
    yield "png with a profile that unfolds", png(64, 64, chunk(b"iCCP", b"a\0\0" + rows), chunk(b"IDAT", b""))
    yield "jpeg bomb", data_of(Image.new("L", (9000, 9000)), "JPEG", quality=1)
    yield "webp bomb", data_of(Image.new("RGB", (9000, 9000)), "WEBP", quality=1, method=0)


def _polyglots() -> Iterator[tuple[str, bytes]]:
    whole = _whole()
    yield "gif that is a script", b"GIF89a/*" + bytes(8) + b"*/=1;alert(1)//"
    yield "jpeg signature, then html", b"\xff\xd8\xff\xe0" + b"<script>alert(1)</script>" * 20
    yield "png signature, then zip", b"\x89PNG\r\n\x1a\nPK\x03\x04" + bytes(100)
    yield "riff that is a wave", b"RIFF\x24\0\0\0WAVEfmt " + bytes(28)
    yield "bmp signature, then text", b"BM" + b"so long and thanks " * 10
    yield "html, then a jpeg", b"<!doctype html><p>" + whole["jpeg"]
    yield "zip, then a png", b"PK\x03\x04" + bytes(26) + whole["png"]
    yield "pdf, then a jpeg", b"%PDF-1.7\n" + whole["jpeg"]
    yield "svg, then a png", b"<svg/>" + whole["png"]
    yield "heic brand, then a jpeg", b"\0\0\0\x18ftypheic" + bytes(12) + whole["jpeg"]
    yield "avif brand, then a png", b"\0\0\0\x18ftypavif" + bytes(12) + whole["png"]
    yield "tiff signature, then a gif", b"II*\0" + whole["gif"]


def _damaged() -> Iterator[tuple[str, bytes]]:
    """Structures that lead nowhere, around, or far down."""
    whole = _whole()
    yield "tiff whose directory follows itself", tiff([(256, 4, 1, 64)], then=8)
    yield "tiff whose directory is outside", b"II*\0" + struct.pack("<I", 0x7FFFFFFF) + bytes(64)
    yield "tiff of many entries", b"II*\0\x08\0\0\0\xff\xff" + bytes(200)
    yield "tiff of no entries", b"II*\0\x08\0\0\0\0\0" + bytes(8)
    yield "tiff whose strips are outside", _plain_tiff(64, 64, _273=(4, 1, 0x7FFFFFF0))
    yield "tiff of endless strips", _plain_tiff(64, 64, _273=(4, 0x3FFFFFFF, 8), _279=(4, 0x3FFFFFFF, 8))
    yield "tiff of 65535 channels", _plain_tiff(64, 64, _277=(3, 1, 65535))
    yield "tiff of 200 bits", _plain_tiff(64, 64, _258=(3, 1, 200))
    yield "tiff of an unknown compression", _plain_tiff(64, 64, _259=(3, 1, 60000))
    yield "tiff, large endian, cut", tiff([(256, 4, 1, 64), (257, 4, 1, 64)], big_endian=True)
    yield "bigtiff, cut", b"II+\0\x08\0\0\0" + struct.pack("<Q", 2**62)
    yield "png without pixels", png(64, 64)
    yield "png with pixels before its header", b"\x89PNG\r\n\x1a\n" + chunk(b"IDAT", zlib.compress(bytes(99)))
    yield "png of an unknown colour", png(64, 64, chunk(b"IDAT", zlib.compress(bytes(9))), colour=9)
    yield "png of 3 bits", png(64, 64, chunk(b"IDAT", zlib.compress(bytes(9))), bits=3)
    yield "png whose chunk is endless", b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 0xFFFFFFFF) + b"IHDR" + bytes(64)
    yield "png whose pixels are no deflate", png(64, 64, chunk(b"IDAT", b"no deflate" * 30))
    yield "png palette without a palette", png(64, 64, chunk(b"IDAT", zlib.compress(bytes(64 * 65))), colour=3)
    yield "jpeg without tables", b"\xff\xd8\xff\xc0\0\x11\x08\0\x40\0\x40\x03\x01\x22\0\x02\x11\x01\x03\x11\x01\xff\xd9"
    yield "jpeg of markers alone", b"\xff\xd8" + b"\xff\xe1\0\x02" * 4000 + b"\xff\xd9"
    yield "jpeg whose segment is longer than it", b"\xff\xd8\xff\xe1\xff\xff" + b"Exif\0\0" + bytes(20)
    yield (
        "webp whose chunk is outside",
        b"RIFF" + struct.pack("<I", 0xFFFFFFF0) + b"WEBPVP8L" + struct.pack("<I", 0xFFFFFF00),
    )
    yield "webp without pixels", _webp(64, 64)
    yield "avif without boxes", b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + struct.pack(">I", 0) + b"meta"
    yield "avif whose boxes are endless", b"\0\0\0\x18ftypavif" + bytes(12) + b"\0\0\0\x08meta" * 500
    yield "heic whose box is outside", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + struct.pack(">I", 0x7FFFFFFF) + b"meta"
    for kind in ("png", "jpeg", "webp", "tiff"):
        data = bytearray(whole[kind])
        data[4:40] = bytes(36)
        yield f"{kind} with a hole in its head", bytes(data)


def laden() -> Iterator[tuple[str, bytes]]:
    """Pictures that can be read and carry what is deep, long or false: painted, or refused, and nothing else."""
    image = photo((48, 56), seed=4)
    loop = struct.pack("<HHHIII", 1, 0x8769, 4, 1, 8, 8)  # a directory that is its own sub-directory and its own next
    yield "exif in a circle", data_of(image, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0" + loop)
    yield (
        "exif of an endless entry",
        data_of(
            image, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<HHHIII", 1, 0x010E, 2, 0xFFFFFFF0, 8, 0)
        ),
    )
    yield "exif cut", data_of(image, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    yield (
        "exif orientation 9",
        data_of(image, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<HHHIHHI", 1, 0x0112, 3, 1, 9, 0, 0)),
    )
    deep = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>" + b"<a>" * 5000 + b"</a>" * 5000 + b"</x:xmpmeta>"
    entities = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
    entities += b'<x:xmpmeta xmlns:x="adobe:ns:meta/">&b;</x:xmpmeta>'
    for name, packet in (
        ("deep", deep),
        ("of entities", entities),
        ("cut", deep[:900]),
        ("of noise", bytes(range(256))),
    ):
        yield f"xmp {name} in jpeg", data_of(image, "JPEG", xmp=packet)
        text = b"XML:com.adobe.xmp\0\0\0\0\0" + packet
        whole = data_of(image)
        yield f"xmp {name} in png", whole[:33] + chunk(b"iTXt", text) + whole[33:]
    for name, profile in (
        ("of zeros", bytes(128)),
        ("of noise", np.random.default_rng(1).bytes(900)),
        ("that lies of its length", struct.pack(">I", 0xFFFFFFFF) + bytes(140)),
        ("of endless tags", bytes(36) + b"acsp" + bytes(88) + struct.pack(">I", 0xFFFFFFFF) + bytes(60)),
    ):
        yield f"icc {name} in jpeg", data_of(image, "JPEG", icc_profile=profile)
        yield f"icc {name} in png", data_of(image, "PNG", icc_profile=profile)
        yield f"icc {name} in webp", data_of(image, "WEBP", icc_profile=profile)
    yield "jpeg, then a zip", data_of(image, "JPEG") + b"PK\x03\x04" + bytes(100)
    yield "png, then html", data_of(image) + b"<script>alert(1)</script>"
    yield "gif of a comment that is html", data_of(image, "GIF", comment=b"<script>alert(1)</script>" * 9)
