"""The event loop of a workflow body, which knows when the body can't move by itself.

Owns: running a body until it is quiet, and closing it at a suspension. Keeps L6 (nothing acts at a suspension) and the
ground of L7 (a turn ends only when nothing can move). It must not know what a step is.

A selector event loop asks its selector to wait with `timeout=None` exactly when no callback is ready and no timer is
set, and with a positive timeout when only timers are left. The selector here never waits: it stops the loop instead
and hands control back to the turn, which runs on the same thread and knows what else is going on.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import logging
import selectors
import weakref
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Executor
from typing import Any, cast

_log = logging.getLogger("polos")
_CLOSE_TRIES = 1000


class _QuietSelector(selectors.BaseSelector):
    """Never waits; tells its loop to stop instead. Real descriptors (I/O in a body) are polled."""

    def __init__(self) -> None:
        self._real: selectors.BaseSelector | None = None
        self.stop: Callable[[], None] = lambda: None
        self.quiet_for: float | None = 0.0

    def _selector(self) -> selectors.BaseSelector:
        if self._real is None:
            self._real = selectors.DefaultSelector()
        return self._real

    @property
    def watches(self) -> bool:
        return self._real is not None and bool(self._real.get_map())

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._selector().register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._selector().unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._selector().modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._selector().get_map()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self._real.select(0) if self._real is not None and self.watches else []
        if timeout is None or timeout > 0:
            self.quiet_for = 0.0 if ready else timeout
            self.stop()
        return ready

    def close(self) -> None:
        if self._real is not None:
            self._real.close()


class _BodyLoop(asyncio.SelectorEventLoop):
    """A loop without a self-pipe: a call from another thread pokes the turn instead.

    It knows its own tasks, in the order in which they were made: `asyncio.all_tasks` looks through those of every loop
    of the process, and gives them in the order of their addresses, which is another one at each replay.
    """

    def __init__(self, poke: Callable[[], None], raised: Callable[[BaseException], None]) -> None:
        self._poke, self._raised = poke, raised
        self._made = 0
        self._tasks: weakref.WeakValueDictionary[int, asyncio.Task[Any]] = weakref.WeakValueDictionary()
        self.threads = 0
        self.closing = False
        self.unwound: set[asyncio.Task[Any]] = set()
        self.quiet = _QuietSelector()
        super().__init__(self.quiet)
        self.quiet.stop = self.stop
        self.set_exception_handler(self._report)

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        task = super().create_task(coro, **options)
        self._made += 1
        self._tasks[self._made] = task
        task.add_done_callback(self._task_ended)
        return task

    def _task_ended(self, task: asyncio.Task[Any]) -> None:
        error = task._exception  # type: ignore[attr-defined]  # exception() would count as somebody's looking at it
        if error is not None and not self.closing:
            self._raised(error)

    def open_tasks(self) -> list[asyncio.Task[Any]]:
        """The tasks that are not done, the oldest first."""
        return [task for task in self._tasks.values() if not task.done()]

    def _make_self_pipe(self) -> None:
        self._ssock = self._csock = None
        self._internal_fds = 0

    def _close_self_pipe(self) -> None:
        pass

    def _write_to_self(self) -> None:
        self._poke()

    def run_in_executor(self, executor: Executor | None, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        future = super().run_in_executor(executor, func, *args)
        self.threads += 1
        future.add_done_callback(self._thread_ended)
        return future

    def _thread_ended(self, _: object) -> None:
        self.threads -= 1

    def _asyncgen_finalizer_hook(self, agen: Any) -> None:
        if self.closing:
            _close_generator(agen)
        else:
            super()._asyncgen_finalizer_hook(agen)  # type: ignore[misc]

    def _report(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not self.closing:
            error = context.get("exception")
            _log.warning("in a workflow body: %s", context.get("message"), exc_info=error)


class Body:
    """One run of a workflow body on a loop of its own, driven by the turn's thread.

    `poke` is called from any thread when the body may be able to move although nothing was delivered to it, `raised`
    with what the body, or a task of it, has ended with. No event loop may be running on the thread that calls
    `advance`, `cancel` or `close`.
    """

    def __init__(
        self,
        main: Callable[[], Coroutine[Any, Any, Any]],
        poke: Callable[[], None],
        raised: Callable[[BaseException], None],
        context: contextvars.Context | None = None,
    ) -> None:
        self._raised = raised
        self._loop = _BodyLoop(poke, raised)
        self._task = self._loop.create_task(self._run_to_the_end(main), context=context)

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    @property
    def done(self) -> bool:
        return self._task.done()

    @property
    def quiet_for(self) -> float | None:
        """Seconds until the body moves by itself (a raw sleep); None: never, it waits for a delivery."""
        if self._loop.quiet.watches:
            return 0.01
        return self._loop.quiet.quiet_for

    @property
    def busy(self) -> bool:
        """Whether the body waits for a thread of its own (`asyncio.to_thread`) or for raw I/O: it is not idle."""
        return self._loop.threads > 0 or self._loop.quiet.watches

    def result(self) -> Any:
        """The return value; raises what the body raised."""
        return self._task.result()

    def advance(self) -> None:
        """Run the body until it is done or quiet."""
        while not self._task.done():
            self._loop.quiet.quiet_for = 0.0
            try:
                self._loop.run_forever()
            except (SystemExit, KeyboardInterrupt):  # a task re-raises these out of its loop
                if not self._task.done():
                    raise
            if self._loop.quiet.quiet_for != 0.0:
                return

    def cancel(self) -> None:
        """Raise `asyncio.CancelledError` at the await where the body is."""
        self._task.cancel()

    def close(self) -> None:
        """Unwind every coroutine of the body on this thread, and drop the loop."""
        self._loop.closing = True
        asyncio._set_running_loop(self._loop)  # cleanup code may look for it
        try:
            _unwind(self._loop, self._task)
            while left := [task for task in self._loop.open_tasks() if task not in self._loop.unwound]:
                for task in left:
                    _unwind(self._loop, task)
        finally:
            asyncio._set_running_loop(None)
            self._loop.close()

    async def _run_to_the_end(self, main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """Await the body, then cancel the tasks it left behind and wait for them, as `asyncio.run` does."""
        try:
            return await main()
        except Exception as error:
            self._raised(error)
            raise
        finally:
            left = [] if self._loop.closing else [one for one in self._loop.open_tasks() if one is not self._task]
            for task in left:
                task.cancel()
            if left:
                await asyncio.gather(*left, return_exceptions=True)


class Suspension(BaseException):
    """Unwinds a body at a suspension. Not an `Exception`, so that no handler of user code takes it for a failure."""


def _unwind(loop: _BodyLoop, task: asyncio.Task[Any]) -> None:
    loop.unwound.add(task)
    if not task.done():
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        asyncio.tasks._enter_task(loop, task)  # type: ignore[attr-defined]
        try:
            _close(task.get_coro())
        finally:
            asyncio.tasks._leave_task(loop, task)  # type: ignore[attr-defined]
    elif not task.cancelled():
        task.exception()


def _close(coroutine: Any) -> None:
    """Unwind a coroutine, again wherever its cleanup code awaits something, which can't be served any more.

    `coroutine.close()` is not used: it throws GeneratorExit, and cleanup code that awaits would break off the close and
    leave frames to the garbage collector.
    """
    if inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED:
        coroutine.close()
        return
    for _ in range(_CLOSE_TRIES):
        try:
            coroutine.throw(Suspension())
        except (Suspension, StopIteration, asyncio.CancelledError):
            return
        except BaseException as error:  # noqa: BLE001 - user code; it runs again when really reached
            if not _is_group_of_suspensions(error):
                _log.warning("cleanup code of a workflow failed at a suspension", exc_info=error)
            return
    _log.warning("cleanup code of a suspended workflow does not end: %r", coroutine)


def _is_group_of_suspensions(error: BaseException) -> bool:
    if not isinstance(error, BaseExceptionGroup):
        return isinstance(error, Suspension | asyncio.CancelledError)
    members = cast("BaseExceptionGroup[BaseException]", error).exceptions
    return all(_is_group_of_suspensions(member) for member in members)


def _close_generator(generator: Any) -> None:
    """Unwind an asynchronous generator that nothing refers to any more."""

    async def unwind() -> None:
        with contextlib.suppress(Suspension, StopAsyncIteration):
            await generator.athrow(Suspension())

    coroutine = unwind()
    try:
        coroutine.send(None)
    except StopIteration:
        return
    _close(coroutine)
