"""One turn: replay a body and advance it until it ends, suspends, or has to hand over. Runs under a lease.

    load     query the partition; W is the wake count read BEFORE it
    replay   deliver what is recorded, in the recorded order
    advance  flush the order, begin what the body newly asks for, wait for what runs in this process
    end      suspend (IF wake = W), finish, or hand over before the invocation's time limit

Laws: L1, L7, L8, L11, L13, L15. docs/design.md draws the interleavings.
"""

from __future__ import annotations

import json
import queue
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from polos.context import ContinueAsNew, WorkflowContext
from polos.core import codec, items
from polos.core.conditions import Item, Value
from polos.core.failures import Failure
from polos.core.history import History
from polos.core.loop import Body
from polos.core.operations import AwaitEvent, AwaitResume, Publish, ResumeOther, Run, Sleep, StartBatch, StartChild
from polos.core.replay import Operation, Replay
from polos.engine import body, children, commands, publishing, successors
from polos.engine.commands import Stored
from polos.engine.engine import Engine
from polos.engine.lease import Lease, Lost, wake_count
from polos.engine.steps import Attempts
from polos.engine.waits import Waits
from polos.errors import CrashLoopError, PolosError, SerializationError, StepExecutionError, UsageError
from polos.ports import ConditionFailed
from polos.workflow import Workflow

_WAITING_SHOWN = 8
_RETRY_CAP = 60.0


class _Reload(Exception):
    """Read the records again and replay from the start."""


