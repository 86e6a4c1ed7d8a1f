"""The pages of the documentation: links that lead somewhere, and each page in the site's table of contents."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).resolve().parents[1]
PAGES = [
    *(PROJECT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "examples/SOURCES.md")),
    *sorted((PROJECT / "docs").rglob("*.md")),
]
LINK = re.compile(r"\]\((?![a-z]+:)([^)\s]*)\)")


def headings(page: Path) -> set[str]:
    """The names by which a page's headings are linked to, on the site as in the repository."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ +(.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(PROJECT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text("utf-8")):
        place, _, part = link.partition("#")
        target = page.parent / place if place else page
        assert target.exists(), link
        assert not part or part in headings(target), link


def test_there_are_links_to_follow() -> None:
    assert sum(len(LINK.findall(page.read_text("utf-8"))) for page in PAGES) > 50


class Settings(yaml.SafeLoader):
    """Reads mkdocs.yml, whose tags of Python's are of no interest here."""


Settings.add_multi_constructor("tag:yaml.org,2002:python/", lambda loader, suffix, node: suffix)


def pages(rows: Any) -> set[str]:
    if isinstance(rows, str):
        return {rows}
    return set().union(*(pages(row) for row in (rows.values() if isinstance(rows, dict) else rows)))


def test_every_page_has_its_place_in_the_site() -> None:
    settings = yaml.load((PROJECT / "mkdocs.yml").read_text("utf-8"), Settings)
    written = {page.relative_to(PROJECT / "docs").as_posix() for page in (PROJECT / "docs").rglob("*.md")}
    elsewhere = {"index.md", "CONTRIBUTING.md", "CHANGELOG.md", "examples/SOURCES.md"}
    assert pages(settings["nav"]) == written | elsewhere
    assert settings["theme"]["font"] is False


def test_the_readme_is_one_page() -> None:
    assert len((PROJECT / "README.md").read_text("utf-8").splitlines()) <= 120
