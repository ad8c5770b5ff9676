"""How a turn ends: asleep, handed over, or with the execution finished. Laws: L5, L12, L13, L14, L15.

suspend    update x IF epoch mine and wake = W, else read again
hand over  SEND wake, then suspend; that is a death if nothing was recorded, unless a pause was the reason
finish     what is too long for x is written beside it, under one's own epoch; then update x IF epoch mine and open
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, cast

from polos.context import ContinueAsNew
from polos.core import codec, items
from polos.core.conditions import Item, Value
from polos.core.failures import Failure, head, message_of
from polos.core.loop import Body
from polos.core.operations import AwaitEvent
from polos.engine import commands, notices, successors, traced, waiters
from polos.engine.commands import Stored
from polos.engine.controls import stand_in_line
from polos.engine.deaths import reached
from polos.engine.lease import Lost, Reload
from polos.errors import BackendError, CrashLoopError, PayloadTooLargeError, PolosError, SerializationError, UsageError
from polos.ports import ConditionFailed

if TYPE_CHECKING:
    from polos.engine.turn import Turn

_log = logging.getLogger("polos.engine")
_RETRY_CAP: Final = 60.0
_FAILURE_CHARACTERS: Final = 2000
_AFTER_THE_SUSPEND: Final = 1.0


class Endings:
    """The ends of one turn."""

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

    def too_many_deaths(self) -> Item | None:
        """The finished execution, if its invocations keep dying (L14)."""
        deaths = self._turn.epoch - 1 - self.base()
        if deaths < self._engine.limits.max_deaths:
            return None
        self._tell_death(deaths)
        return self.fail(CrashLoopError(self._turn.execution_id, deaths))

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
            self._tell_death(deaths)
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
            self._give_back({items.STATUS: status, items.PROGRESS: self.base() + 1, **self._ran(), **extra})
        except Reload:
            turn.read_again()
            return self.rests()
        if extra:
            self._tell_death(deaths)
        return True

    def _tell_death(self, deaths: int) -> None:
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
            self._give_back({**about, **self._ran()})
        except Reload:
            self._turn.read_again()
            return False
        return True

    def _ran(self) -> dict[str, Value]:
        return {items.RAN: 0 if self.untouched else 1}

    def cancel_unstarted(self) -> Item:
        """End an execution that was cancelled before its body ever ran."""
        return self._finish("cancelled", {})

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
            self._give_back({items.STATUS: "running", items.PROGRESS: reached}, again=unrecorded)
            return None
        if not turn.replay.open:
            return self.fail(
                UsageError(
                    "The workflow waits for something that nothing durable will ever bring about (a bare asyncio.Event "
                    "or Future). Wait with ctx.step calls."
                )
            )
        self._give_back({items.STATUS: "waiting", **waiters.remembered(turn, self._open())})
        return None

    def _give_back(self, attributes: dict[str, Value], *, again: bool = False) -> None:
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
            if self._is_mine(item):
                raise Reload from None
        if spans is not None:
            spans.write(until)

    def _is_mine(self, item: Item) -> bool:
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

    # ---- finished

    def body_ended(self, running: Body) -> Item | None:
        """The body has returned or raised."""
        turn = self._turn
        turn.flush()
        turn.beginnings.drop_abandoned()
        try:
            result, error = running.result(), None
        except BaseException as raised:  # noqa: BLE001 - whatever the body raises is the execution's outcome
            result, error = None, raised
        if turn.replay.branch:
            status = "timed_out" if turn.cancel == "timeout" else "cancelled"
            return self._finish(status, self._failure(error, 1) if isinstance(error, Exception) else {})
        try:
            following = _continued(error)
            if following is not None:
                return self._go_on_as_new(following.payload)
            if error is None:
                text = codec.roundtrip(result, turn.workflow.result_annotation)[0]
                return self._finish("completed", self._result(text))
        except BackendError:
            raise
        except PolosError as bad:
            error = bad
        retries = items.number(turn.execution, items.RETRIES)
        if self.runs_again(error):
            if turn.cancel:  # it came too late to strike; it does not let the body run once more
                status = "timed_out" if turn.cancel == "timeout" else "cancelled"
                return self._finish(status, self._failure(error, retries + 1))
            return self._run_again(retries)
        return self.fail(error, retries + 1)

    def runs_again(self, error: BaseException) -> bool:
        """Whether a body that ended with this is run again as a whole."""
        turn = self._turn
        again = isinstance(error, Exception) and not _is_final(error) and not turn.replay.branch
        return again and items.number(turn.execution, items.RETRIES) < turn.workflow.max_retries

    def _run_again(self, retries: int) -> None:
        """A whole-execution retry: sleep through the backoff; recorded steps are kept."""
        due = self._engine.now() + int(min(2.0**retries, _RETRY_CAP) * 1000)
        self._turn.arm(due, f"retry{retries}")
        retry: dict[str, Value] = {items.RETRIES: retries + 1, items.NOT_BEFORE: due}
        if self._turn.spans is not None:
            self._turn.spans.run_failed()
        shown: dict[str, Value] = {items.STATUS: "waiting", items.WAITING_FOR: "[]", items.WAITING_MORE: 0}
        self._give_back({**shown, **retry}, again=True)  # its waiters are gone

    def fail(self, error: BaseException, attempts: int = 1) -> Item:
        """End the execution as failed; with what a retry would drop."""
        since = self._turn.replay.since_failure(error)
        dropped: dict[str, Value] = {}
        if since is not None:
            dropped = {items.DROPPED: items.as_document({"from": since[0], "keys": since[1]})}
        return self._finish("failed", {**dropped, **self._failure(error, attempts)})

    def _failure(self, error: BaseException, attempts: int) -> dict[str, Value]:
        """The exception that ended the body, under its own class and text, as attributes of the execution."""
        told = Failure.from_exception(error, attempts)
        failure = replace(told, type=type(error).__name__, message=message_of(error))
        text = items.as_document(failure.to_json())
        if len(text) > _FAILURE_CHARACTERS:
            half = _FAILURE_CHARACTERS // 2
            cut = {"message": head(failure.message, half), "traceback": (failure.traceback or "")[-half:]}
            text = items.as_document({**failure.to_json(), **cut})
        return {items.FAILURE: text}

    def _result(self, text: str) -> dict[str, Value]:
        stored = self._engine.stash(text, self._turn.execution_id, f"The result of workflow {self._turn.workflow.id!r}")
        return self._on_item_or_beside(stored, items.RESULT, "out")

    def _final_state(self) -> dict[str, Value]:
        state = None if self._turn.context is None else self._turn.context.state
        if state is None:
            return {}
        text = codec.encode(state, annotation=self._turn.workflow.state_schema)
        stored = self._engine.stash(text, self._turn.execution_id, f"The state of workflow {self._turn.workflow.id!r}")
        return self._on_item_or_beside(stored, items.FINAL_STATE, "state")

    def _go_on_as_new(self, payload: Any) -> Item | None:
        """End in favour of a successor; a paused execution sleeps before it does, and comes here again."""
        turn = self._turn
        if items.PAUSED in turn.execution and not turn.cancel:
            limit = turn.pace.limit()
            if limit is not None and limit <= self._engine.now():
                return self._finish("timed_out", {})
            self._give_back({items.STATUS: "waiting", items.WAITING_FOR: "[]", items.WAITING_MORE: 0})
            return None
        return self._finish("completed", self._successor(payload))

    def _successor(self, payload: Any) -> dict[str, Value]:
        """Where a body goes on as new. The successor is started by the duties of the one that has ended."""
        execution_id, stored = successors.prepare(self._turn, payload)
        self._beside(stored, "next", {items.DATA: items.as_document(self._turn.waits.heritage.told())})
        return {items.NEXT: execution_id}

    def _on_item_or_beside(self, stored: Stored, name: str, what: str) -> dict[str, Value]:
        if stored.size <= commands.ON_EXECUTION_ITEM:
            return stored.attributes(name)
        self._beside(stored, what)
        return {}

    def _beside(self, stored: Stored, what: str, more: Mapping[str, Value] | None = None) -> None:
        """Write an item next to the execution's, under this owner's epoch."""
        self._lease.check()
        key = items.Key(self._turn.execution_id, items.beside(what, self._turn.epoch))
        self._engine.table.put(items.keyed(key, {**stored.attributes(), **(more or {})}))

    def _finish(self, status: str, outcome: dict[str, Value]) -> Item:
        """The terminal write. Whoever was first stands; the stored item is returned for the duties."""
        turn = self._turn
        try:
            outcome = {**self._final_state(), **outcome}
        except (SerializationError, PayloadTooLargeError) as error:
            if status == "completed":
                return self.fail(error)
            _log.warning("execution %s: its final state is not kept: %s", turn.execution_id, error)
        spans = turn.spans
        if spans is not None and spans.held:
            spans.run_failed()
            outcome = {items.TRACED: spans.until(again=True), **outcome}  # a retry runs the last piece anew
        self._lease.check()
        now = self._engine.now()
        end: dict[str, Value] = {items.STATUS: status, items.ENDED: now, **waiters.left_over(turn), **outcome}
        if not successors.is_first(turn.execution, outcome):
            end[items.TTL] = now // 1000 + int(self._engine.limits.retention)
        try:
            item = self._engine.ledger.finish(self._lease.holder, turn.spent_tag, end, unpaused=items.NEXT in outcome)
        except ConditionFailed as failed:
            if failed.item is not None and items.PAUSED in failed.item and self._is_mine(failed.item):
                raise Reload from None
            if failed.item is None or items.ENDED not in failed.item:
                raise Lost(turn.execution_id) from None
            item = failed.item
            if item.get(items.FINISHER) != self._lease.holder.token:
                return item  # somebody else's end; otherwise only the reply was lost
        if spans is not None:
            spans.write(spans.until())
        traced.execution_ended(item)
        return item


def _is_final(error: BaseException) -> bool:
    """Whether running the body once more would end the same: what it raised is recorded, alone or in a `TaskGroup`."""
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return all(_is_final(one) for one in group.exceptions)
    return isinstance(error, PolosError)


def _continued(error: BaseException | None) -> ContinueAsNew | None:
    """What `ctx.continue_as_new` raised, also out of a TaskGroup, which wraps it; None if that is not all there is."""
    if isinstance(error, BaseExceptionGroup):
        inner = [_continued(one) for one in cast("BaseExceptionGroup[BaseException]", error).exceptions]
        return inner[0] if None not in inner else None
    return error if isinstance(error, ContinueAsNew) else None
