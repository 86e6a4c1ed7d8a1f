"""Pictures that can be read but once: standard input, pipes that have a name, open files."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from impasto.errors import OptionError
from impasto.imaging import as_picture
from impasto.imaging.opening import is_stream

if TYPE_CHECKING:
    from impasto.stylizer.request import StylizeRequest
    from impasto.types import PictureSource

__all__ = ["check_one", "read_once", "read_streams", "refuse_streams"]


def is_once(picture: Any) -> bool:
    """Whether nothing is left of it when it was read."""
    return is_stream(picture) if isinstance(picture, str | os.PathLike) else hasattr(picture, "read")


def read_once(picture: PictureSource, max_megapixels: float) -> PictureSource:
    """The picture in memory if it can be read but once, else as it was given. Errors as of `as_picture`."""
    return as_picture(picture, max_megapixels=max_megapixels) if is_once(picture) else picture


def read_streams(request: StylizeRequest) -> StylizeRequest:
    """The same request with the pictures in memory that can be read but once; errors as of `as_picture`.

    OptionError where standard input is to be several of them.
    """
    check_one([*request.file_names])
    if not any(map(is_once, _pictures(request))):
        return request
    most = request.max_megapixels
    return request.with_changes(
        style=[replace(row, image=read_once(row.image, most)) for row in request.style] or None,
        mask=[read_once(mask, most) for mask in request.mask] or None,
        init=None if request.init is None else read_once(request.init, most),
    )


def check_one(names: list[Any]) -> None:
    """OptionError where standard input stands among the names more than once."""
    if sum(isinstance(name, str) and name == "-" for name in names) > 1:
        raise OptionError("- stands for standard input, which holds one picture: name a file for the others")


def refuse_streams(photo: PictureSource, request: StylizeRequest) -> None:
    """OptionError for what a run that is kept could not read again when it is resumed."""
    if any(map(is_once, [photo, *_pictures(request)])):
        raise OptionError("`run` needs files: standard input, pipes and open files are gone when it is resumed")


def _pictures(request: StylizeRequest) -> list[Any]:
    return [*(row.image for row in request.style), *request.mask, *([] if request.init is None else [request.init])]
