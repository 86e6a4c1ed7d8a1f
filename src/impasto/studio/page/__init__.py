"""The page: paint in a browser, with blocks of Gradio. `build_page` makes them, `mount_page` serves them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from impasto.errors import require

if TYPE_CHECKING:
    from impasto.studio.service import Service
    from impasto.stylizer.engine import Engine

__all__ = ["build_page", "mount_page", "show_page"]

_NEEDED = "gradio", "studio", "the studio's page"


def build_page(paints: Engine | Service) -> Any:
    """The page as `gradio.Blocks`. MissingExtraError without Gradio.

    To be shown in a notebook it goes through `show_page`, in an application of one's own through `mount_page`: a
    page's looks are given where it is served.

    Args:
        paints: a `studio.service.Service`, whose processes paint within its limits; an engine paints in this process,
            and whatever is asked for.
    """
    require(*_NEEDED)
    from impasto.studio.page.blocks import blocks_for

    return blocks_for(paints)


def mount_page(app: Any, paints: Engine | Service) -> Any:
    """A FastAPI application with the page at ``/``, behind the routes that it has already.

    Args:
        app: the `fastapi.FastAPI`; it is given back.
        paints: as of `build_page`.

    Raises:
        MissingExtraError: without Gradio.
    """
    require(*_NEEDED)
    from impasto.studio.page.blocks import mounted

    return mounted(app, build_page(paints))


def show_page(engine: Engine | None = None, *, height: int = 900) -> Any:
    """The page in a notebook's output, served from this process on 127.0.0.1; gives the `gradio.Blocks`.

    Args:
        engine: paints; that of `impasto.stylize` if none is given.
        height: of the output, px.

    Raises:
        MissingExtraError: without Gradio.
    """
    require(*_NEEDED)
    from impasto.studio.page.blocks import shown_inline
    from impasto.stylizer.engine import default_engine

    return shown_inline(build_page(engine or default_engine()), height)
