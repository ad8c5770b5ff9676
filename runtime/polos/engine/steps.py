"""Running the attempts of a step and recording how each ended. Laws: L1, L2, L11 (at_most_once).

attempt ends well                  put record {decided}            IF undecided; the loser adopts
attempt fails, another follows     SEND wake(due), then put {retrying, n, due}   (record implies sent)
delay under a second               nothing is written; the next attempt starts in this process
at_most_once                       put mark {n} IF no mark of attempt n, before the callable is called
"""

from __future__ import annotations

import contextvars
import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from polos import current
from polos.clock import new_token
from polos.core import items
from polos.core.conditions import Item, Value
from polos.core.failures import Failure
from polos.core.identity import idempotency_key
from polos.core.operations import Run
from polos.core.replay import Operation
from polos.engine import notices, traced
from polos.engine.callables import AttemptCancelled, AttemptTimeout, Running
from polos.engine.lease import Lost
from polos.errors import PayloadTooLargeError, SerializationError, StepExecutionError, StepTimeoutError

if TYPE_CHECKING:
    from polos.engine.turn import Turn
    from polos.tracing import Span

_SUSPEND_FROM = 1.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """A pause after an attempt that failed, too short to suspend for."""

    seconds: float
    failure: Failure


class Attempts:
    """The attempts under way in one turn. Ends are reported through `turn.report`."""

    def __init__(self, turn: Turn) -> None:
        self._turn, self._engine, self._lease = turn, turn.engine, turn.lease
        self._running: dict[str, Running] = {}
        self._short: dict[str, int] = {}
        self._next: dict[str, int] = {}
        self._first: set[str] = set()
        self._began: dict[str, int] = {}

    @property
    def running(self) -> bool:
        return bool(self._running) or bool(self._short)

    @property
    def hopeless(self) -> bool:
        """Whether an attempt is under way that had all of the invocation's time: another one will not fit either."""
        return not self._first.isdisjoint(self._running)

    def begun(self, key: str) -> bool:
        return key in self._running or key in self._short

    def due(self, key: str) -> int | None:
        """When the next attempt of a step is due; None: it is not between two attempts."""
        record = self._turn.history.records.get(key)
        if record is None or record.get(items.STATE) != items.RETRYING or self.begun(key):
            return None
        return items.number(record, items.DUE)

    def start(self, operation: Operation) -> None:
        """Begin an attempt: the one after what is recorded, or after the one that was not."""
        request = operation.request
        assert isinstance(request, Run)
        key = operation.key
        record = self._turn.history.records.get(key)
        recorded = 0 if record is None else items.number(record, items.ATTEMPTS)
        number = max(recorded + 1, self._next.pop(key, 1))
        self._lease.check()
        if request.inline:
            self._take_inline(operation, request)
            return
        if request.at_most_once and not self._first_to_begin(operation, request, number):
            return
        if request.at_most_once:
            self._lease.check()  # the mark may have been slow: then the step counts as interrupted
        before = self._turn.history.records.get(key, {})
        began = self._began.setdefault(key, items.number(before, items.BEGAN, self._engine.now()))
        left, whole = self._turn.remaining(), self._turn.whole
        if left is not None and whole is not None and left >= whole - self._engine.limits.stop_before:
            self._first.add(key)
        try:
            context, seen = self._context(operation, number)
        except Exception as error:  # noqa: BLE001 - the user's state refuses to be copied: the step's failure
            failed = self._failed(operation, request, number, began, error, again=False)
            assert not isinstance(failed, Backoff)
            self._turn.adopt(operation, failed)
            return
        span = traced.begin_attempt(self._turn, operation, number, context)
        self._running[key] = self._engine.callables.start(
            request.func,
            tuple(seen(one) for one in request.args),
            {name: seen(one) for name, one in request.kwargs.items()},
            context=context,
            timeout=request.policy.timeout,
            ended=lambda value, error: self._ended(operation, number, began, span, value, error),
        )

    def _context(self, operation: Operation, number: int) -> tuple[contextvars.Context, Callable[[Any], Any]]:
        """The context of an attempt, and what it sees in place of an argument: of the state a copy, also in `ctx`.

        What it changed in the state itself would be there until the next replay, which does not run it.
        """
        execution_id = self._turn.execution_id
        context = operation.context.copy()
        step = current.CurrentStep(idempotency_key(execution_id, operation.key), number, execution_id, operation.key)
        context.run(current.step.set, step)
        context.run(current.execution.set, execution_id)
        state = None if self._turn.context is None else self._turn.context.state
        copied = copy.deepcopy(state)
        context.run(current.state.set, copied)
        return context, lambda given: copied if given is state else given

    def cancel(self, key: str) -> None:
        """Stop an attempt: an async callable is cancelled, a thread's late result is dropped. Nothing is recorded."""
        running = self._running.get(key)
        if running is not None:
            running.cancel()

    def cancel_all(self) -> None:
        for key in list(self._running):
            self.cancel(key)

    def forget(self, key: str) -> None:
        """An attempt has been reported as ended."""
        self._running.pop(key, None)
        self._short.pop(key, None)

    # ---- one attempt

    def _take_inline(self, operation: Operation, request: Run) -> None:
        text = request.encode(request.func(*request.args, **request.kwargs))
        now = self._engine.now()
        value = self._engine.attributes(text, self._turn.execution_id, f"The result of step {operation.key!r}")
        self._turn.adopt(operation, self._decide(operation, {**value, items.AT: now}))

    def _first_to_begin(self, operation: Operation, request: Run, number: int) -> bool:
        """Mark an at-most-once attempt as begun. False: somebody has begun it before and was interrupted."""
        token = new_token()
        mark = self._engine.ledger.note_attempt(
            items.mark(self._turn.execution_id, operation.key),
            number,
            {**operation.about(self._lease.holder.epoch), items.WRITER: token},
        )
        if mark.get(items.WRITER) == token:
            return True
        error = StepExecutionError(operation.key, "StepExecutionError", "interrupted", number)
        again = request.policy.retry_interrupted and request.policy.again(error, number)
        record = self._failed(operation, request, number, self._engine.now(), error, again)
        assert not isinstance(record, Backoff)
        self._turn.adopt(operation, record)
        return False

    def _ended(
        self,
        operation: Operation,
        attempt: int,
        began: int,
        span: Span | None,
        value: Any,
        error: BaseException | None,
    ) -> None:
        """On a thread of the records: write what an attempt came to, and tell the turn."""
        key = operation.key
        try:
            if isinstance(error, AttemptCancelled):
                self._turn.report(lambda: self._put_back(key))
                return
            self._lease.check()
            outcome = self._outcome(operation, attempt, began, value, error)
            traced.end_attempt(self._turn, span, outcome.failure if isinstance(outcome, Backoff) else outcome)
            if isinstance(outcome, Backoff):
                self._short[key] = attempt
                again = functools.partial(self._turn.report, lambda: self._put_back(key, attempt + 1))
                self._engine.callables.later(self._engine.clock.real_delay(outcome.seconds), again)
            else:
                self._turn.report(lambda: self._settled(operation, outcome))
        except Lost:
            self._turn.report(self._lease.lose)
        except BaseException as fault:  # noqa: BLE001 - the backend failed; the turn raises it on its own thread
            self._turn.report(_raise(fault))

    def _settled(self, operation: Operation, item: Item) -> None:
        self.forget(operation.key)
        self._turn.adopt(operation, item)

    def _put_back(self, key: str, attempt: int | None = None) -> None:
        """No record was left: have the step begun (again) as number `attempt`, if the body still asks for it.

        After a backoff of less than a second, or after an attempt was cancelled and the records were read again.
        """
        self.forget(key)
        asked = self._turn.replay.open.get(key)
        if asked is not None and asked not in self._turn.replay.fresh:
            if attempt is not None:
                self._next[key] = attempt
            self._turn.replay.fresh.append(asked)

    def _outcome(
        self, operation: Operation, attempt: int, began: int, value: Any, error: BaseException | None
    ) -> Item | Backoff:
        """The record of an attempt that ended; or the pause before the next one, if it is under a second."""
        request = operation.request
        assert isinstance(request, Run)
        if error is None:
            try:
                text = request.encode(value)
                what = f"The result of step {operation.key!r}"
                stored = self._engine.attributes(text, self._turn.execution_id, what)
            except (SerializationError, PayloadTooLargeError) as bad:
                error = bad
            else:
                times = {items.AT: self._engine.now(), items.BEGAN: began}
                tries = {items.ATTEMPTS: attempt} if attempt > 1 else {}
                return self._decide(operation, {**stored, **times, **tries})
            return self._failed(operation, request, attempt, began, error, again=False)
        if isinstance(error, AttemptTimeout):
            error = StepTimeoutError(operation.key, "StepTimeoutError", str(error), attempt)
            unknown = request.at_most_once and not request.policy.retry_interrupted  # it may still be carried out
            again = attempt <= request.policy.max_retries and not unknown
        else:
            try:
                again = request.policy.again(error, attempt)
            except Exception as bad:  # noqa: BLE001 - a predicate of the user's that fails is the step's failure
                error, again = bad, False
        return self._failed(operation, request, attempt, began, error, again)

    def _failed(
        self, operation: Operation, request: Run, attempt: int, began: int, error: BaseException, again: bool
    ) -> Item | Backoff:
        failure = Failure.from_exception(error, attempt)
        text = items.as_document(failure.to_json())
        now = self._engine.now()
        if not again:
            return self._decide(
                operation, {items.FAILURE: text, items.AT: now, items.BEGAN: began, items.ATTEMPTS: attempt}
            )
        notices.retries(self._engine, self._turn.workflow.id)
        delay = request.policy.delay(attempt)
        if delay < _SUSPEND_FROM and not request.at_most_once:
            return Backoff(delay, failure)
        due = now + int(delay * 1000)
        self._turn.arm(due, f"{operation.key}#{attempt}")
        self._lease.check()
        return self._engine.ledger.note_attempt(
            items.record(self._turn.execution_id, operation.key),
            attempt,
            {
                **operation.about(self._lease.holder.epoch),
                items.STATE: items.RETRYING,
                items.DUE: due,
                items.FAILURE: text,
                items.BEGAN: began,
            },
        )

    def _decide(self, operation: Operation, attributes: dict[str, Value]) -> Item:
        self._lease.check()
        return self._engine.ledger.decide(
            items.record(self._turn.execution_id, operation.key),
            {**operation.about(self._lease.holder.epoch), **attributes},
        )


def _raise(fault: BaseException) -> Callable[[], None]:
    def raise_it() -> None:
        raise fault

    return raise_it