@dataclass
class Turn:
    """The run of one body under one lease. `remaining` gives the seconds until the invocation's limit, or None."""

    engine: Engine
    lease: Lease
    workflow: Workflow[Any, Any]
    execution: Item
    spent_tag: str
    remaining: Callable[[], float | None]
    payload: Stored | None = None
    history: History = field(init=False)
    replay: Replay = field(init=False)
    waiters_known: set[str] = field(init=False)

    def __post_init__(self) -> None:
        self.execution_id = self.lease.holder.execution_id
        self.options = items.document(self.execution, items.START)
        self.history = History(self.execution, loaded=False)
        self.replay = Replay(self.history)
        self.waiters_known = {key for kind, key, *_ in self._shown_before() if kind == AwaitEvent.kind}
        self.waits_began: dict[str, int] = {key: rest[1] for _, key, *rest in self._shown_before() if len(rest) > 1}
        self._wake = wake_count(self.execution)
        self._poked_wake = self._wake
        self._armed_here: dict[int, int] = {}
        self._reports: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._dirty = False
        self._cancel = items.text(self.execution, items.CANCEL)
        self._paused = items.PAUSED in self.execution
        self._attempts = Attempts(self)
        self._waits = Waits(self)
        self._ended: Item | None = None
        self._epoch, self._progress = self.lease.holder.epoch, items.number(self.execution, items.PROGRESS)
        self._context: WorkflowContext | None = None

    # ---- what other threads call

    def report(self, what: Callable[[], None]) -> None:
        """Have something done on the turn's thread."""
        self._reports.put(what)

    def poke(self) -> None:
        """Something came for this execution, or the lease was lost: look again."""
        self._reports.put(self._make_dirty)

    def _make_dirty(self) -> None:
        self._dirty = True

    def renewed(self, item: Item) -> None:
        """The heartbeat has read the execution item."""
        if wake_count(item) != self._wake:
            self.poke()

    # ---- the run

    def run(self) -> Item | None:
        """Run to the end of the turn. The execution item if it is finished, None if it sleeps. Raises `Lost`."""
        try:
            if self._rests():
                return None
            while True:
                try:
                    return self._drive()
                except _Reload:
                    self.replay.close()
                    self._read_again()
        finally:
            self._attempts.cancel_all()
            self.replay.close()

    def finish_unstarted(self) -> Item:
        """End an execution that was cancelled before its body ever ran."""
        return self._finish("cancelled", {})

    def wait_for_slot(self, place: str) -> bool:
        """Suspend in line for a slot. False: something came meanwhile, so try again."""
        ran = items.number(self.execution, items.RAN)
        try:
            self._give_back({items.STATUS: "queued", items.WAITING_SK: place, items.RAN: ran})
        except _Reload:
            self._read_again()
            return False
        return True

    def load_history(self) -> None:
        """Read the partition, and take it for this replay. 1 request per MB."""
        self.lease.check()
        found = self.engine.table.query(self.execution_id)
        self.history = History.of(found, self.execution)
        self.replay.history = self.history

    def _read_again(self) -> None:
        """The wake count first, then the records: what comes in between moves the count on."""
        self.lease.check()
        item = self.engine.table.get(items.execution(self.execution_id))
        if item is None or items.number(item, items.EPOCH) != self.lease.holder.epoch:
            raise Lost(self.execution_id)
        self.execution = item
        self._wake = wake_count(item)
        self._cancel = items.text(item, items.CANCEL)
        self._paused = items.PAUSED in item
        self._dirty = False
        self.load_history()

    def _rests(self) -> bool:
        """Whether there is nothing to do yet: a backoff has not passed, or deaths in a row ask for a pause (L14)."""
        first = self.lease.holder.epoch == 1
        if not first:
            self.load_history()
        epoch = self.lease.holder.epoch
        base = max(items.number(self.execution, items.PROGRESS), self.history.newest_epoch)
        deaths = epoch - 1 - base
        limits = self.engine.limits
        if deaths >= limits.max_deaths:
            error = CrashLoopError(self.execution_id, deaths)
            self._ended = self._finish("failed", self._failure(error, 1))
            return False
        not_before = items.number(self.execution, items.NOT_BEFORE)
        now = self.engine.now()
        if deaths >= 2 and items.number(self.execution, items.DELAYED_DEATHS) != deaths:
            not_before = now + int(limits.death_delays[deaths - 2] * 1000)
            self.arm(not_before, "deaths")
            extra: dict[str, Value] = {items.DELAYED_DEATHS: deaths, items.NOT_BEFORE: not_before}
        else:
            extra = {}
        if (not_before <= now and not self._paused) or self._cancel:
            return False
        try:
            status = "waiting" if items.number(self.execution, items.RAN) else "queued"
            self._give_back({items.STATUS: status, items.PROGRESS: base + 1, **extra})
        except _Reload:
            return False
        return True

    def _make_body(self) -> Body:
        self.replay = Replay(self.history)
        self.replay.body, self._context = body.make(self)
        return self.replay.body

    def poke_body(self) -> None:
        self._reports.put(lambda: None)

    def stored_payload(self) -> str:
        """The payload's text: from the start message, the execution item, or the item beside it."""
        stored = self.payload or Stored.of_item(self.execution, items.INPUT)
        if stored.data is None and stored.pointer is None:
            kept = self.history.attached.get(items.INPUT_ITEM)
            if kept is None and not self.history.loaded:
                kept = self.engine.table.get(items.Key(self.execution_id, items.INPUT_ITEM))
            stored = Stored.of_item(kept or {})
        return self.engine.vault.fetch(stored)

    def _drive(self) -> Item | None:
        if self._ended is not None:
            return self._ended
        running = self._make_body()
        while True:
            self.lease.check()
            running.advance()
            if self.replay.fault is not None:
                return self._finish("failed", self._failure(self.replay.fault, 1))
            if running.done:
                return self._body_ended(running)
            if self._deliver_next() or self._strike() or self._begin_fresh():
                continue
            if self._dirty:
                self._refresh()
            elif self._decide_expiries() or self._retry_due():
                continue
            elif not self._wait(running):
                return self._rest_or_hand_over(running)

    # ---- moving the body

    def _deliver_next(self) -> bool:
        """Deliver one outcome: the recorded next one, or else the earliest that is there."""
        replay = self.replay
        if self.history.cancel_at == replay.tick and replay.branch == 0:
            children.send_cancels(self)
            replay.throw_cancel()
            return True
        forced = replay.recorded_next()
        if replay.fault is not None:
            return True
        if forced is not None:
            self._deliver(forced)
            return True
        ready = [(when, op.opened, op) for op in replay.open.values() if (when := self._ready(op)) is not None]
        if not ready:
            return False
        self._deliver(min(ready, key=lambda entry: entry[:2])[2])
        return True

    def _ready(self, operation: Operation) -> int | None:
        """When an operation's outcome came (ms), if it is there."""
        if isinstance(operation.request, Sleep):
            due = self._waits.sleep_due(operation)
            return due if due is not None and due <= self.engine.now() else None
        if isinstance(operation.request, StartBatch) and operation.request.wait:
            return children.batch_ready(self, operation, operation.request)
        record = self.history.decided(operation.key)
        return None if record is None else items.number(record, items.AT)

    def _deliver(self, operation: Operation) -> None:
        value, error = None, None
        request = operation.request
        if isinstance(request, StartBatch) and request.wait:
            if children.batch_ready(self, operation, request) is None:
                raise _Reload
            value = children.batch_results(self, operation, request)
        elif not isinstance(request, Sleep):
            record = self.history.decided(operation.key)
            if record is None:
                raise _Reload  # an order names an outcome that this turn has not read
            if isinstance(request, AwaitEvent) and self._progress < items.number(record, items.EPOCH) < self._epoch:
                self._waits.remove_waiter(operation, request)  # who decided it may have died before doing so
            if items.FAILURE in record:
                error = Failure.from_json(items.document(record, items.FAILURE)).error(operation.key)
            elif isinstance(request, Run | AwaitEvent | AwaitResume | StartChild | StartBatch):
                revive = request.children[0].revive if isinstance(request, StartBatch) else request.revive
                try:
                    value = revive(self.engine.vault.fetch_item(record))
                except StepExecutionError as bad:
                    bad.step_key = operation.key
                    error = bad
        self.replay.deliver(operation, value, error)

    def adopt(self, operation: Operation, item: Item) -> None:
        """Take in the record of an open operation, one's own or that of whoever was first."""
        self.history.add(item)
        self.replay.check_kind(operation.key, operation.request, self.history.kind(operation.key))

    def arm(self, due: int, name: str) -> None:
        """Send a wake for `due`, and remember that nobody can have used it up unless the wake count moves."""
        self.lease.check()
        self.engine.arm(self.execution_id, self.workflow.id, due, name)
        self._armed_here[due] = self._wake

    def _strike(self) -> bool:
        """Record the position of a cancel, or of the end of the time limit, once nothing else is there to deliver."""
        if self.replay.branch or self.history.cancel_at is not None:
            return False
        limit = self._limit()
        mode = self._cancel or ("timeout" if limit is not None and limit <= self.engine.now() else "")
        if not mode:
            return False
        self._flush()
        self.lease.check()
        try:
            item = self.engine.ledger.cancel_at(self.lease.holder, self.replay.tick, mode)
        except ConditionFailed:
            raise Lost(self.execution_id) from None
        self.execution = self.history.execution = item
        self._cancel = items.text(item, items.CANCEL)
        if items.number(item, items.CANCEL_AT) != self.replay.tick:
            raise _Reload
        return True

    def _limit(self) -> int | None:
        """When the execution times out (ms), if it does."""
        seconds = self.options.get("timeout")
        return None if seconds is None else items.number(self.execution, items.CREATED) + int(seconds * 1000)

    def _begin_fresh(self) -> bool:
        """Begin what the body newly asks for. Whatever it asks for may follow from the order of what it was handed."""
        self._drop_abandoned()
        fresh = self.replay.take_fresh()
        if not fresh:
            return False
        self._flush()
        for position, operation in enumerate(fresh):
            if isinstance(operation.request, Run) and self._too_late():
                self.replay.fresh = fresh[position:]
                return False
            self._begin(operation)
        return True

    def _begin(self, operation: Operation) -> None:
        self.lease.check()
        record = self.history.records.get(operation.key)
        match operation.request:
            case Run():
                if not self._attempts.begun(operation.key) and self._attempts.due(operation.key) is None:
                    self._attempts.start(operation)
            case Sleep() as request:
                if record is None and self._waits.sleep_due(operation) is None:
                    self._waits.begin_sleep(operation, request)
            case AwaitEvent() as request:
                self._waits.begin_event(operation, request)
            case AwaitResume() as request:
                self._waits.begin_suspend(operation, request)
            case StartChild() as request:
                children.begin(self, operation, request)
            case StartBatch() as request:
                children.begin_batch(self, operation, request)
            case Publish() as request:
                publishing.begin_publish(self, operation, request)
            case ResumeOther() as request:
                publishing.begin_resume(self, operation, request)

    def _drop_abandoned(self) -> None:
        """The body has given up on these: stop what runs, and let no event wake the execution for them.

        That is an effect too: if the race were then decided the other way, nobody would wake the body for the wait.
        """
        if any(self._attempts.begun(one.key) or self._may_have_waiter(one) for one in self.replay.abandoned):
            self._flush()
        for operation in self.replay.abandoned:
            self._attempts.cancel(operation.key)
            if isinstance(operation.request, AwaitEvent) and self._may_have_waiter(operation):
                self._waits.remove_waiter(operation, operation.request)
                self.waiters_known.discard(operation.key)
        self.replay.abandoned = []

    def _may_have_waiter(self, operation: Operation) -> bool:
        """Whether an event may still wake the execution for a wait: an owner that died may have registered it."""
        return isinstance(operation.request, AwaitEvent) and (
            operation.key in self.waiters_known or self._epoch - 1 > self._progress
        )

    def _flush(self) -> None:
        """Write the order of the outcomes handed out since the last effect, before the next (L8)."""
        if not self.replay.unwritten:
            return
        self.lease.check()
        tick, attributes = self.replay.order_item()
        key = items.order(self.execution_id, self.replay.branch, tick)
        stored = self.engine.ledger.note(key, {**attributes, items.EPOCH: self.lease.holder.epoch})
        if any(stored.get(name) != attributes[name] for name in attributes):
            raise _Reload
        self.replay.order_written()

    # ---- time

    def _decide_expiries(self) -> bool:
        now, decided = self.engine.now(), False
        for operation in list(self.replay.open.values()):
            due = self._waits.due(operation)
            if due is None or due > now:
                continue
            if isinstance(operation.request, AwaitEvent):
                self._waits.look(operation, operation.request)
                decided = True
            elif isinstance(operation.request, AwaitResume):
                self._waits.decide_expiry(operation)
                decided = True
        return decided

    def _retry_due(self) -> bool:
        now, started = self.engine.now(), False
        for operation in list(self.replay.open.values()):
            due = self._attempts.due(operation.key) if isinstance(operation.request, Run) else None
            if due is not None and due <= now and not self._too_late():
                self._attempts.start(operation)
                started = True
        return started

    def _too_late(self) -> bool:
        """Whether the invocation ends so soon that no new step may start (L15)."""
        left = self.remaining()
        return self._paused or (left is not None and left < self.engine.limits.stop_before)

    def _next_due(self) -> int | None:
        """The earliest moment (ms) at which something of this execution is due."""
        dues = [self._limit() if not self.replay.branch and self.history.cancel_at is None else None]
        for operation in self.replay.open.values():
            if isinstance(operation.request, Run):
                dues.append(self._attempts.due(operation.key))
            elif isinstance(operation.request, Sleep):
                dues.append(self._waits.sleep_due(operation))
            else:
                dues.append(self._waits.due(operation))
        return min((due for due in dues if due is not None), default=None)

    def _must_stay(self, due: int) -> bool:
        """Whether a due time is so near that another clock may have used up its wake already.

        A wake that this turn sent itself, with no mark since, can't have been used up: it may suspend at once.
        """
        if due - self.engine.now() > self.engine.limits.near * 1000:
            return False
        return self._armed_here.get(due) != self._wake

    def _wait(self, running: Body) -> bool:
        """Wait for whatever can move the body in this process. False: nothing can; or it is time to hand over."""
        timeouts: list[float] = []
        now = self.engine.now()
        due = self._next_due()
        if due is not None and (self._attempts.running or self._must_stay(due)):
            timeouts.append(max(0.0, (due - now) / 1000))
        stays = bool(timeouts) or self._attempts.running or running.busy or running.quiet_for is not None
        if not stays or (self._too_late() and not self._attempts.running):
            return False
        if running.quiet_for is not None:
            timeouts.append(running.quiet_for)
        left = self.remaining()
        if left is not None:
            limits = self.engine.limits
            if left <= limits.cancel_before:
                self._attempts.cancel_all()
                return False
            timeouts.append(left - (limits.cancel_before if self._too_late() else limits.stop_before) + 0.001)
        try:
            self._reports.get(timeout=max(0.0, min(timeouts)) if timeouts else None)()
            while True:
                self._reports.get_nowait()()
        except queue.Empty:
            return True

    def _refresh(self) -> None:
        """A mark came: read again, and go on with this body unless others have gone another way."""
        before = self.replay
        self._read_again()
        if before.contradicts(self.history):
            raise _Reload
        for operation in list(self.replay.open.values()):
            self.replay.check_kind(operation.key, operation.request, self.history.kind(operation.key))
            if isinstance(operation.request, AwaitEvent):
                self._waits.look(operation, operation.request)

    # ---- ends of a turn

    def _rest_or_hand_over(self, running: Body) -> Item | None:
        movable = bool(self.replay.fresh) or running.busy or running.quiet_for is not None
        due = self._next_due()
        if movable or (due is not None and due <= self.engine.now()) or self._attempts.running:
            self.lease.check()
            self.engine.wake(self.execution_id, self.workflow.id)
            self._give_back({items.STATUS: "running"})
            return None
        if not self.replay.open:
            error = UsageError(
                "The workflow waits for something that nothing durable will ever bring about (a bare asyncio.Event or "
                "Future). Wait with ctx.step calls."
            )
            return self._finish("failed", self._failure(error, 1))
        limit = self._limit()
        if limit is not None and not items.number(self.execution, items.RAN):
            self.arm(limit, "limit")
        self._give_back({items.STATUS: "waiting", items.WAITING_FOR: self._shown()})
        return None

    def _give_back(self, attributes: dict[str, Value]) -> None:
        """Suspend, unless something came: then read again. Raises `_Reload` and `Lost`."""
        self.lease.check()
        spent = [*items.strings(self.execution, items.SPENT), self.spent_tag][-self.engine.limits.spent :]
        if items.WAITING_SK in self.execution:
            attributes = {items.WAITING_SK: "", **attributes}
        try:
            self.engine.ledger.suspend(self.lease.holder, self._wake, spent, attributes)
        except ConditionFailed as failed:
            item = failed.item
            if item is None or items.number(item, items.EPOCH) != self.lease.holder.epoch or items.ENDED in item:
                raise Lost(self.execution_id) from None
            if items.LEASE_TOKEN in item:
                raise _Reload from None

    def _shown(self) -> str:
        """What the execution waits for, in short: kind, key; of an event also the topic and since when."""
        shown: list[list[Any]] = []
        for operation in self.replay.open.values():
            entry: list[Any] = [operation.request.kind, operation.key]
            if isinstance(operation.request, AwaitEvent):
                entry += [operation.request.topic, self.waits_began.get(operation.key, 0)]
            shown.append(entry)
        text = json.dumps(shown[:_WAITING_SHOWN], separators=(",", ":"), ensure_ascii=False)
        return text if len(text) <= 600 else json.dumps([[kind, key[:40]] for kind, key, *_ in shown[:4]])

    def _shown_before(self) -> list[list[Any]]:
        raw = self.execution.get(items.WAITING_FOR)
        return json.loads(raw) if isinstance(raw, str) else []

    def _body_ended(self, running: Body) -> Item | None:
        self._flush()
        self._drop_abandoned()
        item = self.execution
        try:
            result, error = running.result(), None
        except BaseException as raised:  # noqa: BLE001 - whatever the body raises is the execution's outcome
            result, error = None, raised
        if isinstance(error, ContinueAsNew):
            return self._continue(error)
        if self.replay.branch:
            status = "timed_out" if self._cancel == "timeout" else "cancelled"
            own = error is not None and isinstance(error, Exception)
            return self._finish(status, self._failure(error, 1) if own and error else {})
        if error is None:
            try:
                text = codec.roundtrip(result, self.workflow.result_annotation)[0]
                return self._finish("completed", self._result(text))
            except PolosError as bad:
                error = bad
        retries = items.number(item, items.RETRIES)
        if isinstance(error, PolosError) or not isinstance(error, Exception) or retries >= self.workflow.max_retries:
            return self._finish(
                "failed", {**self._dropped(error), **self._failure(error, retries + 1)}
            )
        due = self.engine.now() + int(min(2.0**retries, _RETRY_CAP) * 1000)
        self.arm(due, f"retry{retries}")
        retry: dict[str, Value] = {items.RETRIES: retries + 1, items.NOT_BEFORE: due}
        self._give_back({items.STATUS: "waiting", items.WAITING_FOR: "[]", **retry})  # its waiters are gone
        return None

    def _continue(self, successor: ContinueAsNew) -> Item:
        """Start the successor, then end: it takes the place of this execution for everybody who asks."""
        start = successors.start_of(self, successor.payload)
        self.lease.check()
        self.engine.backend.inbox.send([start.message()])
        return self._finish("completed", {items.NEXT: start.execution_id})

    def _dropped(self, error: BaseException) -> dict[str, Value]:
        """What a retry would drop."""
        since = self.replay.since_failure(error)
        if since is None:
            return {}
        return {items.DROPPED: items.as_document({"from": since[0], "keys": since[1]})}

    def _failure(self, error: BaseException, attempts: int) -> dict[str, Value]:
        """The exception that ended the body, under its own class and text, as attributes of the execution."""
        failure = replace(Failure.from_exception(error, attempts), type=type(error).__name__, message=str(error))
        text = items.as_document(failure.to_json())
        if len(text) > 2000:
            text = items.as_document({**failure.to_json(), "message": failure.message[:500],
                                      "traceback": (failure.traceback or "")[-1000:]})  # fmt: skip
        return {items.FAILURE: text}

    def _result(self, text: str) -> dict[str, Value]:
        stored = self.engine.stash(text, self.execution_id, f"The result of workflow {self.workflow.id!r}")
        if stored.size <= commands.ON_EXECUTION_ITEM:
            return stored.attributes(items.RESULT)
        self.lease.check()
        key = items.Key(self.execution_id, items.RESULT_ITEM)
        self.engine.table.put(items.keyed(key, stored.attributes()))
        return {}

    def _final_state(self) -> dict[str, Value]:
        state = None if self._context is None else self._context.state
        if state is None:
            return {}
        try:
            text = codec.encode(state)
        except SerializationError:
            return {}
        stored = self.engine.stash(text, self.execution_id, f"The state of workflow {self.workflow.id!r}")
        if stored.size <= commands.ON_EXECUTION_ITEM:
            return stored.attributes(items.FINAL_STATE)
        self.lease.check()
        key = items.Key(self.execution_id, items.STATE_ITEM)
        self.engine.table.put(items.keyed(key, stored.attributes()))
        return {}

    def _finish(self, status: str, outcome: dict[str, Value]) -> Item:
        """The terminal write. Whoever was first stands; the stored item is returned for the duties."""
        outcome = {**self._final_state(), **outcome}
        self.lease.check()
        now = self.engine.now()
        ttl = now // 1000 + int(self.engine.limits.retention)
        try:
            return self.engine.ledger.finish(
                self.lease.holder, {items.STATUS: status, items.ENDED: now, items.TTL: ttl, **outcome}
            )
        except ConditionFailed as failed:
            if failed.item is not None and items.ENDED in failed.item:
                return failed.item
            raise Lost(self.execution_id) from None
