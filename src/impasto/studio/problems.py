"""Errors as a program gets them: one shape, RFC 9457, for whatever goes wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final

from impasto.errors import ImpastoError, OptionError
from impasto.studio.jobs import Failure, Kind
from impasto.studio.service import BusyError

__all__ = ["MEDIA_TYPE", "PROBLEMS", "SCHEMA", "ProblemError", "of_error", "of_failure", "problem"]

MEDIA_TYPE: Final = "application/problem+json"

PROBLEMS: Final[Mapping[str, tuple[int, str]]] = MappingProxyType(
    {
        "malformed": (400, "The request cannot be read"),
        "unauthorized": (401, "An API key is needed"),
        "forbidden": (403, "Not for pages of other sites"),
        "not-found": (404, "There is nothing here"),
        "method": (405, "Not a method of this address"),
        "too-slow": (408, "The request did not arrive in time"),
        "not-ready": (409, "There is nothing to fetch yet"),
        "gone": (410, "The job was cancelled"),
        "too-large": (413, "The request is too large"),
        "media-type": (415, "Not a form"),
        "misdirected": (421, "Not a name of this server"),
        "invalid": (422, "The request makes no sense"),
        "limit": (422, "More than a job may take"),
        "busy": (429, "Too much is asked at once"),
        "fault": (500, "A fault of the program"),
        "worker": (500, "The process that painted died"),
        "starting": (503, "The server is not ready yet"),
        "stopping": (503, "The server is being stopped"),
    }
)
"""Name -> status and title of everything that can go wrong."""

SCHEMA: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "type": "object",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": {
                "type": "string",
                "description": "urn:impasto:problem:NAME",
                "examples": ["urn:impasto:problem:busy"],
            },
            "title": {"type": "string", "description": "What kind of problem it is."},
            "status": {"type": "integer", "description": "The status of the response."},
            "detail": {"type": "string", "description": "One sentence: what, got, how to mend it."},
            "option": {"type": "string", "description": "The field to be changed, where it is one."},
        },
    }
)

_OF_KIND: Final[Mapping[Kind, str]] = MappingProxyType(
    {
        "request": "invalid",
        "time": "limit",
        "memory": "limit",
        "worker": "worker",
        "stopping": "stopping",
        "fault": "fault",
    }
)


@dataclass
class ProblemError(Exception):
    """What is wrong with a request, as its response tells it.

    Attributes:
        name: a key of `PROBLEMS`.
        detail: one sentence.
        option: the field to be changed.
        headers: of the response.
    """

    name: str
    detail: str
    option: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def status(self) -> int:
        """The status of the response."""
        return PROBLEMS[self.name][0]

    @property
    def body(self) -> dict[str, Any]:
        """What the response says."""
        return problem(self.name, self.detail, self.option)


def problem(name: str, detail: str, option: str | None = None) -> dict[str, Any]:
    """The members of a problem."""
    status, title = PROBLEMS[name]
    told = {"type": f"urn:impasto:problem:{name}", "title": title, "status": status, "detail": detail}
    return told | ({"option": option} if option else {})


def of_failure(failure: Failure) -> ProblemError:
    """Of a job that failed."""
    headers = {"Retry-After": "30"} if failure.kind == "stopping" else {}
    return ProblemError(_OF_KIND[failure.kind], failure.message, failure.option, headers)


def of_error(error: ImpastoError) -> ProblemError:
    """Of a request that was not taken."""
    if isinstance(error, BusyError):
        name = "stopping" if error.why == "stopping" else "busy"
        return ProblemError(name, str(error), headers={"Retry-After": str(error.retry_after)})
    return ProblemError("invalid", str(error), error.option if isinstance(error, OptionError) else None)


def of_status(status: int) -> ProblemError:
    """Of what the framework answers by itself."""
    names = {code: name for name, (code, _) in reversed([*PROBLEMS.items()])}
    detail = "see /openapi.json for what there is" if status in (404, 405) else HTTPStatus(status).phrase.lower()
    return ProblemError(names.get(status, "malformed" if status < 500 else "fault"), detail)
