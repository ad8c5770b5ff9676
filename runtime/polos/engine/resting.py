"""How a turn ends without an end of the execution: it rests, or hands over. Laws: L5, L13, L14, L15.

suspend    update x IF epoch mine and wake = W, else read again
hand over  SEND wake, then suspend; that is a death if nothing was recorded, unless a pause was the reason
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from polos.core import items
from polos.core.conditions import Item, Value
from polos.core.loop import Body
from polos.core.operations import AwaitEvent
from polos.engine import notices, waiters
from polos.engine.controls import stand_in_line
from polos.engine.deaths import reached
from polos.engine.lease import Lost, Reload
from polos.errors import UsageError
from polos.ports import ConditionFailed

if TYPE_CHECKING:
    from polos.engine.turn import Turn

_AFTER_THE_SUSPEND: Final = 1.0


class Resting:
    """The rests of one turn."""

    def __init__(self, turn: Turn) -> None:
        self._turn, self._engine, self._lease = turn, turn.engine, turn.lease

    # ---- before the body

    @property
    def untouched(self) -> bool:
        """Whether no body of this execution can ever have run: every owner before gave back before it began one."""
        turn = self._turn
        return not items.number(turn.execution, items.RAN) and turn.progress >= turn.epoch - 1

    def base(self) -> int:
        """The epoch of the newest sign of progress: a record, or an invocation that ended saying so."""
        return reached(self._turn.execution, self._turn.history)

    def rests(self) -> bool:
        """Suspend if there is nothing to do yet: a backoff has not passed, deaths in a row, a pause. Whether it did."""
        turn, limits = self._turn, self._engine.limits
        deaths = turn.epoch - 1 - self.base()
        not_before, now = items.number(turn.execution, items.NOT_BEFORE), self._engine.now()
        extra: dict[str, Value] = {}
        if deaths >= 2 and items.number(turn.execution, items.DELAYED_DEATHS) != deaths:
            not_before = now + int(limits.death_delays[deaths - 2] * 1000)
            turn.arm(not_before, "deaths")
            extra = {items.DELAYED_DEATHS: deaths, items.NOT_BEFORE: not_before}
        limit = turn.pace.limit()
        timed_out = limit is not None and limit <= now
        if (not_before <= now and not turn.paused) or turn.cancel or timed_out:
            self.tell_death(deaths)
            return False
        if turn.hold is not None:
            turn.hold = stand_in_line(turn, turn.hold)
            turn.paused = turn.hold is not None or items.PAUSED in turn.execution
            if not turn.paused:
                return self.rests()
        if not_before > now and turn.pace.must_stay(not_before):
            turn.arm(not_before, "again")  # the wake for it may have been used up
        status = "queued" if self.untouched else "waiting"
        try:
            self.give_back({items.STATUS: status, items.PROGRESS: self.base() + 1, **self._ran(), **extra})
        except Reload:
            turn.read_again()
            return self.rests()
        if extra:
            self.tell_death(deaths)
        return True

    def tell_death(self, deaths: int) -> None:
        """Once for each death: the invocation that makes the pause for it tells, not the one that goes on after it."""
        if deaths and items.number(self._turn.execution, items.DELAYED_DEATHS) != deaths:
            notices.died(self._engine, self._turn.workflow.id)

    def wait_for_slot(self, place: str) -> bool:
        """Suspend in line for a slot. False: something came meanwhile, so try again.

        That is no progress: the deaths in a row stay as many. Where there may be some, the records are read first.
        """
        turn = self._turn
        if turn.progress < turn.epoch - 1 and not turn.history.loaded:
            turn.load_history()
        about = {items.STATUS: "queued", items.WAITING_SK: place, items.PROGRESS: self.base() + 1}
        try:
            self.give_back({**about, **self._ran()})
        except Reload:
            self._turn.read_again()
            return False
        return True

    def _ran(self) -> dict[str, Value]:
        return {items.RAN: 0 if self.untouched else 1}

    # ---- asleep

    def rest_or_hand_over(self, running: Body) -> Item | None:
        """The body is quiet, or the invocation ends soon."""
        turn = self._turn
        movable = bool(turn.replay.fresh) or running.busy or running.quiet_for is not None
        due = turn.pace.next_due()
        near = due is not None and (due <= self._engine.now() or turn.pace.must_stay(due))  # its wake may be spent
        if movable or turn.attempts.running or turn.cut or near:
            self._lease.check()
            self._engine.wake(turn.execution_id, turn.workflow.id, delay=_AFTER_THE_SUSPEND)
            unrecorded = turn.cut or running.busy or running.quiet_for is not None
            reached = turn.epoch if turn.pace.paused and not unrecorded else self.base()  # or it could go on for ever
            self.give_back({items.STATUS: "running", items.PROGRESS: reached}, again=unrecorded)
            return None
        if not turn.replay.open:
            return turn.endings.fail(
                UsageError(
                    "The workflow waits for something that nothing durable will ever bring about (a bare asyncio.Event "
                    "or Future). Wait with ctx.step calls."
                )
            )
        self.give_back({items.STATUS: "waiting", **waiters.remembered(turn, self._open())})
        return None

    def give_back(self, attributes: dict[str, Value], *, again: bool = False) -> None:
        """Suspend, unless something came: then `Reload`. Raises `Lost`. The first one arms the time limit.

        `again`: what the body did since it was handed the last outcome will be done anew.
        """
        turn = self._turn
        spans, until = turn.spans, 0
        if spans is not None and spans.held:
            until = spans.until(again=again)
            attributes = {items.TRACED: until, **attributes}
        limit = turn.pace.limit()
        if limit is not None and items.LIMIT_ARMED not in turn.execution:
            turn.arm(limit, "limit")
            attributes = {items.LIMIT_ARMED: 1, **attributes}
        if items.WAITING_SK in turn.execution:
            attributes = {items.WAITING_SK: "", **attributes}
        spent = [*items.strings(turn.execution, items.SPENT), turn.spent_tag][-self._engine.limits.spent :]
        self._lease.check()
        try:
            self._engine.ledger.suspend(self._lease.holder, turn.wake, spent, attributes)
        except ConditionFailed as failed:
            item = failed.item
            if item is None or items.number(item, items.EPOCH) != turn.epoch or items.ENDED in item:
                raise Lost(turn.execution_id) from None
            if self.is_mine(item):
                raise Reload from None
        if spans is not None:
            spans.write(until)

    def is_mine(self, item: Item) -> bool:
        """Whether the lease is still this owner's, on an open execution."""
        same = items.number(item, items.EPOCH) == self._turn.epoch
        return same and items.LEASE_TOKEN in item and items.ENDED not in item

    def _open(self) -> Iterator[waiters.Entry]:
        """What the execution waits for: kind, key; of an event also the topic and since when."""
        for operation in self._turn.replay.open.values():
            entry: list[Any] = [operation.request.kind, operation.key]
            if isinstance(operation.request, AwaitEvent):
                entry += [operation.request.topic, self._turn.waits.began.get(operation.key, 0)]
            yield entry
