"""The time of a turn: what is due next, whether to stay for it in this process, how long to wait. Laws: L5, L15."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING

from polos.core import items
from polos.core.loop import Body
from polos.core.operations import Run, Sleep

if TYPE_CHECKING:
    from polos.engine.turn import Turn


class Pace:
    """`armed_here` says for which due times (ms) this turn has sent the wake, and the wake count at that moment."""

    def __init__(self, turn: Turn) -> None:
        self._turn, self._limits = turn, turn.engine.limits
        self.armed_here: dict[int, int] = {}

    def limit(self) -> int | None:
        """When the execution times out (ms), if it does."""
        seconds = self._turn.options.get("timeout")
        item = self._turn.execution
        since = items.number(item, items.LIMIT_FROM, items.number(item, items.CREATED))
        return None if seconds is None else since + int(seconds * 1000)

    def too_late(self) -> bool:
        """Whether no new step may start: the invocation ends soon (L15), or a pause that no cancel has ended."""
        if self.paused:
            return True
        left = self._turn.remaining()  # after what `paused` may have had to ask, which takes its time
        return left is not None and left < self._limits.stop_before

    @property
    def paused(self) -> bool:
        """Whether nothing new may begin: a pause that no cancel has ended. 1 read a process in 15 s."""
        turn = self._turn
        return not turn.cancel and (turn.paused or not turn.engine.controls.may_begin(turn.execution))

    def next_due(self, *, attempts: bool = True) -> int | None:
        """The earliest moment (ms) at which something of this execution is due; without the next `attempts` of steps,
        where none may begin."""
        turn = self._turn
        struck = turn.replay.branch or turn.history.cancel_at is not None
        limit = self.limit()
        over = limit is not None and limit <= turn.engine.now()  # its strike only waits for a near timer
        dues = [None if struck or over else limit]
        for operation in turn.replay.open.values():
            if isinstance(operation.request, Run):
                if not attempts:
                    continue
                dues.append(turn.attempts.due(operation.key))
            elif isinstance(operation.request, Sleep):
                dues.append(turn.waits.sleep_due(operation))
            else:
                dues.append(turn.waits.due(operation))
        return min((due for due in dues if due is not None), default=None)

    def must_stay(self, due: int) -> bool:
        """Whether a due time is so near that another clock may have used up its wake already.

        A wake that this turn sent itself, with no mark since, can't have been used up: it may suspend at once.
        """
        if due - self._turn.engine.now() > self._limits.near * 1000:
            return False
        return self.armed_here.get(due) != self._turn.wake

    def wait(self, running: Body) -> bool:
        """Wait for whatever can move the body in this process. False: nothing can, or it is time to hand over."""
        turn = self._turn
        timeouts: list[float] = []
        due = self.next_due(attempts=not self.too_late())  # one that may not begin would be due at once, for ever
        if due is not None and (turn.attempts.running or self.must_stay(due)):
            timeouts.append(max(0.0, (due - turn.engine.now()) / 1000))
        stays = bool(timeouts) or turn.attempts.running or running.busy or running.quiet_for is not None
        if not stays or (self.too_late() and not turn.attempts.running):
            return False
        if running.quiet_for is not None:
            timeouts.append(running.quiet_for)
        left = turn.remaining()
        if left is not None:
            if left <= self._limits.cancel_before:
                turn.cut = turn.attempts.hopeless
                turn.attempts.cancel_all()
                return False
            stop = self._limits.stop_before
            timeouts.append(left - (self._limits.cancel_before if left < stop else stop) + 0.001)
        try:
            turn.reports.get(timeout=max(0.0, min(timeouts)) if timeouts else None)()
            while True:
                turn.reports.get_nowait()()
        except queue.Empty:
            return True
