"""``impasto studio``: the page and the HTTP interface, served."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from impasto.cli.common import show_note
from impasto.cli.options import command_of, described_parameters
from impasto.studio.limits import Limits

if TYPE_CHECKING:
    from impasto.studio.guard import Keys

__all__ = ["studio"]

PORT = 8418  # beside that of `impasto web`
_NEEDED = ("fastapi uvicorn python_multipart prometheus_client", "studio")
_limits = {name: (kind, default) for name, (kind, default) in described_parameters(Limits, short=False).items()}


@command_of(
    {
        "host": (
            Annotated[
                str,
                typer.Option(metavar="ADDRESS", help="Where to listen; 127.0.0.1 is reached by this machine alone."),
            ],
            "127.0.0.1",
        ),
        "port": (Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="0 is any free one.")], PORT),
        "api_key_file": (
            Annotated[
                Path | None,
                typer.Option(metavar="FILE", help="Let in only who has one of the keys in this file, one to a line."),
            ],
            None,
        ),
        "host_name": (
            Annotated[
                list[str] | None,
                typer.Option(metavar="NAME", help="A name by which browsers call this server, such as a proxy's."),
            ],
            None,
        ),
        "device": (
            Annotated[
                list[str] | None,
                typer.Option(metavar="NAME", help="What paints: cpu, cuda:0 ...; several have a queue each."),
            ],
            None,
        ),
        "workers": (
            Annotated[
                int | None,
                typer.Option(
                    metavar="N", min=1, help="Processes for each device; 2 at most if not said. The page has one more."
                ),
            ],
            None,
        ),
        "page": (Annotated[bool, typer.Option("--page/--no-page", help="Serve the page, not HTTP alone.")], True),
        "browser": (
            Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")],
            True,
        ),
        "finish": (
            Annotated[
                float,
                typer.Option(metavar="N", min=0, help="Seconds that running jobs have to finish when it is ended."),
            ],
            20.0,
        ),
        **_limits,
    }
)
def studio(**given: Any) -> None:
    """Paint in a page in the browser, and over HTTP, on this machine; Ctrl-C or SIGTERM ends it.

    Serves the page at / and the interface for programs at /v1, described by /openapi.json, to this machine alone unless
    --host says otherwise. What is sent is painted here, kept for some minutes in the folder for temporary files, and
    sent nowhere.
    """
    from impasto.errors import require

    require(*_NEEDED, "impasto studio")
    from impasto.studio.app import create_app, has_page
    from impasto.studio.guard import Keys
    from impasto.studio.server import StudioServer, address_of, bound, hosts_for
    from impasto.studio.service import Service

    limits = Limits(**{name: given[name] for name in _limits})
    _check_devices(given["device"] or ())
    keys = None if given["api_key_file"] is None else Keys.of_file(given["api_key_file"])
    with bound(given["host"], given["port"]) as place:
        page = given["page"] and has_page()
        service = Service(limits, devices=given["device"] or ("auto",), workers=given["workers"], for_page=page)
        with service:
            os.environ["GRADIO_TEMP_DIR"] = str(service.place / "page")  # or what is uploaded there would stay
            hosts = hosts_for(given["host"], given["host_name"] or ())
            app = create_app(service=service, keys=keys, hosts=hosts, page=page)
            server = StudioServer(app, service, seconds=given["finish"])
            typer.echo(address_of(place))
            _tell_whom(given["host"], keys)
            if page and given["browser"]:
                _open(address_of(place), service)
            server.serve_on(place)


def _check_devices(names: Sequence[str]) -> None:
    """OptionError for a device that this machine has not; torch, which knows, is loaded for other names alone."""
    if {*names} <= {"auto", "cpu"}:
        return
    from impasto.errors import require

    require("torch", "torch", "painting on a graphics card")
    from impasto.core.precision import pick_device

    for name in names:
        pick_device(name)


def _tell_whom(host: str, keys: Keys | None) -> None:
    """Say who can come in, and what that means."""
    from impasto.studio.server import is_loopback

    if is_loopback(host):
        show_note("served to this machine alone; Ctrl-C ends it")
        return
    whom = "everybody who has a key" if keys is not None else "everybody"
    show_note(f"served to {whom} on every machine that can reach {host}, not encrypted; Ctrl-C ends it")
    if keys is None:
        show_note(
            "they need no key, can have anything painted within the limits, and see nothing of each other but how busy "
            "it is: `api_key_file` lets in only who has a key"
        )


def _open(address: str, service: Any) -> None:
    """Open the page when there is something to paint with."""
    import threading
    import webbrowser

    def wait() -> None:
        if service.wait_ready(120):
            webbrowser.open(address)

    threading.Thread(target=wait, daemon=True).start()
