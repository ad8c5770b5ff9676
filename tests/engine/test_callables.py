"""Where step callables run: what is given up, and what user code raises, costs the process no thread (SPEC 2.3)."""

from __future__ import annotations

import asyncio
import contextvars
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from polos.engine import callables
from polos.engine.callables import AttemptCancelled, AttemptTimeout, Callables, Running

_PATIENCE = 10.0


class _Calls:
    """A pool of two threads, whose reports are waited for."""

    def __init__(self) -> None:
        self.pool, self.release = Callables(), threading.Event()

    def start(self, func: Callable[..., Any], timeout: float | None = None) -> tuple[Running, Callable[[], Any]]:
        ended: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()
        context = contextvars.copy_context()
        running = self.pool.start(
            func, (), {}, context=context, timeout=timeout, ended=lambda value, error: ended.put((value, error))
        )
        return running, lambda: ended.get(timeout=_PATIENCE)

    def hang(self) -> None:
        self.release.wait()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Calls]:
    monkeypatch.setattr(callables, "THREADS", 2)
    made = _Calls()
    yield made
    made.release.set()
    made.pool.close()


def test_callables_that_hang_beyond_their_time_limit_leave_their_places_to_others(calls: _Calls) -> None:
    for _ in range(5):
        _, end = calls.start(calls.hang, timeout=0.01)
        assert isinstance(end()[1], AttemptTimeout)
    assert calls.start(lambda: "runs")[1]() == ("runs", None)


def test_callables_that_were_cancelled_leave_their_places_to_others(calls: _Calls) -> None:
    for _ in range(5):
        begun = threading.Event()

        def hang(begun: threading.Event = begun) -> None:
            begun.set()
            calls.hang()

        running, end = calls.start(hang)
        assert begun.wait(_PATIENCE)
        running.cancel()
        assert isinstance(end()[1], AttemptCancelled)
    assert calls.start(lambda: "runs")[1]() == ("runs", None)


def test_a_call_that_waits_for_a_thread_gets_that_of_one_that_is_given_up(calls: _Calls) -> None:
    hung = [calls.start(calls.hang, timeout=0.05)[1] for _ in range(2)]
    _, end = calls.start(lambda: "runs")
    assert all(isinstance(one()[1], AttemptTimeout) for one in hung)
    assert end() == ("runs", None)


def test_no_more_threads_run_at_once_than_the_pool_has_places(calls: _Calls) -> None:
    lock, now, most = threading.Lock(), 0, 0

    def count() -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        with lock:
            now -= 1

    for _ in range(3):
        calls.start(calls.hang, timeout=0.01)[1]()
    calls.release.set()  # their threads end; they are in no place any more
    for end in [calls.start(count)[1] for _ in range(200)]:
        assert end() == (None, None)
    assert most <= 2


@pytest.mark.parametrize(
    "raised", [SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError, BaseException]
)
def test_whatever_a_callable_raises_is_its_outcome_and_costs_no_thread(
    calls: _Calls, raised: type[BaseException]
) -> None:
    def fails() -> None:
        raise raised

    async def fails_async() -> None:
        raise raised

    for func in (fails, fails_async) * 3:
        assert isinstance(calls.start(func)[1]()[1], raised)
    assert calls.start(lambda: "runs")[1]() == ("runs", None)


def test_a_task_of_a_callable_that_exits_does_not_end_the_loop_of_the_others(calls: _Calls) -> None:
    async def exits() -> None:
        raise SystemExit(3)

    async def with_task() -> None:
        await asyncio.create_task(exits())

    async def runs() -> str:
        return "runs"

    assert isinstance(calls.start(with_task)[1]()[1], SystemExit)
    assert calls.start(runs)[1]() == ("runs", None)


def test_a_value_that_cannot_be_looked_at_is_the_failure_of_its_step(calls: _Calls) -> None:
    class Odd:
        @property
        def __class__(self) -> type:  # pyright: ignore[reportIncompatibleMethodOverride]
            raise ValueError("no class")

    assert isinstance(calls.start(Odd)[1]()[1], ValueError)
    assert calls.start(lambda: "runs")[1]() == ("runs", None)


def test_a_report_that_fails_costs_no_thread_of_the_records(calls: _Calls, caplog: pytest.LogCaptureFixture) -> None:
    def refuse(value: Any, error: BaseException | None) -> None:
        raise RuntimeError("refused")

    for _ in range(20):
        calls.pool.start(lambda: 1, (), {}, context=contextvars.copy_context(), timeout=None, ended=refuse)
    assert calls.start(lambda: "runs")[1]() == ("runs", None)
