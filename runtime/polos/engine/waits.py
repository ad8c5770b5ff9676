"""Beginning the waits of a body: timers, events, resumes. Laws: L9 (no lost wake-up), L10.

timer    SEND wake(due), then put record {armed, due} IF absent              (record implies sent)
event    [SEND wake(due)], put waiter, [put armed], then read the topic      (register, then look)
suspend  put mark {data} IF absent, [SEND wake(due), put armed]; the resume command writes the record
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from polos.core import items
from polos.core.conditions import Item, Value
from polos.core.failures import Failure
from polos.core.items import Key
from polos.core.operations import AwaitEvent, AwaitResume, Sleep
from polos.core.replay import Operation
from polos.engine import waiters
from polos.engine.commands import millis, moment
from polos.engine.heritage import Heritage
from polos.engine.stored import Stored
from polos.errors import BackendError, PolosError, StepTimeoutError

if TYPE_CHECKING:
    from polos.engine.turn import Turn


class Waits:
    """The waits of one turn."""

    def __init__(self, turn: Turn) -> None:
        self._turn, self._engine, self._lease = turn, turn.engine, turn.lease
        self.heritage = Heritage(turn)

    @functools.cached_property
    def registered(self) -> dict[tuple[str, str], int]:
        """The waits for events (key and topic) that are known to be registered, and since when. Read after a load."""
        return waiters.registered(self._turn.history)

    @functools.cached_property
    def began(self) -> dict[str, int]:
        """Since when each wait for an event is open, by key."""
        return {key: since for (key, _), since in self.registered.items()}

    # ---- timers

    def sleep_due(self, operation: Operation) -> int | None:
        """When a timer is due (ms); None: it has not been begun. A wait of no length is due at once, unrecorded."""
        request = operation.request
        assert isinstance(request, Sleep)
        record = self._turn.history.records.get(operation.key)
        if record is not None:
            return items.number(record, items.DUE)
        if request.until is not None:
            until = millis(request.until)
            return until if until <= self._engine.now() else None
        return 0 if request.seconds == 0 else None

    def begin_sleep(self, operation: Operation, request: Sleep) -> None:
        now = self._engine.now()
        due = millis(request.until) if request.until is not None else now + round(request.seconds * 1000)
        self._arm(operation, due)

    def _arm(self, operation: Operation, due: int) -> None:
        """Send the wake, then record that it was sent; what somebody recorded before stands."""
        self._turn.arm(due, operation.key)
        self._lease.check()
        record = self._engine.ledger.note(
            items.record(self._turn.execution_id, operation.key),
            {
                **operation.about(self._lease.holder.epoch),
                items.STATE: items.ARMED,
                items.DUE: due,
                items.BEGAN: self._engine.now(),
            },
        )
        self._turn.adopt(operation, record)

    def due(self, operation: Operation) -> int | None:
        """The time limit of an undecided wait for an event or a resume, if it has one and it is armed."""
        record = self._turn.history.records.get(operation.key)
        if record is None or record.get(items.STATE) != items.ARMED:
            return None
        return items.number(record, items.DUE)

    def _arm_limit(self, operation: Operation, timeout: float | None) -> None:
        if timeout is not None and operation.key not in self._turn.history.records:
            self._arm(operation, self._engine.now() + round(timeout * 1000))

    # ---- resumes

    def begin_suspend(self, operation: Operation, request: AwaitResume) -> None:
        turn = self._turn
        if not turn.history.loaded:
            turn.load_history()  # a resume may have come before the start
        if turn.history.decided(operation.key) is not None or self.take_resume(operation):
            return
        if operation.key not in turn.history.marks:
            stored = self._engine.stash(request.data, turn.execution_id, f"The data of step {operation.key!r}")
            self._lease.check()
            turn.history.add(
                self._engine.ledger.note(
                    items.mark(turn.execution_id, operation.key),
                    {
                        **operation.about(self._lease.holder.epoch),
                        items.AT: self._engine.now(),
                        **stored.attributes(),
                    },
                )
            )
        self._arm_limit(operation, request.timeout)

    def take_resume(self, operation: Operation) -> bool:
        """Decide a wait by the resume that came for it. Whether one had. 1 put."""
        resume = self._turn.history.resumes.get(operation.key)
        if resume is None or self._turn.history.decided(operation.key) is not None:
            return False
        mark = self._turn.history.marks.get(operation.key, resume)
        given = {name: resume[name] for name in (items.VALUE, items.POINTER, items.AT) if name in resume}
        self._decide(operation, operation.request, {**given, items.BEGAN: items.number(mark, items.AT)})
        return True

    # ---- events

    def begin_event(self, operation: Operation, request: AwaitEvent) -> None:
        turn = self._turn
        began = self.began.setdefault(operation.key, self._engine.now())
        if (operation.key, request.topic) not in self.registered:
            waiter: dict[str, Value] = {
                items.EXECUTION_ID: turn.execution_id,
                items.STEP_KEY: operation.key,
                items.WORKFLOW: turn.workflow.id,
                items.EPOCH: turn.epoch,
            }
            if request.event_type is not None:
                waiter[items.EVENT_TYPE] = request.event_type
            key = Key(items.topic(request.topic), items.waiter_sk(turn.execution_id, operation.key))
            self._engine.table.put(items.keyed(key, waiter))
            self.registered[operation.key, request.topic] = began
        self._arm_limit(operation, request.timeout)
        self.look(operation, request)

    def look(self, operation: Operation, request: AwaitEvent) -> None:
        """Decide a wait if its event, or its time limit, has come. 1 query; only the owner decides (L9)."""
        turn = self._turn
        self._lease.check()
        if turn.history.decided(operation.key) is not None:
            return
        after = items.event_sk(self.heritage.since(request.topic), "")
        events = self._engine.table.query(items.topic(request.topic), prefix="e#", after=after)
        taken, by_type = self.heritage.taken(request.topic), self.heritage.since_by_type(request.topic)
        due = self.due(operation)
        for event in events:
            sequence, kind = items.number(event, items.SEQUENCE), items.text(event, items.EVENT_TYPE)
            late = due is not None and sequence >> 20 > due
            other = request.event_type is not None and event.get(items.EVENT_TYPE) != request.event_type
            gone = sequence < by_type.get(kind, 0) or items.text(event, items.EVENT_ID) in taken
            if late or other or gone:
                continue
            self._decide(operation, request, self._taken_event(operation, request, event))
            return
        if due is not None and due <= self._engine.now():
            self._decide(operation, request, self.expired(operation))

    def _taken_event(self, operation: Operation, request: AwaitEvent, event: Item) -> dict[str, Value]:
        """The outcome of a wait that takes an event; if that can't be read, the wait fails with the reason."""
        about: dict[str, Value] = {
            items.TOPIC: request.topic,
            items.EVENT_ID: items.text(event, items.EVENT_ID),
            items.AT: items.number(event, items.SEQUENCE) >> 20,
            items.BEGAN: self.began.get(operation.key, self._engine.now()),
        }
        if request.event_type is not None:
            about[items.EVENT_TYPE] = request.event_type
        try:
            return {**about, **self._envelope(request, event)}
        except BackendError:
            raise
        except PolosError as error:
            return {**about, items.FAILURE: items.as_document(Failure.from_exception(error, 1).to_json())}

    def _envelope(self, request: AwaitEvent, event: Item) -> dict[str, Value]:
        sequence = items.number(event, items.SEQUENCE)
        body = items.as_document(
            {
                "id": items.text(event, items.EVENT_ID),
                "sequence_id": sequence,
                "topic": request.topic,
                "event_type": event.get(items.EVENT_TYPE),
                "created_at": moment(sequence >> 20).isoformat(),
            }
        )
        data = self._engine.vault.fetch(Stored.of_item(event))
        text = f'{body[:-1]},"data":{data}}}'
        return self._engine.attributes(text, self._turn.execution_id, f"The event on topic {request.topic!r}")

    def expired(self, operation: Operation) -> dict[str, Value]:
        """The outcome of a wait whose time limit has passed."""
        request = operation.request
        what = f"no event on topic {request.topic!r}" if isinstance(request, AwaitEvent) else "no resume"
        due = self.due(operation) or self._engine.now()
        message = f"{what} came until {moment(due).isoformat(timespec='seconds')}"
        error = StepTimeoutError(operation.key, "StepTimeoutError", message, 1)
        armed = self._turn.history.records.get(operation.key, {})
        return {
            items.FAILURE: items.as_document(Failure.from_exception(error, 1).to_json()),
            items.AT: due,
            items.BEGAN: items.number(armed, items.BEGAN, due),
        }

    def decide_expiry(self, operation: Operation) -> None:
        """Decide a wait for a resume whose time limit has passed, unless the resume was first. 1 read, 1 put."""
        self._lease.check()
        resume = self._engine.table.get(items.resumption(self._turn.execution_id, operation.key))
        if resume is not None:
            self._turn.history.add(resume)
            if self.take_resume(operation):
                return
        self._decide(operation, operation.request, self.expired(operation))

    def _decide(self, operation: Operation, request: object, attributes: dict[str, Value]) -> None:
        turn, now = self._turn, self._engine.now()
        self._lease.check()
        if now - items.number(attributes, items.AT) > self._engine.limits.event_skew * 1000:
            attributes = {**attributes, items.NOTED: now}  # where it stands in the run's stream
        record = self._engine.ledger.decide(
            items.record(turn.execution_id, operation.key),
            {**operation.about(self._lease.holder.epoch), **attributes},
        )
        turn.adopt(operation, record)
        if isinstance(request, AwaitEvent):
            self.remove_waiter(operation, request)

    def may_be_registered(self, operation: Operation) -> bool:
        """Whether an event may still wake the execution for a wait: an owner that died may have registered it."""
        request = operation.request
        return isinstance(request, AwaitEvent) and (
            (operation.key, request.topic) in self.registered or self._turn.epoch - 1 > self._turn.progress
        )

    def remove_waiter(self, operation: Operation, request: AwaitEvent) -> None:
        self._lease.check()
        sk = items.waiter_sk(self._turn.execution_id, operation.key)
        self._engine.ledger.forget(items.topic(request.topic), sk)
        self.registered.pop((operation.key, request.topic), None)
