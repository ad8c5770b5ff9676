"""How a turn ends an execution, or has its body run once more. Laws: L12, L14.

finish     what is too long for x is written beside it, under one's own epoch; then update x IF epoch mine and open
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, cast

from polos.context import ContinueAsNew
from polos.core import codec, items
from polos.core.conditions import Item, Value
from polos.core.failures import Failure, head, message_of
from polos.core.loop import Body
from polos.engine import commands, successors, traced, waiters
from polos.engine.lease import Lost, Reload
from polos.engine.stored import Stored
from polos.errors import BackendError, CrashLoopError, PayloadTooLargeError, PolosError, SerializationError
from polos.ports import ConditionFailed

if TYPE_CHECKING:
    from polos.engine.turn import Turn

_log = logging.getLogger("polos.engine")
_RETRY_CAP: Final = 60.0
_FAILURE_CHARACTERS: Final = 2000


class Endings:
    """The ends of one execution, as one turn writes them."""

    def __init__(self, turn: Turn) -> None:
        self._turn, self._engine, self._lease = turn, turn.engine, turn.lease

    def too_many_deaths(self) -> Item | None:
        """The finished execution, if its invocations keep dying (L14)."""
        deaths = self._turn.epoch - 1 - self._turn.resting.base()
        if deaths < self._engine.limits.max_deaths:
            return None
        self._turn.resting.tell_death(deaths)
        return self.fail(CrashLoopError(self._turn.execution_id, deaths))

    def cancel_unstarted(self) -> Item:
        """End an execution that was cancelled before its body ever ran."""
        return self._finish("cancelled", {})

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
        heritage = self._turn.waits.heritage
        retry: dict[str, Value] = {items.RETRIES: retries + 1, items.NOT_BEFORE: due, **heritage.handed_on()}
        if self._turn.spans is not None:
            self._turn.spans.run_failed()
        shown: dict[str, Value] = {items.STATUS: "waiting", items.WAITING_FOR: "[]", items.WAITING_MORE: 0}
        self._turn.resting.give_back({**shown, **retry}, again=True)  # its waiters are gone

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
            turn.resting.give_back({items.STATUS: "waiting", items.WAITING_FOR: "[]", items.WAITING_MORE: 0})
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
            if failed.item is not None and items.PAUSED in failed.item and turn.resting.is_mine(failed.item):
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
