"""One budget of memory for all jobs that run at the same time."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from types import TracebackType

from impasto.core.memory import available_memory, held_memory, release_blocks

__all__ = ["Grant", "MemoryBudget"]


@dataclass(eq=False)
class Grant:
    """Memory that a job may take until it gives it back; a context manager.

    Attributes:
        need: bytes that it was counted with.
        room: bytes that it may take beside what the process held before and what others were granted.
        alone: whether it is alone and has to make do with `room`, even if that is less than `need`.
    """

    budget: MemoryBudget
    need: int
    room: int
    limited: bool
    thread: int

    def close(self) -> None:
        """Give it back; twice does no harm."""
        self.budget.give_back(self)

    def __enter__(self) -> Grant:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class MemoryBudget:
    """Lets jobs begin in the order in which they ask, as long as all that run fit together.

    A job that would not fit even alone is let in alone, and has to make do with the room there is.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._grants: list[Grant] = []
        self._waiting: list[object] = []
        self._held = 0  # bytes that the process held before the jobs that run now

    def take(self, need: int, limit: int | None = None) -> Grant:
        """Wait until there is room for `need` bytes, or nobody else runs.

        Args:
            need: what the job takes at most if it can.
            limit: what the process may need at most, in bytes; None is what is free.
        """
        ticket, thread = object(), threading.get_ident()
        with self._changed:
            self._waiting.append(ticket)
            try:
                while True:
                    room = self._room(need, limit)
                    # Who waits for a job of his own thread would wait for ever.
                    others = [grant for grant in self._grants if grant.thread != thread]
                    if not others or (self._waiting[0] is ticket and need <= room):
                        break
                    self._changed.wait()
                grant = Grant(self, min(need, max(0, room)), room, limit is not None, thread)
                self._grants.append(grant)
                return grant
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()

    def give_back(self, grant: Grant) -> None:
        """End a grant."""
        with self._changed:
            if grant in self._grants:
                self._grants.remove(grant)
                if grant.limited:
                    release_blocks()  # or what one job's thread keeps is missing to the next one's
                self._changed.notify_all()

    def _room(self, need: int, limit: int | None) -> int:
        if not self._grants:
            self._held = held_memory()
            if limit is not None and self._held + need > limit:
                release_blocks()
                self._held = held_memory()
        taken = sum(grant.need for grant in self._grants)
        if limit is None:
            free = available_memory()
            inside = max(0, held_memory() - self._held)  # what those that run have taken already
            return free + inside - taken
        return limit - self._held - taken
