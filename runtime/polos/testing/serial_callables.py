"""Step callables one after the other, on the thread of their invocation; async ones on one loop of the environment.

The next one begins when the turn has nothing else to do. Callables of one invocation that wait for each other must be
async. Knows nothing of records.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import threading
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from polos import current
from polos.engine.callables import AttemptCancelled, AttemptTimeout, Callables, Running, is_async
from polos.testing.harness import Crash
from polos.testing.serial import Process, Serial

Ended = Callable[[Any, BaseException | None], None]


class _Call:
    """One callable under way."""

    def __init__(
        self,
        process: Process,
        call: Callable[[], Any],
        asynchronous: bool,
        context: contextvars.Context,
        timeout: float | None,
        ended: Ended,
    ) -> None:
        self.process, self.call, self.asynchronous = process, call, asynchronous
        self.context, self.timeout, self.ended = context, timeout, ended
        self.key = step.key if (step := context.get(current.step)) is not None else ""
        self.cancelled = False
        self.task: asyncio.Task[Any] | None = None
        self.late_until: float | None = None
        self.outcome: tuple[Any, BaseException | None] | None = None

    def cancel(self) -> None:
        self.cancelled = True
        if self.task is not None:
            self.task.cancel()


class SerialCallables(Callables):
    """The callables of one environment. `slow(process, key)` says for how many virtual seconds a callable goes on."""

    def __init__(self, serial: Serial, slow: Callable[[Process, str], float]) -> None:
        super().__init__()
        self._serial, self._slow = serial, slow
        self._calls: list[_Call] = []
        self._later: list[tuple[Process, Callable[[], object]]] = []
        self._own: asyncio.AbstractEventLoop | None = None

    def loop(self) -> asyncio.AbstractEventLoop:
        if self._own is None:
            self._own = asyncio.new_event_loop()
        return self._own

    def start(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        *,
        context: contextvars.Context,
        timeout: float | None,
        ended: Ended,
    ) -> Running:
        process = self._serial.process
        assert process is not None
        bound = functools.partial(func, *args, **kwargs)
        call = _Call(process, bound, is_async(func), context, timeout, ended)
        self._calls.append(call)
        return Running(call.cancel)

    def later(self, seconds: float, call: Callable[[], object]) -> None:
        process = self._serial.process
        assert process is not None
        self._later.append((process, call))

    def work(self, timeout: float | None) -> float | None:
        """On an invocation that waits: have one of its callables end.

        Returns for how long it has to wait after that, 0 if something was reported; None: it waits for something real.
        """
        process = self._serial.process
        for entry in [entry for entry in self._later if entry[0] is process]:
            self._later.remove(entry)
            entry[1]()
            return 0.0
        mine = [call for call in self._calls if call.process is process]
        for call in mine:
            if call.cancelled and (call.task is None or call.late_until is not None):
                return self._end(call, None, AttemptCancelled())
        ready = [call for call in mine if call.late_until is None]
        if ready:
            return self._run_one(ready)
        now = self._serial.clock.monotonic()
        for call in mine:
            if call.late_until is not None and call.late_until <= now and call.outcome is not None:
                return self._end(call, *call.outcome)
        late = [call.late_until - now for call in mine if call.late_until is not None]
        if late:
            return min([*late, *([] if timeout is None else [timeout])])
        return timeout if timeout is not None and timeout <= NEAR else None

    def _run_one(self, ready: list[_Call]) -> float:
        for call in ready:
            if call.asynchronous and call.task is None:
                self._begin_async(call)
        plain = [call for call in ready if not call.asynchronous]
        if plain:
            return self._finish(plain[0], *self._call_plain(plain[0]))
        tasks = [call.task for call in ready if call.task is not None]
        self.loop().run_until_complete(asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED))
        ended = next(call for call in ready if call.task is not None and call.task.done())
        assert ended.task is not None
        value, error = ended.task.result()
        return self._finish(ended, value, error)

    def _call_plain(self, call: _Call) -> tuple[Any, BaseException | None]:
        if call.timeout is None:
            return call.context.run(_outcome, call.call)
        answers: list[tuple[Any, BaseException | None]] = []
        thread = threading.Thread(
            target=lambda: answers.append(call.context.run(_outcome, call.call)), name="polos-step", daemon=True
        )
        thread.start()
        thread.join(call.timeout)
        return answers[0] if answers else (None, AttemptTimeout(call.timeout))

    def _begin_async(self, call: _Call) -> None:
        loop = self.loop()

        async def main() -> tuple[Any, BaseException | None]:
            limit = asyncio.timeout(call.timeout)
            try:
                async with limit:
                    return await call.call(), None
            except TimeoutError as error:
                return None, AttemptTimeout(call.timeout or 0) if limit.expired() else error
            except asyncio.CancelledError as error:
                return None, AttemptCancelled() if call.cancelled else error
            except BaseException as error:  # noqa: BLE001 - whatever user code raises is the outcome of the attempt
                return None, error

        call.task = loop.create_task(main(), context=call.context)

    def _finish(self, call: _Call, value: Any, error: BaseException | None) -> float:
        """The callable has ended in real time; in virtual time it may go on."""
        if error is None and inspect.iscoroutine(value):  # a plain callable that returns one: partial, lambda
            coroutine: Coroutine[Any, Any, Any] = value
            call.call, call.asynchronous = (lambda: coroutine), True
            return self._run_one([call])
        seconds = self._slow(call.process, call.key)
        if seconds:
            call.late_until = self._serial.clock.monotonic() + seconds
            call.outcome = (value, error)
            return 0.0
        return self._end(call, value, error)

    def _end(self, call: _Call, value: Any, error: BaseException | None) -> float:
        self._calls.remove(call)
        call.ended(value, error)
        return 0.0

    def forget(self, process: Process) -> None:
        """An invocation has ended: what it left under way ends without a report."""
        for entry in [entry for entry in self._later if entry[0] is process]:
            self._later.remove(entry)
        left = [call for call in self._calls if call.process is process]
        tasks: list[asyncio.Task[Any]] = []
        for call in left:
            self._calls.remove(call)
            if call.task is not None and not call.task.done():
                call.cancel()
                tasks.append(call.task)
        if tasks:
            self.loop().run_until_complete(asyncio.wait(tasks, timeout=1.0))

    def close(self) -> None:
        for process in {call.process for call in self._calls}:
            self.forget(process)
        if self._own is not None:
            self._own.close()


NEAR = 6.0
"""Seconds: a turn waits in process for a due time that is no further away than the allowed skew (5 s)."""


def _outcome(call: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    try:
        return call(), None
    except Crash:
        raise
    except BaseException as error:  # noqa: BLE001 - whatever user code raises is the outcome of the attempt
        return None, error
