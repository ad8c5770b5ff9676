"""One turn: replay a body and advance it until it ends, suspends, or has to hand over. Runs under a lease.

    load     query the partition; W is the wake count read BEFORE it
    replay   deliver what is recorded, in the recorded order
    advance  flush the order, begin what the body newly asks for (beginnings), wait for what runs in this process (pace)
    end      suspend (IF wake = W), finish, or hand over before the invocation's time limit (endings)

Laws: L1, L7, L8, L11, L13. docs/design.md draws the interleavings.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from polos.context import WorkflowContext
from polos.core import items
from polos.core.conditions import Item
from polos.core.failures import Failure
from polos.core.history import History
from polos.core.loop import Body
from polos.core.operations import (
    AwaitEvent,
    AwaitResume,
    Publish,
    ResumeOther,
    Run,
    Sleep,
    StartBatch,
)
from polos.core.replay import Operation, Replay
from polos.engine import body, children, commands, traced
from polos.engine.beginnings import Beginnings
from polos.engine.deaths import hand_back
from polos.engine.endings import Endings
from polos.engine.engine import Engine
from polos.engine.lease import Lease, Lost, Reload, wake_count
from polos.engine.pace import Pace
from polos.engine.resting import Resting
from polos.engine.steps import Attempts
from polos.engine.stored import Stored
from polos.engine.waits import Waits
from polos.errors import BackendError, PolosError
from polos.ports import ConditionFailed
from polos.spans import Spans
from polos.workflow import Workflow


@dataclass
class Turn:
    """The run of one body under one lease. `remaining` gives the seconds until the invocation's limit, or None.

    `payload` is that of the start message, where it is known to be the execution's own.
    """

    engine: Engine
    lease: Lease
    workflow: Workflow[Any, Any]
    execution: Item
    spent_tag: str
    remaining: Callable[[], float | None]
    payload: Stored | None = None
    history: History = field(init=False)
    replay: Replay = field(init=False)
    context: WorkflowContext | None = None
    spans: Spans | None = None

    def __post_init__(self) -> None:
        self.execution_id = self.lease.holder.execution_id
        self.epoch = self.lease.holder.epoch
        self.progress = items.number(self.execution, items.PROGRESS)
        self.options = items.document(self.execution, items.START)
        self.history = History(self.execution, loaded=False)
        self.replay = Replay(self.history)
        self.reports = self.engine.threads.mailbox()
        self.dirty = False
        self.cut = False
        self.whole = self.remaining()
        self._take_in(self.execution, look=False)  # an error of the backend belongs into `run`, which can give back
        self.attempts = Attempts(self)
        self.waits = Waits(self)
        self.pace = Pace(self)
        self.beginnings = Beginnings(self)
        self.resting = Resting(self)
        self.endings = Endings(self)

    def _take_in(self, item: Item, *, look: bool = True) -> None:
        """What the execution item says now. The wake count is that of a read before the records are read."""
        self.execution = item
        self.wake = wake_count(item)
        self.cancel = items.text(item, items.CANCEL)
        self.hold = self.engine.controls.hold_of(item) if look and not self.cancel else None
        self.paused = items.PAUSED in item or self.hold is not None

    # ---- what other threads call

    def report(self, what: Callable[[], None]) -> None:
        """Have something done on the turn's thread."""
        self.reports.put(what)

    def poke(self) -> None:
        """Something came for this execution, or the lease was lost: look again."""
        self.reports.put(self._make_dirty)

    def poke_body(self) -> None:
        """The body may be able to move by itself."""
        self.reports.put(lambda: None)

    def _make_dirty(self) -> None:
        self.dirty = True

    def renewed(self, item: Item) -> None:
        """The heartbeat has read the execution item. Must not raise what the backend does, or the heart stops."""
        try:
            held = not self.paused and self.engine.controls.hold_of(item) is not None
        except BackendError:
            held = False  # whether anything is paused is asked again at a later beat
        if held or wake_count(item) != self.wake:
            self.poke()

    # ---- the run

    def run(self) -> Item | None:
        """Run to the end of the turn. The execution item if it is finished, None if it sleeps. Raises `Lost`."""
        try:
            self._take_in(self.execution)
            if self.epoch != 1 or "forked" in self.options:
                self.load_history()
            ended = self.endings.too_many_deaths()
            if ended is not None:
                return ended
            if self.resting.rests():
                return None
            while True:
                try:
                    return self._drive()
                except Reload:
                    self.replay.close()
                    self.read_again()
        finally:
            self.attempts.cancel_all()
            self.replay.close()

    def hand_back(self) -> None:
        """After an error of the backend: give the lease back if possible, so that it is not taken for a death."""
        with contextlib.suppress(Exception):
            hand_back(self)

    def load_history(self) -> None:
        """Read the partition, and take it for this replay. 1 request per MB."""
        self.lease.check()
        found = self.engine.table.query(self.execution_id)
        self.history = History.of(found, self.execution)
        self.replay.history = self.history

    def read_again(self) -> None:
        """The wake count first, then the records: what comes in between moves the count on."""
        self.lease.check()
        item = self.engine.table.get(items.execution(self.execution_id))
        if item is None or items.number(item, items.EPOCH) != self.epoch or items.ENDED in item:
            raise Lost(self.execution_id)
        self._take_in(item)
        self.dirty = False
        self.load_history()

    def stored_payload(self) -> str:
        """The payload's text: from the start message, the execution item, or the item beside it."""
        stored = self.payload
        if stored is None and not commands.payload_is_beside(self.options):
            stored = Stored.of_item(self.execution, items.INPUT)
        if stored is None:
            key = commands.payload_key(self.execution_id, self.options)
            kept = self.history.attached.get(key.sk)
            stored = Stored.of_item(kept if kept is not None else self.engine.table.get(key) or {})
        return self.engine.vault.fetch(stored)

    def _drive(self) -> Item | None:
        self.replay = Replay(self.history)
        try:
            running, self.context = body.make(self)
        except BackendError:
            raise
        except PolosError as error:  # a payload or a state that this code can't read
            return self.endings.fail(error)
        self.replay.body = running
        while True:
            self.lease.check()
            running.advance()
            if self.replay.fault is not None:
                return self.endings.fail(self.replay.fault)
            if running.done:
                return self.endings.body_ended(running)
            held = self._held_back(running)
            if self.replay.fault is None and not held and (self._deliver_next() or self._strike()):
                continue
            if self.replay.fault is not None or self.beginnings.begin_fresh():
                continue
            if self.dirty:
                self._refresh()
            elif self._decide_expiries() or self._retry_due():
                continue
            elif not self.pace.wait(running):
                return self.resting.rest_or_hand_over(running)

    # ---- moving the body

    def _held_back(self, running: Body) -> bool:
        """Whether the next outcome in the recorded order is one that the body has not asked for yet.

        It still may, after a raw sleep or a thread of its own; once it is idle it never will.
        """
        key = self.replay.recorded_next()
        if key is None or key in self.replay.open or self._strikes_now():
            return False
        if running.busy or running.quiet_for is not None:
            return True
        self.replay.never_opened(key)
        return True

    def _strikes_now(self) -> bool:
        return self.history.cancel_at == self.replay.tick and self.replay.branch == 0

    def _deliver_next(self) -> bool:
        """Deliver one outcome: the recorded next one, or else the earliest that is there."""
        replay = self.replay
        if self._strikes_now():
            children.send_cancels(self)
            replay.throw_cancel()
            return True
        key = replay.recorded_next()
        if key is not None:
            operation = replay.open[key]
            self._deliver(operation, self._ready(operation))
            return True
        ready = [(when, op.opened, op) for op in replay.open.values() if (when := self._ready(op)) is not None]
        if not ready:
            return False
        when, _, operation = min(ready, key=lambda entry: entry[:2])
        self._deliver(operation, when)
        return True

    def _ready(self, operation: Operation) -> int | None:
        """When an operation's outcome came (ms), if it is there."""
        record = self.history.decided(operation.key)
        if record is not None:
            return items.number(record, items.AT)
        if isinstance(operation.request, Sleep):
            due = self.waits.sleep_due(operation)
            return due if due is not None and due <= self.engine.now() else None
        if isinstance(operation.request, StartBatch):
            return children.batch_ready(self, operation, operation.request)
        return None

    def _deliver(self, operation: Operation, when: int | None) -> None:
        value, error = None, None
        try:
            value = self._value(operation)
        except (BackendError, Reload):
            raise
        except PolosError as failed:
            error = failed
        self.replay.moment = max(self.replay.moment, when or 0)
        self.replay.deliver(operation, value, error)
        traced.delivered(self, operation, when or 0, error)

    def _value(self, operation: Operation) -> Any:
        """The outcome for the body; raises what the operation failed with."""
        request, record = operation.request, self.history.decided(operation.key)
        if record is None:
            if isinstance(request, Sleep):
                return None
            if isinstance(request, StartBatch) and children.batch_ready(self, operation, request) is not None:
                return children.batch_results(self, operation, request)
            raise Reload  # an order names an outcome that this turn has not read
        if isinstance(request, AwaitEvent) and self.progress < items.number(record, items.EPOCH) < self.epoch:
            self.waits.remove_waiter(operation, request)  # who decided it may have died before doing so
        if items.FAILURE in record:
            raise Failure.from_json(items.document(record, items.FAILURE)).error(operation.key)
        if isinstance(request, Sleep | Publish | ResumeOther):
            return None
        revive = request.children[0].revive if isinstance(request, StartBatch) else request.revive
        return revive(self.engine.vault.fetch_item(record))

    def adopt(self, operation: Operation, item: Item) -> None:
        """Take in the record of an open operation, one's own or that of whoever was first."""
        self.history.add(item)
        self.replay.check_kind(operation.key, operation.request, self.history.kind(operation.key))

    def arm(self, due: int, name: str) -> None:
        """Send a wake for `due`, and remember that nobody can have used it up unless the wake count moves."""
        self.lease.check()
        self.engine.arm(self.execution_id, self.workflow.id, due, name)
        self.pace.armed_here[due] = self.wake

    def _strike(self) -> bool:
        """Record the position of a cancel, or of the end of the time limit, once nothing else is there to deliver."""
        if self.replay.branch or self.history.cancel_at is not None:
            return False
        limit = self.pace.limit()
        mode = self.cancel or ("timeout" if limit is not None and limit <= self.engine.now() else "")
        if not mode or self._timer_may_be_over():
            return False
        self.flush()
        self.lease.check()
        try:
            now, asked = self.engine.now(), len(self.replay.used)
            item = self.engine.ledger.cancel_at(self.lease.holder, self.replay.tick, mode, now, asked)
        except ConditionFailed:
            raise Lost(self.execution_id) from None
        self.execution = self.history.execution = item
        self.cancel = items.text(item, items.CANCEL)
        if items.number(item, items.CANCEL_AT) != self.replay.tick:
            raise Reload
        return True

    def _timer_may_be_over(self) -> bool:
        """Whether a timer is so near its end that an owner whose clock is ahead may have gone on from it already.

        A timer that is over leaves no record, so a strike before it could hit another await than the one that owner's
        body has reached (race "cancel before a timer that was over").
        """
        dues = [self.waits.sleep_due(one) for one in self.replay.open.values() if isinstance(one.request, Sleep)]
        return any(due is not None and self.pace.must_stay(due) for due in dues)

    def flush(self) -> None:
        """Write the order of the outcomes handed out since the last effect, before the next (L8)."""
        while self.replay.unwritten:
            self.lease.check()
            tick, attributes = self.replay.order_item()
            key = items.order(self.execution_id, self.replay.branch, tick)
            stored = self.engine.ledger.note(key, {**attributes, items.EPOCH: self.epoch})
            if any(stored.get(name) != attributes[name] for name in attributes):
                raise Reload
            self.replay.order_written(len(items.numbers(attributes, items.TICKS)))

    # ---- looking again

    def _decide_expiries(self) -> bool:
        now = self.engine.now()
        late = [one for one in self.replay.open.values() if (due := self.waits.due(one)) is not None and due <= now]
        if late:
            self.flush()
        for operation in late:
            if isinstance(operation.request, AwaitEvent):
                self.waits.look(operation, operation.request)
            else:
                self.waits.decide_expiry(operation)
        return bool(late)

    def _retry_due(self) -> bool:
        now, started = self.engine.now(), False
        for operation in list(self.replay.open.values()):
            due = self.attempts.due(operation.key) if isinstance(operation.request, Run) else None
            if due is not None and due <= now and not self.pace.too_late():
                self.attempts.start(operation)
                started = True
        return started

    def _refresh(self) -> None:
        """A mark came: read again, and go on with this body unless others have gone another way."""
        self.read_again()
        if self.replay.contradicts(self.history):
            raise Reload
        open_now = list(self.replay.open.values())
        for operation in open_now:
            self.replay.check_kind(operation.key, operation.request, self.history.kind(operation.key))
        if any(isinstance(operation.request, AwaitEvent) for operation in open_now):
            self.flush()  # which event a wait takes depends on what the body has been handed
        for operation in open_now:
            if isinstance(operation.request, AwaitEvent):
                self.waits.look(operation, operation.request)
            elif isinstance(operation.request, AwaitResume):
                self.waits.take_resume(operation)
