"""The recipe of a picture within its XMP packet: put in, found again, taken out. What else is there stays as it is.

XMP is RDF in XML (ISO 16684-1). A recipe is one JSON text, the property `recipe` of a namespace of our own.
"""

from __future__ import annotations

import json
import re
from typing import Any
from xml.parsers import expat

from impasto.errors import ImageError, OptionError

__all__ = ["MAX_RECIPE", "MAX_XMP", "NAMESPACE", "checked", "find_recipe", "merge_recipe", "stored", "without_recipe"]

NAMESPACE = "urn:impasto:1.0/"
MAX_RECIPE = 60_000  # bytes: with a packet around it, a JPEG's segment of 65,533 holds it
MAX_XMP = 4 << 20  # bytes of a packet that is parsed
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_PROPERTY, _ROOT = f"{NAMESPACE} recipe", f"{_RDF} RDF"  # as expat spells names: namespace, space, name
_HEAD = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n<x:xmpmeta xmlns:x="adobe:ns:meta/">\n'
_HEAD += f'<rdf:RDF xmlns:rdf="{_RDF}">\n'
_TAIL = '</rdf:RDF>\n</x:xmpmeta>\n<?xpacket end="w"?>'
_BEGIN = f'<rdf:Description rdf:about="" xmlns:rdf="{_RDF}" xmlns:impasto="{NAMESPACE}">'
_END = "</rdf:Description>\n"
_TAG = re.compile(rb"""<(?:[^"'>]+|"[^"]*"|'[^']*')*+>""")
_XML = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"})
_BEYOND = re.compile(r"[^\t\n\r\x20-\x7e]")


def stored(recipe: str) -> str:
    r"""A JSON text as it is kept: the same JSON in ASCII, every other character as an escape of JSON's (``\u00e9``).

    So it fits into any container and into XML, which some characters that JSON allows do not.

    Raises:
        OptionError: not JSON, or longer than `MAX_RECIPE`.
    """
    try:
        json.loads(recipe)
    except (ValueError, RecursionError) as error:
        raise OptionError(f"recipe: not JSON ({error}); give what json.dumps makes") from error
    kept = _BEYOND.sub(lambda found: json.dumps(found[0])[1:-1], recipe).replace("\x7f", "\\u007f")
    if len(kept) > MAX_RECIPE:
        raise OptionError(f"recipe: {len(kept)} bytes, a picture holds at most {MAX_RECIPE}; leave something out")
    return kept


def checked(recipe: str) -> str:
    """A recipe that was found, if it can be one; ValueError otherwise."""
    if len(recipe) > MAX_RECIPE:
        raise ValueError(f"a recipe of {len(recipe)} bytes, at most {MAX_RECIPE} are read")
    try:
        json.loads(recipe)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its recipe is not JSON: {error}") from error
    return recipe


def merge_recipe(xmp: bytes | None, recipe: str) -> bytes:
    """An XMP packet with the recipe in it, in place of one that was there.

    Args:
        xmp: a packet in UTF-8 whose other properties stay, byte for byte, or None.
        recipe: a JSON text.

    Raises:
        ImageError: `xmp` is damaged, is no XMP, declares entities or is larger than `MAX_XMP`.
        OptionError: as of `stored`.
    """
    ours = f"{_BEGIN}<impasto:recipe>{stored(recipe).translate(_XML)}</impasto:recipe>{_END}"
    if xmp is None:
        return f"{_HEAD}{ours}{_TAIL}".encode()
    others = without_recipe(xmp)
    place = _parsed(others).place
    if place is None:  # an empty rdf:RDF: there is nothing to keep
        return f"{_HEAD}{ours}{_TAIL}".encode()
    return others[:place] + ours.encode() + others[place:]


def without_recipe(xmp: bytes) -> bytes:
    """The packet without any recipe; nothing else is touched. Errors as of `merge_recipe`."""
    packet = _clean(xmp)
    for start, end in reversed(_parsed(packet).recipes):
        packet = packet[:start] + packet[end:]
    return packet.replace((_BEGIN + _END).encode(), b"")


