"""What an invocation does with one message: claim → turn → duties → acknowledge. The outer loop of ownership.

A message is acknowledged only when its work is durable. Laws: L10, L11, L12, L13. docs/design.md, "Ownership", names
the race that each branch closes.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from polos.clock import new_token
from polos.core import items
from polos.core.conditions import Item
from polos.core.failures import Failure
from polos.core.identity import message_tag
from polos.engine import (
    batching,
    children,
    commands,
    controls,
    delivery,
    duties,
    fields,
    interventions,
    native,
    notices,
    recovery,
    retention,
    schedules,
    traced,
    waiters,
)
from polos.engine.commands import Start, Target
from polos.engine.deaths import hand_back_unread
from polos.engine.engine import Engine
from polos.engine.lease import Lease, Lost
from polos.engine.ledger import Holder
from polos.engine.slots import Slots
from polos.engine.stored import Stored
from polos.engine.turn import Turn
from polos.errors import (
    BackendError,
    HistoryExpiredError,
    InvalidPayloadError,
    PolosError,
    WorkflowNotFoundError,
)
from polos.ports import ConditionFailed, Message

_log = logging.getLogger("polos.engine")
_UNKNOWN_WORKFLOW_RETRY, _UNKNOWN_WORKFLOW_LONGEST = 60.0, 900.0


def no_limit() -> float | None:
    """No invocation time limit."""
    return None


@dataclass(frozen=True, slots=True)
class _Claimed:
    """`payload` is that of the start message, where it is the execution's own: it need not be read."""

    execution: Item
    lease: Lease
    payload: Stored | None


