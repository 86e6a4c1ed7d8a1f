"""A job of the studio as its clients see it: where it stands, how far it is, what became of it."""

from __future__ import annotations

import re
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

__all__ = ["ENDS", "Failure", "State", "StudioJob"]

State = Literal["queued", "running", "done", "failed", "cancelled"]
ENDS: Final = ("done", "failed", "cancelled")

_FILE: Final = re.compile(r"\b[a-z]+-\d+\b")

Kind = Literal["request", "time", "memory", "worker", "stopping", "fault"]


@dataclass(frozen=True)
class Failure:
    """Why a job failed.

    Attributes:
        kind: ``request`` is what the client can mend; ``time`` and ``memory`` are limits of the server that it met;
            ``worker`` is a process that died, ``stopping`` a server that is being shut down, ``fault`` an error of
            ours.
        message: a sentence for the client.
        option: the field of the request to be changed, where it is known.
    """

    kind: Kind
    message: str
    option: str | None = None


@dataclass(eq=False)
class StudioJob:
    """One picture to be painted, or a small act for the page. `Service` makes it; threads may share it.

    Attributes:
        folder: its own, with what was uploaded and what is painted; gone some time after the job's end.
        task: what the worker is told, in types that JSON has.
        client: who asked for it.
        queue: which one it is in, see `Service`.
        format: of the painting: ``png``, ``jpeg`` ...; empty for an act.
        names: what its client calls its files, by the names that they have here.
        id: what it is asked for by; cannot be guessed.
        state: where it stands.
        progress: the last record of `stylizer.job.Progress`, as a mapping; None before the first.
        size: (height, width) of the painting in px; None before that is known.
        notes: sentences about the result that should be told.
        summary: what was painted and by what; empty before the end.
        answer: what an act gave, in types that JSON has.
        failure: why it failed; None if it did not.
        created, began, ended: by `time.monotonic`; None for what has not happened yet.
        previews: how often the picture so far was written.
    """

    folder: Path
    task: Mapping[str, Any]
    client: str
    queue: str
    format: str = ""
    names: Mapping[str, str] = field(default_factory=dict)
    id: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    state: State = "queued"
    progress: Mapping[str, Any] | None = None
    size: tuple[int, int] | None = None
    notes: tuple[str, ...] = ()
    summary: str = ""
    answer: Any = None
    failure: Failure | None = None
    created: float = field(default_factory=time.monotonic)
    began: float | None = None
    ended: float | None = None
    previews: int = 0
    asked_to_stop: bool = False
    tell_worker: Callable[[str], None] | None = None
    _changed: threading.Condition = field(default_factory=threading.Condition, repr=False)
    _watchers: list[Callable[[], None]] = field(default_factory=list, repr=False)

    @property
    def paints(self) -> bool:
        """Whether a picture is painted, not an act done."""
        return bool(self.task["do"] == "paint")

    def as_sent(self, text: str) -> str:
        """A sentence that calls files by what their client called them."""
        return _FILE.sub(lambda found: self.names.get(found[0], found[0]), text)

    @property
    def result_path(self) -> Path:
        """Where the painting is, once the job is done."""
        return self.folder / f"painting.{self.format}"

    @property
    def preview_path(self) -> Path:
        """Where the picture so far is, a JPEG, once one was asked for."""
        return self.folder / "preview.jpg"

    @property
    def has_ended(self) -> bool:
        """Whether nothing will happen any more."""
        return self.state in ENDS

    def update(self, **changes: Any) -> bool:
        """Change attributes, and wake who waits; False, and nothing is changed, where the job has ended."""
        with self._changed:
            if self.has_ended:
                return False
            for name, value in changes.items():
                setattr(self, name, value)
            if self.has_ended:
                self.ended = time.monotonic()
                self.tell_worker = None
            self._changed.notify_all()
            watchers = list(self._watchers)
        for watcher in watchers:
            watcher()
        return True

    def watch(self, watcher: Callable[[], None]) -> Callable[[], None]:
        """Have `watcher` called, from some thread, after each change; gives a function that ends this."""
        with self._changed:
            self._watchers.append(watcher)

        def end() -> None:
            with self._changed:
                if watcher in self._watchers:
                    self._watchers.remove(watcher)

        return end

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end; whether it came within so many seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: self.has_ended, timeout)

    def ask_preview(self) -> int | None:
        """Have the picture so far, at most 768 px long, written to `preview_path`: `previews` grows when it is.

        Gives the `previews` of before; None where nothing is being painted. Of a finished job use the result.
        """
        with self._changed:
            tell, before = self.tell_worker, self.previews
        if tell is None:
            return None
        tell("preview")
        return before