def find_recipe(xmp: bytes) -> str | None:
    """The recipe in a packet, None if there is none; ValueError or `expat.ExpatError` where it is damaged."""
    if NAMESPACE.encode() not in xmp:
        return None
    scan = _Scan(_clean(xmp))
    return None if scan.recipe is None else checked(scan.recipe)


def _clean(xmp: bytes) -> bytes:
    if len(xmp) > MAX_XMP:
        raise ImageError(f"XMP of {len(xmp)} bytes, at most {MAX_XMP} are read; save the picture without it")
    return xmp.rstrip(b"\0")  # some writers end it as C does


def _parsed(packet: bytes) -> _Scan:
    try:
        scan = _Scan(packet)
        if not scan.rooted:
            raise ValueError("no rdf:RDF in it")
    except (ValueError, expat.ExpatError) as error:
        raise ImageError(f"XMP: damaged ({error}); save the picture without it") from error
    return scan


class _Scan:
    """One walk through a packet; no tree is built and no entity declared.

    Attributes:
        recipe: the text of the first recipe, or None.
        recipes: (start, end) of all elements and attributes that are recipes, in order, bytes.
        rooted: whether there is an rdf:RDF.
        place: where its end tag begins; None if it is empty.
    """

    def __init__(self, packet: bytes) -> None:
        self.recipe: str | None = None
        self.recipes: list[tuple[int, int]] = []
        self.rooted = False
        self.place: int | None = None
        self._packet, self._text, self._empty = packet, list[str](), False
        self._inside, self._depth = -1, 0  # where the recipe begins that is being read, and how deep within it we are
        self._prefixes: dict[str, set[str]] = {}
        parser = self._parser = expat.ParserCreate("UTF-8", " ")
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = self._refuse
        parser.StartNamespaceDeclHandler = self._namespace
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.Parse(packet, True)

    def _refuse(self, *_: Any) -> None:
        raise ValueError("it declares a document type, as XMP never does")

    def _namespace(self, prefix: str | None, uri: str) -> None:
        self._prefixes.setdefault(uri, set()).add(prefix or "")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        at = self._parser.CurrentByteIndex
        if self._inside >= 0:
            self._depth += 1
        elif name == _PROPERTY and self._tag(at)[0].endswith(b"/>"):
            self._keep("", *self._tag(at).span())
        elif name == _PROPERTY:
            self._inside, self._depth, self._text = at, 0, []
        elif _PROPERTY in attributes:  # the short way to write a property
            self._keep(attributes[_PROPERTY], *self._attribute(at))
        elif name == _ROOT and not self.rooted:
            self.rooted, self._empty = True, self._tag(at)[0].endswith(b"/>")

    def _end(self, name: str) -> None:
        at = self._parser.CurrentByteIndex
        if self._inside >= 0 and self._depth:
            self._depth -= 1
        elif self._inside >= 0:
            self._keep("".join(self._text), self._inside, self._tag(at).end())
            self._inside = -1
        elif name == _ROOT and self.place is None and not self._empty:
            self.place = at

    def _characters(self, text: str) -> None:
        if self._inside >= 0:
            self._text.append(text)

    def _keep(self, recipe: str, start: int, end: int) -> None:
        self.recipes.append((start, end))
        if self.recipe is None:
            self.recipe = recipe

    def _tag(self, at: int) -> re.Match[bytes]:
        found = _TAG.match(self._packet, at)
        if found is None:
            raise ValueError("a tag without an end")
        return found

    def _attribute(self, at: int) -> tuple[int, int]:
        names = b"|".join(re.escape(prefix.encode()) for prefix in self._prefixes[NAMESPACE] if prefix)
        pattern = rb"""\s+(?:%s):recipe\s*=\s*(?:"[^"]*"|'[^']*')""" % names
        tag = self._tag(at)
        found = re.compile(pattern).search(self._packet, at, tag.end())
        if found is None:
            raise ValueError("a recipe that cannot be told apart")
        return found.span()
