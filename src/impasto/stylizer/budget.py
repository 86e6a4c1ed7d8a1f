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
        budget: that gave it.
        need: bytes that it was counted with.
        room: bytes that it may take beside what the process held before and what others were granted.
        limited: whether `room` is what a user allowed, not what is free.
        thread: that asked for it.
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


@dataclass(eq=False)
class _Ticket:
    """One who waits."""

    thread: int


class MemoryBudget:
    """Lets jobs begin in the order in which they ask, as long as all that run fit together.

    A job that would not fit even alone is let in alone, and has to make do with the room there is. So is one for which
    nobody could make room, since all who have any wait themselves: a thread may begin a job within another.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._grants: list[Grant] = []
        self._waiting: list[_Ticket] = []
        self._held = 0  # bytes that the process held before the jobs that run now

    def take(self, need: int, limit: int | None = None) -> Grant:
        """Wait until there is room for `need` bytes, or nobody who could make any.

        Args:
            need: what the job takes at most if it can.
            limit: what the process may need at most, in bytes; None is what is free.
        """
        ticket = _Ticket(threading.get_ident())
        with self._changed:
            self._waiting.append(ticket)
            self._changed.notify_all()  # who waits for this thread does so in vain from now on
            try:
                while not self._is_next(ticket, need, room := self._room(need, limit)):
                    self._changed.wait()
                grant = Grant(self, max(0, min(need, room)), room, limit is not None, ticket.thread)
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

    def held_before(self) -> int:
        """Bytes that the process held before the jobs that run now began; what it holds now, where none runs."""
        with self._changed:
            return self._held if self._grants else held_memory()

    def _is_next(self, ticket: _Ticket, need: int, room: int) -> bool:
        """Whether who waits may begin."""
        first = self._waiting[0]
        if not self._grants:
            return ticket is first
        having, waiting = ({row.thread for row in rows} for rows in (self._grants, self._waiting))
        if need <= room and (ticket is first or ticket.thread in having):
            return True
        # Whoever could make room waits. One of them goes on first, and will make some.
        return having <= waiting and ticket is next(row for row in self._waiting if row.thread in having)

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
            return free + min(inside, taken) - taken
        return limit - max(self._held, held_memory() - taken) - taken  # what jobs have left behind counts as held
