"""One replay of a workflow body against its history: open operations, keys, the order of deliveries. Pure.

Outcomes are handed to the body one at a time, and the body runs until it is quiet between two. Where more than one
operation is open, the order is noted and must be written before the next effect (L8). What affects a replay lives here.
Laws: L1, L3, L4, L6, L7, L8.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import json
import sys
from dataclasses import dataclass, field
from typing import Any, Final, cast

from polos.core import items
from polos.core.conditions import Item
from polos.core.history import History
from polos.core.identity import RESERVED, check_step_key
from polos.core.loop import Body
from polos.core.operations import Request
from polos.errors import DuplicateStepKeyError, InvalidPayloadError, NonDeterminismError, UsageError

_ORDER_BYTES: Final = 300_000
"""An item has at most 400 KB (Amazon DynamoDB Developer Guide, "Quotas")."""

_TICK_BYTES: Final = 16


@dataclass(eq=False)
class Operation:
    """One open operation of the body, the `opened`-th that it asked for.

    `context` holds the context variables of the task that asked for it.
    """

    key: str
    request: Request
    future: asyncio.Future[Any]
    opened: int
    context: contextvars.Context

    def about(self, epoch: int) -> Item:
        """What every record and mark of it says: the kind, who writes it, and which of those asked for it was."""
        return {items.KIND: self.request.kind, items.EPOCH: epoch, items.ASKED: self.opened}


@dataclass
class Replay:
    """The state of one replay. `tick` counts deliveries; `branch` is 1 after a cancel was thrown.

    `moment` (ms) is when the newest outcome came that the body has been handed: the time as the body has seen it.
    """

    history: History
    body: Body | None = None
    open: dict[str, Operation] = field(default_factory=dict[str, Operation])
    seen: set[str] = field(default_factory=set[str])
    used: set[str] = field(default_factory=set[str])
    fresh: list[Operation] = field(default_factory=list[Operation])
    abandoned: list[Operation] = field(default_factory=list[Operation])
    trail: dict[tuple[int, int], str] = field(default_factory=dict[tuple[int, int], str])
    failures: list[tuple[BaseException, tuple[int, int]]] = field(
        default_factory=list[tuple[BaseException, tuple[int, int]]]
    )
    unwritten: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    cleanups: list[tuple[BaseException, str]] = field(default_factory=list[tuple[BaseException, str]])
    raised: list[tuple[BaseException, tuple[int, int]]] = field(
        default_factory=list[tuple[BaseException, tuple[int, int]]]
    )
    tick: int = 0
    branch: int = 0
    closing: bool = False
    moment: int = 0
    asked_new: bool = False
    fault: NonDeterminismError | None = None

    async def perform(self, key: str, request: Request) -> Any:
        """Called by the body: open an operation and wait for its outcome.

        Raises `DuplicateStepKeyError` at a key that this execution has used before, `UsageError` on another loop than
        the body's, which would never hear of the outcome, and what the operation failed with. While the turn unwinds
        the body it never returns and does nothing.
        """
        if self.body is not None and asyncio.get_running_loop() is not self.body.loop:
            raise UsageError(
                f"Step {key!r} was called on another event loop than that of the workflow, in a thread or by "
                f"asyncio.run. Only the workflow itself can await steps: make it an async def, and call ctx.step there."
            )
        if self.closing:
            await asyncio.get_running_loop().create_future()
        operation = self._begin(key, request)
        try:
            return await operation.future
        except asyncio.CancelledError:
            if self.open.get(key) is operation:
                del self.open[key]
                self.abandoned.append(operation)
            raise

    def _begin(self, key: str, request: Request) -> Operation:
        check_step_key(key)
        if key.startswith(RESERVED) and request.kind != "hook":
            raise InvalidPayloadError(f"The step key {key!r} begins with {RESERVED!r}, which the runtime keeps.")
        if key in self.used:
            raise DuplicateStepKeyError(key)
        self.used.add(key)
        handled = sys.exception()
        if handled is not None:  # in an `except` or a `finally`
            self.cleanups.append((handled, key))
        self.asked_new = self.asked_new or not self._is_known(key)
        self.check_kind(key, request, self.history.kind(key))
        future = asyncio.get_running_loop().create_future()
        operation = Operation(key, request, future, len(self.used), contextvars.copy_context())
        self.open[key] = operation
        self.fresh.append(operation)
        return operation

    def check_kind(self, key: str, request: Request, recorded: str | None) -> None:
        """Note a fault if the key was recorded as another kind of step; the turn ends the execution with it."""
        if recorded is not None and recorded != request.kind and self.fault is None:
            self.fault = NonDeterminismError(key, recorded, request.kind)

    @property
    def replaying(self) -> bool:
        """Whether the body is still behind what was recorded.

        Some recorded outcome has not been handed to it, or it has not come to what it waited for when it was suspended;
        and it has asked for nothing new yet, as it does after an edit that removed a step.
        """
        if self.asked_new:
            return False
        unseen = any(self.history.decided(key) is not None for key in self.history.records.keys() - self.seen)
        return unseen or not self.at_the_front() or not self._waited <= self.used

    @functools.cached_property
    def _waited(self) -> set[str]:
        """The keys that were open at the last suspension, as far as the execution item tells."""
        return {entry[1] for entry in json.loads(items.text(self.history.execution, items.WAITING_FOR, "[]"))}

    def _is_known(self, key: str) -> bool:
        history = self.history
        return key in history.records or key in history.marks or key in history.batches or key in self._waited

    def at_the_front(self) -> bool:
        """Whether nothing is on record that the body has not come to yet: it is where no turn was before."""
        known = self.history.records.keys() | self.history.marks.keys() | self.history.batches.keys()
        return known <= self.used

    def recorded_next(self) -> str | None:
        """The key of the operation that earlier turns observed at this tick, if several were open then."""
        return self.history.orders.get((self.branch, self.tick))

    def never_opened(self, key: str) -> None:
        """Note a fault: the body is idle and has not asked for what it was handed at this point before."""
        if self.fault is None:
            self.fault = NonDeterminismError(key, "the next outcome of a race", "a step that is not open")

    def deliver(self, operation: Operation, value: Any, error: BaseException | None) -> None:
        """Hand one outcome to the body and note the order if there was a choice."""
        if len(self.open) > 1 and (self.branch, self.tick) not in self.history.orders:
            self.unwritten.append((self.tick, operation.key))
        del self.open[operation.key]
        self.seen.add(operation.key)
        self.trail[self.branch, self.tick] = operation.key
        self.tick += 1
        if error is None:
            operation.future.set_result(value)
        else:
            self.failures.append((error, (self.branch, self.tick - 1)))
            operation.future.set_exception(error)
            operation.future.exception()  # a body that drops the task must not make asyncio complain at each replay

    def contradicts(self, history: History) -> bool:
        """Whether what others have written since goes another way than this replay went: it must start again."""
        for place, key in history.orders.items():
            if self.trail.get(place, key) != key:
                return True
        strikes = history.cancel_at
        return strikes is not None and self.branch == 0 and strikes < self.tick

    def since_failure(self, error: BaseException) -> tuple[tuple[int, int], list[str]] | None:
        """Where the body was handed the failure that ended it, and the keys observed from there on.

        Where the body raised it by itself, that is where its cleanup was handed the first outcome, or where a task of
        it ended with it, for then others are cancelled. None if nothing on record is the cause, or comes after it.
        """
        chain = _chain(error)
        after = {key for raised, key in self.cleanups if any(raised is one for one in chain)}
        places = [place for failure, place in self.failures if any(failure is one for one in chain)]
        places += [place for place, key in self.trail.items() if key in after]
        places += [place for raised, place in self.raised if any(raised is one for one in chain)]
        keys = [key for place, key in self.trail.items() if place >= min(places)] if places else []
        return (min(places), keys) if keys else None

    def ended_with(self, error: BaseException) -> None:
        """The body, or a task of it, has ended with this."""
        self.raised.append((error, (self.branch, self.tick)))

    def blame(self, error: BaseException, key: str) -> None:
        """Count an outcome that the body was handed as the cause of a failure, so that a retry drops it."""
        self.failures += [(error, place) for place, delivered in self.trail.items() if delivered == key]

    def throw_cancel(self) -> None:
        """Raise CancelledError at the body's current await. The position is already recorded."""
        assert self.body is not None
        self.tick += 1
        self.branch = 1
        self.body.cancel()

    def take_fresh(self) -> list[Operation]:
        """The operations opened since the last call, without those that were abandoned at once."""
        fresh = [operation for operation in self.fresh if self.open.get(operation.key) is operation]
        self.fresh = []
        return fresh

    def order_item(self) -> tuple[int, Item]:
        """The first unwritten tick, and the attributes of one order item: for all of them, or for as many as it holds.

        What is on record after a crash between two is the beginning of the order, which any later turn goes on from.
        """
        left, part = _ORDER_BYTES, list[tuple[int, str]]()
        for tick, key in self.unwritten:
            left -= _TICK_BYTES + len(key.encode())
            if left < 0 and part:
                break
            part.append((tick, key))
        return part[0][0], {items.TICKS: [tick for tick, _ in part], items.KEYS: [key for _, key in part]}

    def order_written(self, count: int) -> None:
        """The first `count` of the unwritten ones are on record."""
        self.history.orders.update({(self.branch, tick): key for tick, key in self.unwritten[:count]})
        self.unwritten = self.unwritten[count:]

    def close(self) -> None:
        """Unwind the body. No operation acts from here on."""
        if self.closing:
            return
        self.closing = True
        if self.body is not None:
            self.body.close()


def _chain(error: BaseException) -> list[BaseException]:
    """An exception with its causes, contexts and members of groups."""
    found: list[BaseException] = []
    left: list[BaseException | None] = [error]
    while left:
        one = left.pop()
        if one is None or any(one is known for known in found):
            continue
        found.append(one)
        left += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            left += cast("BaseExceptionGroup[BaseException]", one).exceptions
    return found
