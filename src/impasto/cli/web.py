"""``impasto web``: the page that paints in a browser, on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from impasto.cli.common import show_note

__all__ = ["RuntimeOption", "web"]

RuntimeOption = Annotated[
    str | None,
    typer.Option(
        metavar="FOLDER|npm", help="The npm package onnxruntime-web, unpacked; npm gets it, with WebGPU, from there."
    ),
]
_Port = Annotated[int | None, typer.Option(metavar="N", min=0, max=65535, help="Port of 127.0.0.1; 0 is any free one.")]
_Browser = Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")]


def web(port: _Port = None, browser: _Browser = True, runtime: RuntimeOption = None) -> None:
    """Paint in a browser tab, served from this machine alone; Ctrl-C ends it.

    What you open there is painted in the tab and sent nowhere. `impasto export web` writes the page as a folder.
    """
    import tempfile
    import webbrowser
    from pathlib import Path

    from impasto.export.serve import PageServer
    from impasto.export.web import export_web

    with tempfile.TemporaryDirectory(prefix="impasto-web-") as folder:
        page = export_web(Path(folder) / "page", runtime=runtime)
        with PageServer(page.path, port) as server:
            typer.echo(server.address)
            show_note("Ctrl-C ends it")
            if browser:
                webbrowser.open(server.address)
            server.serve_forever()
