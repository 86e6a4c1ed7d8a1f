"""Who may come in: API keys, names of this server, and no pages of other sites."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Collection
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from impasto.errors import OptionError
from impasto.files import shown
from impasto.studio.problems import MEDIA_TYPE, ProblemError

__all__ = ["Guard", "Keys", "client_of"]

OPEN: Final = ("/healthz", "/readyz")  # what watches a server has no key
HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "SAMEORIGIN",
}
LEAST: Final = 16  # characters of a key


class Keys:
    """The keys that open the server, of which only hashes are kept.

    Args:
        keys: any of which opens it.
    """

    def __init__(self, keys: Collection[str]) -> None:
        self._hashes = [_hash(key) for key in keys]

    @classmethod
    def of_file(cls, path: Path) -> Keys:
        """The keys in a file, one to a line; lines that begin with # are comments. OptionError if there is none."""
        try:
            lines = path.read_text("utf-8").splitlines()
        except FileNotFoundError:
            raise OptionError(f"`api_key_file` {shown(path)}: no such file; check the name and the folder") from None
        except IsADirectoryError:
            raise OptionError(f"`api_key_file` {shown(path)}: a folder, need a file with a key on each line") from None
        except (OSError, ValueError) as error:  # ValueError: no text, or a NUL byte in the name
            reason = getattr(error, "strerror", None) or "it is no text"
            raise OptionError(f"`api_key_file` {shown(path)}: cannot be read ({reason}); check its rights") from error
        keys = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        if not keys or min(map(len, keys)) < LEAST:
            raise OptionError(f"`api_key_file` {shown(path)}: need a key on each line, of {LEAST} characters or more")
        return cls(keys)

    def owner(self, key: str) -> str | None:
        """A name for who has this key; None if it opens nothing. Takes as long whatever the key is."""
        given, found = _hash(key), None
        for number, known in enumerate(self._hashes):
            if hmac.compare_digest(given, known):
                found = f"key {number + 1}"
        return found


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def client_of(scope: Scope) -> str:
    """Who asks: the owner of the key, or else the address."""
    return str(scope["state"]["client"])


class Guard:
    """Lets requests through to an application, or answers that they may not come in.

    Pages of other sites may not send anything here, though a browser would let them, and what calls this server by a
    name that it does not have is a page of another site as well, whose name was made to lead here.

    Args:
        app: the application.
        keys: one of which a request must have, as bearer token, or as the password that browsers ask for; None lets
            everybody in.
        hosts: names by which this server may be called; None is any.
    """

    def __init__(self, app: ASGIApp, keys: Keys | None = None, hosts: Collection[str] | None = None) -> None:
        self._app, self._keys, self._hosts = app, keys, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or have the application do it."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            self._check(scope)
        except ProblemError as error:
            response = JSONResponse(error.body, error.status, dict(error.headers), media_type=MEDIA_TYPE)
            await response(scope, receive, with_headers)
            return
        await self._app(scope, receive, with_headers)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        host = _name_of(headers.get("host", ""))
        if self._hosts is not None and host not in self._hosts:
            raise ProblemError(
                "misdirected", "this server is not called that: use the address that it told at its start"
            )
        origin = headers.get("origin")
        site = headers.get("sec-fetch-site", "none")
        is_foreign = site in ("cross-site", "same-site") or (
            origin is not None and urlsplit(origin).netloc.lower() != headers.get("host", "").lower()
        )
        if is_foreign and (scope["method"] not in ("GET", "HEAD") or scope["path"].startswith("/v1/")):
            raise ProblemError("forbidden", "pages of other sites may not ask this server for anything")
        scope.setdefault("state", {})["client"] = self._client(scope, headers)

    def _client(self, scope: Scope, headers: Headers) -> str:
        address = scope.get("client")
        if self._keys is None or scope["path"] in OPEN:
            return str(address[0]) if address else "local"
        owner = self._keys.owner(_key_of(headers.get("authorization", "")))
        if owner is None:
            detail = "send an API key: `Authorization: Bearer KEY`, or as the password that a browser asks for"
            ways = {"WWW-Authenticate": 'Basic realm="impasto: the API key is the password", charset="UTF-8"'}
            raise ProblemError("unauthorized", detail, headers=ways)
        return owner


def _key_of(authorization: str) -> str:
    """The key in a header: a bearer token, or the password of basic authentication."""
    kind, _, rest = authorization.partition(" ")
    if kind.lower() == "bearer":
        return rest.strip()
    if kind.lower() == "basic":
        try:
            return base64.b64decode(rest, validate=True).decode("utf-8").partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return ""
    return ""


def _name_of(host: str) -> str:
    """The name in a Host header, without the port."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""
