"""Hooks of the documentation site (`mkdocs build`), by which the repository's files are pages of it as they are.

The README is the first page; what it and the pages of `docs/` link to elsewhere in the repository (CHANGELOG, recipes,
notebooks) goes along. So a link is written once, as it works in the repository.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
DOCS = "docs"
_OUTSIDE = re.compile(r'<(?:script|link|img|iframe|source|video)\b[^>]*\b(?:src|href)="(?:https?:)?//[^"]*"')
_LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)[^)\s]+")


def on_files(files: Files, config: Any) -> Files:
    """Add the README and whatever is linked from page to page, outside of `docs/`."""
    found = {DOCS + "/" + file.src_uri: file for file in files.documentation_pages()}
    open_ends = ["README.md", *found]
    seen = set(open_ends)
    while open_ends:
        page = open_ends.pop()
        if page not in found:
            files.append(_added(page, config))
        if not page.endswith(".md"):
            continue
        for link in _LINK.findall((ROOT / page).read_text("utf-8")):
            target = posixpath.normpath(posixpath.join(posixpath.dirname(page), link.partition("#")[0]))
            if target not in seen and not target.startswith(DOCS + "/") and (ROOT / target).is_file():
                seen.add(target)
                open_ends.append(target)
    return files


def _added(path: str, config: Any) -> File:
    if path.endswith(".md"):
        return File.generated(config, _place(path), content=_moved(path))
    return File.generated(config, _place(path), abs_src_path=str(ROOT / path))


def on_page_markdown(markdown: str, page: Any, **_others: Any) -> str:
    """Links of the pages of `docs/` to where their targets are in the site; of the others that was done before."""
    inside = page.file.generated_by is None
    return _turned(markdown, f"{DOCS}/{page.file.src_uri}") if inside else markdown


def on_post_page(output: str, page: Any, **_others: Any) -> str:
    """The site asks no other server for anything."""
    if found := _OUTSIDE.search(output):
        raise PluginError(f"{page.file.src_uri}: asks for something from outside: {found[0]}")
    return output


def _moved(path: str) -> str:
    return _turned((ROOT / path).read_text("utf-8"), path)


def _place(path: str) -> str:
    """Where a file of the repository is in the site."""
    return "index.md" if path == "README.md" else path.removeprefix(DOCS + "/")


def _turned(markdown: str, page: str) -> str:
    """The links of a page, given by its path in the repository, as they have to be in the site."""
    begin = posixpath.dirname(_place(page))

    def turn(found: re.Match[str]) -> str:
        link, mark, part = found[0].partition("#")
        target = _place(posixpath.normpath(posixpath.join(posixpath.dirname(page), link)))
        return posixpath.relpath(target, begin or ".") + mark + part

    return _LINK.sub(turn, markdown)
