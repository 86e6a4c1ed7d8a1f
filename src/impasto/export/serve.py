"""The page served on this machine alone, with the types and headers that a browser wants of it."""

from __future__ import annotations

import errno
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from impasto.errors import OptionError
from impasto.export.web import policy

__all__ = ["HOST", "PORT", "PageServer"]

HOST: Final = "127.0.0.1"
PORT: Final = 8417  # the same every time, since what a browser keeps it keeps by address
HEADERS: Final = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",  # may be kept, and is asked for by date: the service worker keeps what it needs
}
TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".gz": "application/gzip",
    ".html": "text/html; charset=utf-8",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".onnx": "application/octet-stream",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
}


class _Handler(SimpleHTTPRequestHandler):
    """Files of the folder, and nothing else: no listings, no log."""

    extensions_map = TYPES
    protocol_version = "HTTP/1.1"

    def end_headers(self) -> None:
        """Send the headers, ours among them."""
        for name, value in {**HEADERS, "Content-Security-Policy": policy()}.items():
            self.send_header(name, value)
        super().end_headers()

    def list_directory(self, path: Any) -> None:
        """No folder is listed."""
        self.send_error(HTTPStatus.NOT_FOUND)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, the base class calls it that
        """Nothing is printed."""

    def copyfile(self, source: Any, outputfile: Any) -> None:
        """Send a file; a browser that went away is no fault."""
        try:
            super().copyfile(source, outputfile)
        except ConnectionError:
            self.close_connection = True


class PageServer(ThreadingHTTPServer):
    """Serves a folder on 127.0.0.1 until it is closed; to be used in a `with`.

    Args:
        folder: what `export_web` wrote.
        port: of this machine; 0 is any that is free, None is `PORT` or, if that is taken, any.

    Raises:
        OptionError: the port cannot be had.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, folder: Path, port: int | None = None) -> None:
        handler = partial(_Handler, directory=str(folder))
        try:
            super().__init__((HOST, PORT if port is None else port), handler)
        except OSError as error:
            if port is not None or error.errno != errno.EADDRINUSE:
                reason = error.strerror or str(error)
                raise OptionError(f"`port` {port} cannot be had ({reason}): choose another, or leave it out") from error
            super().__init__((HOST, 0), handler)

    @property
    def address(self) -> str:
        """What to open in a browser."""
        return f"http://{HOST}:{self.server_address[1]}/"
