"""The spans of one replay of a body: of its own blocks, and of what it waited for. `polos.tracing` writes them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from polos.core.failures import Failure
from polos.core.replay import Operation, Replay
from polos.tracing import Tracer, span_id

if TYPE_CHECKING:
    from polos.tracing import Span, SpanContext


@dataclass(frozen=True, slots=True)
class _Held:
    tick: int
    write: Callable[[], None]


class Spans:
    """What one replay has to tell, held back until it is stored that no other replay will.

    No single invocation records that a block of the body has ended, or a child. So their spans wait for the turn's
    suspension or end, which stores up to which tick of the replay spans are `written`; later replays write only those
    of later ticks. Their times are those of the outcomes that the body was handed, the same in every replay.

    `own` is the id of the execution's span. A whole-execution retry runs the body's last piece anew, so the ids of
    blocks count those retries.
    """

    def __init__(
        self,
        tracer: Tracer,
        replay: Replay,
        *,
        execution_id: str,
        generation: int,
        retries: int,
        own: int,
        written: int,
    ) -> None:
        self.tracer, self._replay = tracer, replay
        self._execution_id, self._generation, self._retries = execution_id, generation, retries
        self._own, self._written = own, written
        self._blocks: dict[str, int] = {}
        self._held: list[_Held] = []

    def enter(self) -> None:
        """Make the execution's span the active one of the current context."""
        self.tracer.enter(self.tracer.at(self._own))

    def parent_of(self, operation: Operation) -> SpanContext:
        """The block that an operation was asked for in, or else the execution's own span."""
        return operation.context.copy().run(self._parent)

    def _parent(self) -> SpanContext:
        return self.tracer.current() or self.tracer.at(self._own)

    @contextlib.contextmanager
    def block(self, name: str, attributes: Mapping[str, Any]) -> Generator[Span]:
        """A span around a piece of the body, however many invocations run it."""
        number = self._blocks[name] = self._blocks.get(name, 0) + 1
        own = span_id(self._execution_id, self._generation, "block", str(self._retries), name, str(number))
        span = self.tracer.start(name, own, self._parent(), self._replay.moment, attributes)
        token = self.tracer.enter(span)
        failure: Failure | None = None
        try:
            yield span
        except Exception as error:
            failure = Failure.from_exception(error, 1)
            raise
        finally:
            self.tracer.leave(token)
            if not self._replay.closing:
                ended = self._replay.moment
                self._hold(lambda: self.tracer.end(span, ended, failure))

    def waited(
        self,
        operation: Operation,
        name: str,
        own: int,
        began: int,
        attributes: Mapping[str, Any],
        error: Exception | None,
    ) -> None:
        """A span for what the body has just been handed the outcome of."""
        parent, ended = self.parent_of(operation), self._replay.moment

        def write() -> None:
            span = self.tracer.start(name, own, parent, min(began, ended), attributes)
            self.tracer.end(span, ended, None if error is None else Failure.from_exception(error, 1))

        self._hold(write)

    def _hold(self, write: Callable[[], None]) -> None:
        if self._replay.tick > self._written:
            self._held.append(_Held(self._replay.tick, write))

    @property
    def held(self) -> bool:
        return bool(self._held)

    def run_failed(self) -> None:
        """The last piece of the body may run anew, as another run: the blocks that it left are written for this one."""
        last = self._replay.tick - 1
        self._held = [_Held(min(one.tick, last), one.write) for one in self._held]

    def until(self, *, again: bool = False) -> int:
        """The tick up to which spans count as written from now on. `again`: the last piece of the body runs anew."""
        return max(self._written, self._replay.tick - again)

    def write(self, until: int) -> None:
        """Write what was held back, up to a tick."""
        held, self._held = self._held, []
        for one in held:
            if one.tick <= until:
                one.write()
