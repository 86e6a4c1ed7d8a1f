"""What a file says of its picture in EXIF, XMP and IPTC and how finely it is printed; made fit for its painting.

What is true of the photo alone never goes into a painting: where it was taken by GPS, thumbnails, the maker's notes
(which may hold both, in no known form), turns that were applied, sizes and colours that have changed.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import Any
from xml.parsers.expat import ExpatError

from impasto.imaging.ifd import Entry, Table, pack_exif, read_tables

__all__ = ["DESCRIPTIVE", "Metadata", "keeps_exif", "resolution", "split_exif"]

# Of the first table of EXIF or of a TIFF: all that describes the picture and not how its pixels are stored.
DESCRIPTIVE = frozenset(
    {270, 271, 272, 306, 315, 33432}  # description, camera, date, artist, copyright
    | {18246, 18249}  # rating
    | {40091, 40092, 40093, 40094, 40095}  # title, comment, author, keywords, subject as Windows has them
)
ORIENTATION, X_RESOLUTION, Y_RESOLUTION, UNIT = 274, 282, 283, 296
COLOUR_SPACE, WIDTH, HEIGHT = 40961, 40962, 40963
# GPS, Adobe RGB, gamma, maker's notes, padding and what belongs to it
_NOT_OF_EXIF = frozenset({34853, 40965, 42240, 37500, 59932, 59933, COLOUR_SPACE, WIDTH, HEIGHT})
_PREVIEWS = range(200, 203)  # data sets of IPTC's second record

_EXIF, _TIFF = "http://ns.adobe.com/exif/1.0/", "http://ns.adobe.com/tiff/1.0/"
_OF_THE_FILE = frozenset(
    {"ImageWidth", "ImageLength", "PixelXDimension", "PixelYDimension", "Orientation", "ColorSpace", "Gamma"}
    | {"BitsPerSample", "PhotometricInterpretation", "SamplesPerPixel", "PlanarConfiguration", "TransferFunction"}
    | {"XResolution", "YResolution", "ResolutionUnit", "WhitePoint", "PrimaryChromaticities", "ReferenceBlackWhite"}
    | {"YCbCrCoefficients", "YCbCrSubSampling", "YCbCrPositioning", "NativeDigest", "MakerNote", "Compression"}
)
# Pictures inside of XMP, how a raw file is to be developed, and what else is in a container that is gone
_FOREIGN = (
    "http://ns.adobe.com/xap/1.0/g/img/",
    "http://ns.adobe.com/camera-raw-settings/",
    "http://ns.adobe.com/hdr-gain-map/",
    "http://ns.google.com/photos/1.0/",
)
_NAMES = frozenset({"Thumbnails", "HasExtendedXMP", "ICCProfile", "latitude", "longitude"})


@dataclass(frozen=True)
class Metadata:
    """What a file says besides its pixels; None where it does not.

    Attributes:
        exif: as TIFF has it, without the ``Exif`` that JPEG puts before it.
        xmp: the packet.
        iptc: the data sets of IPTC-IIM.
        dpi: pixels per inch, horizontally and vertically.
    """

    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    dpi: tuple[float, float] | None = None

    def of_painting(self, size: tuple[int, int], *, everything: bool) -> Metadata:
        """What may go into a painting of this (height, width): its resolution, and with `everything` the rest.

        What cannot be understood is left out, since it may say where the photo was taken.
        """
        if not everything:
            return Metadata(dpi=self.dpi)
        exif = None
        if self.exif is not None:
            try:
                first, details = split_exif(self.exif)
            except (ValueError, struct.error):
                pass
            else:
                first |= {ORIENTATION: Entry.shorts(1), **resolution(self.dpi)}
                details |= {COLOUR_SPACE: Entry.shorts(1), HEIGHT: Entry.longs(size[0]), WIDTH: Entry.longs(size[1])}
                exif = pack_exif(first, details)
        return Metadata(exif, self.xmp and _clean_xmp(self.xmp), self.iptc and _clean_iptc(self.iptc), self.dpi)


def keeps_exif(tag: int) -> bool:
    """Whether a tag of the table of EXIF describes the picture."""
    return tag not in _NOT_OF_EXIF


def split_exif(exif: bytes) -> tuple[dict[int, Entry], dict[int, Entry]]:
    """The first table and that of EXIF, what describes the picture alone; ValueError or struct.error if damaged."""
    return read_tables(io.BytesIO(exif), DESCRIPTIVE.__contains__, keeps_exif)


def resolution(dpi: tuple[float, float] | None) -> Table:
    """The tags that tell it, none if it is not known."""
    if dpi is None:
        return {}
    return {X_RESOLUTION: Entry.rational(dpi[0]), Y_RESOLUTION: Entry.rational(dpi[1]), UNIT: Entry.shorts(2)}


def _clean_iptc(data: bytes) -> bytes | None:
    """The data sets but previews (IPTC-IIM 4.2, chapter 1.5)."""
    kept, at = b"", 0
    while at + 5 <= len(data) and data[at] == 0x1C:
        record, number, size = struct.unpack_from(">BBH", data, at + 1)
        end = at + 5 + size
        if size & 0x8000 or end > len(data):  # as long as text never is, or cut short
            return None
        if record != 2 or number not in _PREVIEWS:
            kept += data[at:end]
        at = end
    return kept if kept and not data[at:].strip(b"\0") else None


def _clean_xmp(packet: bytes) -> bytes | None:
    packet = packet.strip(b"\0 \r\n\t")
    if b"<!" in packet.replace(b"\0", b""):  # of comments and definitions XMP has no need, and some are bombs
        return None
    try:
        from xml.dom import minidom

        document = minidom.parseString(packet)
    except (ExpatError, ValueError, LookupError):
        return None
    with document:
        _prune(document)
        return "".join(node.toxml() for node in document.childNodes).encode()


def _prune(node: Any) -> None:
    """Take away elements and attributes that are not a painting's, at any depth."""
    for child in list(node.childNodes):
        if child.nodeType == child.ELEMENT_NODE:
            if _is_foreign(child):
                node.removeChild(child)
            else:
                _prune(child)
    for attribute in list((node.attributes or {}).values()):
        if _is_foreign(attribute):
            node.removeAttributeNode(attribute)


def _is_foreign(node: Any) -> bool:
    space, name = node.namespaceURI or "", node.localName or node.nodeName
    if space == "http://www.w3.org/2000/xmlns/":
        return False
    return (
        "gps" in name.lower()
        or name in _NAMES
        or space.startswith(_FOREIGN)
        or (space in (_EXIF, _TIFF) and name in _OF_THE_FILE)
    )
