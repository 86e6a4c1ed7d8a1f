"""A server for the studio that ends in bounded time, and lets running work come to its end before."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import signal
import socket
import threading
import time
from collections.abc import Collection, Iterator
from types import FrameType
from typing import Final

import uvicorn
from fastapi import FastAPI

from impasto.errors import OptionError
from impasto.studio.service import Service

__all__ = ["LOOPBACK", "StudioServer", "address_of", "bound", "is_loopback"]

LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")  # names by which a server of this machine alone is called
CONNECTIONS: Final = 512  # at the same time; more are answered that it is too busy
BACKLOG: Final = 256  # connections that may wait for that
LAST_WORDS: Final = 2.0  # seconds for responses to go out when all work has ended


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens there; port 0 is any free one. OptionError if it cannot be had."""
    found = None
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, kind, protocol)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(place)
        found.listen(BACKLOG)  # from now on who comes waits to be let in
    except OSError as error:
        if found is not None:
            found.close()
        reason = error.strerror or str(error)
        raise OptionError(f"`host` {host} and `port` {port} cannot be had ({reason}): choose others", "port") from error
    return found


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach that address."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host.lower() == "localhost"


def address_of(found: socket.socket) -> str:
    """What to open in a browser."""
    host, port = found.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


class StudioServer(uvicorn.Server):
    """Serves an application until it is asked to end, by SIGTERM, SIGINT or `stop`.

    Then it takes no more work, fails what has not begun, and gives what runs `seconds` to finish. A second signal ends
    that at once.

    Args:
        app: of `create_app`.
        service: that the application uses; it is closed at the end.
        seconds: for running work, once the server is to end.
    """

    def __init__(self, app: FastAPI, service: Service, *, seconds: float = 20.0) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_level="warning",
                access_log=False,
                server_header=False,
                limit_concurrency=CONNECTIONS,
                timeout_graceful_shutdown=round(seconds + 10),
            )
        )
        self._service, self._seconds = service, seconds

    def serve_on(self, found: socket.socket) -> None:
        """Serve on a socket that `bound` gave, to the end."""
        try:
            self.run(sockets=[found])
        finally:
            self._service.close()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Obey signals meanwhile; unlike in the base class they do not end the process afterwards as well."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end; at the second time without waiting."""
        self.stop(0 if self.should_exit else self._seconds)

    def stop(self, seconds: float) -> None:
        """Take no more work, give what runs so many seconds, then end."""
        self.should_exit = True
        # In a thread: a handler of signals must not wait for what the code that it interrupted may hold.
        threading.Thread(target=self._stop, args=(seconds,), daemon=True).start()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    def _stop(self, seconds: float) -> None:
        self._service.drain(seconds)
        while self._service.running():
            time.sleep(0.05)
        time.sleep(LAST_WORDS)
        with contextlib.suppress(RuntimeError):  # it has ended already
            self._loop.call_soon_threadsafe(self._hang_up)

    def _hang_up(self) -> None:
        """Close what is still open: a page keeps a connection as long as somebody looks at it."""
        for connection in list(self.server_state.connections):
            if connection.transport is not None:
                connection.transport.close()


def hosts_for(host: str, names: Collection[str]) -> Collection[str] | None:
    """The names by which a server that listens there may be called; None is any."""
    named = {name.lower() for name in names}
    return {*LOOPBACK, host.lower(), *named} if is_loopback(host) else named or None
