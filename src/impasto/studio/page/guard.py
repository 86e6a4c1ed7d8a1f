"""Keeps a page's server from fetching anything itself, which some routes of Gradio's would have it do."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

__all__ = ["Guard"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
FETCHES: Final = re.compile(r"/(gradio_api/)?(proxy=|file=\s*[a-z][a-z0-9+.-]+:/)", re.IGNORECASE)
"""Another server's file handed on, and the page of another server."""


class Guard:
    """Answers 403 to requests that would have Gradio fetch an address; an ASGI middleware."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on, or refuse it."""
        if scope["type"] == "http" and FETCHES.search(scope.get("path", "")):
            headers = [(b"content-type", b"text/plain; charset=utf-8")]
            await send({"type": "http.response.start", "status": 403, "headers": headers})
            await send({"type": "http.response.body", "body": b"this server fetches nothing from elsewhere"})
            return
        await self.app(scope, receive, send)