class Worker:
    """Handles the messages of one engine. `handle` may be called from several threads."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def handle(self, message: Message, remaining: Callable[[], float | None] = no_limit) -> bool:
        """Do what a message asks for. True: its work is durable, delete it. False: it must come again.

        `remaining` gives the seconds until the invocation's time limit. Raises `InvalidPayloadError` for a message
        that is none of ours, which will never succeed, and whatever the backend raised.
        """
        work = self._read(message, remaining)
        try:
            return work()
        except Lost:
            _log.info("the lease on an execution passed to another invocation: %s", message.body.get("x"))
            return False
        except native.UnmatchedError:
            raise
        except InvalidPayloadError as error:
            raise BackendError(f"An execution met an error of the runtime: {error}") from error

    def check(self, body: Mapping[str, Any]) -> None:
        """Raise `InvalidPayloadError` if `handle` would, for what is none of our messages. Does nothing else.

        A value that is stored elsewhere is not fetched: whoever handles dead letters has no right to read it, and
        `handle` will look at it.
        """
        self._read(Message("", body, 1, lambda _: None), no_limit, fetch=False)

    def _read(
        self, message: Message, remaining: Callable[[], float | None], *, fetch: bool = True
    ) -> Callable[[], bool]:
        """The work that a message stands for. Here a message turns out to be none of ours, but for a native event."""
        body, engine = message.body, self.engine
        fields.check_unicode(body)
        match body.get("t"):
            case "event":
                event = commands.read_event(body)
                if fetch or event.pointer is None:
                    engine.vault.check(Stored(event.data, event.pointer), f"The data of the event {event.id!r}")
                return lambda: delivery.deliver(engine, event) and batching.gather(engine, event)
            case "batch":
                workflow_id, due = commands.read_batch(body)
                return lambda: self._collect(message, workflow_id, due, remaining)
            case "release":
                hold = controls.read_release(dict(body))
                return lambda: controls.release(engine, hold, message, remaining)
            case "tick":
                tick = schedules.Tick.of_message(body)
                return lambda: schedules.fire(engine, tick)
            case "native":
                native_event = native.NativeEvent.of_message(body)
                return lambda: native.deliver(engine, native_event)
            case "start":
                start = Start.of_message(body)
                return lambda: self._advance(message, start.execution_id, start, remaining)
            case "wake" | "resume" | "cancel" | "retry" | "unpause":
                target = Target.of_message(body)
                if body["t"] == "resume":
                    fields.moment_ms(body, "at")
                    value = Stored.of_message(body, "v")
                    if fetch or value.pointer is None:
                        engine.vault.check(value, f"What {target.execution_id!r} is resumed with")
                return lambda: self._command(message, target, remaining)
            case other:
                raise InvalidPayloadError(f"A message of the unknown type {other!r} was received.")

    def _collect(
        self, message: Message, workflow_id: str, due: int | None, remaining: Callable[[], float | None]
    ) -> bool:
        workflow = self.engine.workflows().get(workflow_id)
        if workflow is None:
            return self._leave(message, workflow_id)
        return batching.collect(self.engine, workflow, message, due, remaining)

    def _command(self, message: Message, target: Target, remaining: Callable[[], float | None]) -> bool:
        body, engine, execution_id = message.body, self.engine, target.execution_id
        if target.due is not None and target.due > engine.now():
            message.extend((target.due - engine.now()) / 1000)  # early: back into the queue, no table access
            return False
        match body["t"]:
            case "resume" if target.step_key is not None:
                interventions.record_resume(engine, execution_id, target.step_key, body, message.id)
            case "retry":
                recovery.apply_retry(engine, execution_id, target.number)
            case "unpause":
                recovery.apply_unpause(engine, execution_id, target.number, target.pause)
            case "cancel":
                done = interventions.note_cancel(engine, message, target)
                if done is not None:
                    return done
            case _:
                pass
        return self._advance(message, execution_id, None, remaining)

    # ---- ownership

    def _advance(
        self, message: Message, execution_id: str, start: Start | None, remaining: Callable[[], float | None]
    ) -> bool:
        workflow_id = message.body.get("wf")
        if start is None and workflow_id and workflow_id not in self.engine.workflows():
            return self._leave(message, str(workflow_id))
        claimed = self._claim(message, execution_id, start)
        if isinstance(claimed, bool):
            return claimed
        try:
            return self._run(message, claimed, remaining)
        except Lost:
            self._end_family(execution_id)
            raise
        finally:
            claimed.lease.release()
            self.engine.leave(execution_id, claimed.lease.poke)

    def _end_family(self, execution_id: str) -> None:
        """An owner that lost its lease to a terminate may have started one more child since: end that, too."""
        item = self.engine.table.get(items.execution(execution_id))
        if item is not None and items.ENDED in item and items.text(item, items.CANCEL) == "terminate":
            children.terminate_all(self.engine, execution_id)

    def _claim(self, message: Message, execution_id: str, start: Start | None) -> _Claimed | bool:
        engine, tag = self.engine, message_tag(message.id)
        holder_token = new_token()
        attributes = None
        if start is not None:
            large = start.payload_item()
            if large is not None:
                engine.ledger.note(commands.payload_key(execution_id, start.options), large)
            attributes = {**start.attributes(), **retention.first_kept_until(engine, start.created_at)}
        while True:
            sent, now = engine.clock.monotonic(), engine.now()
            until = now + int(engine.limits.lease * 1000)
            try:
                item = engine.ledger.claim(
                    execution_id, token=holder_token, tag=tag, now=now, until=until, start=attributes
                )
            except ConditionFailed as failed:
                item = failed.item
                mine = item is not None and item.get(items.LEASE_TOKEN) == holder_token
                if item is None or not mine:
                    answer = self._not_claimed(message, execution_id, tag, item)
                    if answer is None:
                        continue
                    return answer
            holder = Holder(execution_id, items.number(item, items.EPOCH), holder_token)
            message.extend(engine.limits.lease)
            own = start is not None and items.document(item, items.START).get("pd") == start.options.get("pd")
            lease = Lease(engine.backend, engine.ledger, engine.threads, holder, message, sent)
            return _Claimed(item, lease, start.payload if start is not None and own else None)

    def _not_claimed(self, message: Message, execution_id: str, tag: str, item: Item | None) -> bool | None:
        """What a message does that could not take the lease. None: try to claim again."""
        engine = self.engine
        if item is None or items.WORKFLOW not in item:
            return True  # nothing was ever started under this id; a start will find what a resume or cancel left
        if items.ENDED in item:
            duties.repeat(engine, message, item)
            return True
        slots = Slots.of(engine, item)
        if tag in items.strings(item, items.SPENT):
            if slots is not None:
                if items.LEASE_TOKEN not in item:
                    slots.release(items.number(item, items.EPOCH))
                slots.pass_on()
            return True
        if items.text(item, items.LEASE_MESSAGE) == tag:  # a copy of the owner's own message: keep it for the owner
            self._after_the_lease(message, item)
            return False
        full = len(items.strings(item, items.SPENT)) >= engine.limits.spent_while_owned
        try:
            engine.ledger.mark(execution_id, epoch=items.number(item, items.EPOCH), tag=None if full else tag)
        except ConditionFailed:
            return None
        engine.poke(execution_id)
        if slots is not None and isinstance(place := message.body.get("wsk"), str):
            slots.pass_on(after=place)  # only to later ones: two that are owned would pass one wake to and fro
        if full:  # the item would grow without end; a message that is kept needs no guard against its copies
            self._after_the_lease(message, item)
        return not full

    def _after_the_lease(self, message: Message, item: Item) -> None:
        """Have a message come again when the lease that it met has run out, if that is not renewed."""
        left = (items.number(item, items.LEASE_UNTIL) - self.engine.now()) / 1000
        message.extend(max(0.0, left) + 0.5)

    def _run(self, message: Message, claimed: _Claimed, remaining: Callable[[], float | None]) -> bool:
        engine, item, lease = self.engine, claimed.execution, claimed.lease
        if retention.may_be_lost(engine, item):
            return self._fail(message, item, lease.holder, HistoryExpiredError(lease.holder.execution_id))
        workflow = engine.workflows().get(items.text(item, items.WORKFLOW))
        if workflow is None:
            return self._unknown_workflow(message, claimed)
        turn = Turn(engine, lease, workflow, item, message_tag(message.id), remaining, claimed.payload)
        lease.poke, lease.on_renewed = turn.poke, turn.renewed
        lease.keep()
        engine.enter(lease.holder.execution_id, turn.poke)
        slots = Slots.of(engine, item)
        try:
            notices.owned(engine, message, item)
            if turn.cancel and turn.resting.untouched:
                finished: Item | None = turn.endings.cancel_unstarted()
            elif slots is not None and not slots.take(turn, str(message.body.get("wsk") or "")):
                return True
            else:
                finished = turn.run()
        except BackendError:
            turn.hand_back()
            raise
        lease.release()
        if finished is not None:
            notices.ended(engine, finished, lease)
            duties.perform(self.engine, finished)
        elif slots is not None:
            slots.release(lease.holder.epoch)
        return True

    def _unknown_workflow(self, message: Message, claimed: _Claimed) -> bool:
        """No code for it here. One that has run before waits for its code; a new one fails, visibly."""
        item, holder = claimed.execution, claimed.lease.holder
        workflow_id = items.text(item, items.WORKFLOW)
        if items.number(item, items.RAN):
            with contextlib.suppress(ConditionFailed):
                hand_back_unread(self.engine.ledger, holder, item)  # that there is no code is no death
            return self._leave(message, workflow_id)
        return self._fail(message, item, holder, WorkflowNotFoundError(workflow_id, self.engine.workflows()))

    def _fail(self, message: Message, item: Item, holder: Holder, error: PolosError) -> bool:
        """End an execution that no body can run."""
        failure = Failure.from_exception(error, 1)
        now = self.engine.now()
        end = {
            items.STATUS: "failed",
            items.ENDED: now,
            items.TTL: now // 1000 + int(self.engine.limits.retention),
            items.FAILURE: items.as_document(failure.to_json()),
            **waiters.left_unrun(item),
        }
        try:
            finished = self.engine.ledger.finish(holder, message_tag(message.id), end)
        except ConditionFailed:
            return False
        notices.ended(self.engine, finished)
        traced.execution_ended(finished)
        duties.perform(self.engine, finished)
        return True

    def _leave(self, message: Message, workflow_id: str) -> bool:
        _log.warning("there is no workflow %r in this application; its message stays in the queue", workflow_id)
        message.extend(min(_UNKNOWN_WORKFLOW_LONGEST, _UNKNOWN_WORKFLOW_RETRY * message.received))
        return False
