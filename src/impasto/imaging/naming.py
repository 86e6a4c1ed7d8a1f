"""Which files are photos, by their names."""

from __future__ import annotations

__all__ = ["PHOTOS", "is_photo"]

PHOTOS = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".avif", ".gif", ".bmp", ".heic", ".heif",
)  # fmt: skip


def is_photo(name: str) -> bool:
    """By the name, which may include folders; what archivers add for themselves is hidden or __MACOSX."""
    *folders, last = name.split("/")
    hidden = any(part.startswith((".", "__MACOSX")) and part != "." for part in (*folders, last))
    return not hidden and last.lower().endswith(PHOTOS)
