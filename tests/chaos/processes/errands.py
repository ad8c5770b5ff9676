"""One worker process of the fleet: run as a script on a database file, killed and stopped by `fleet` at any moment.

`errand` does one of eight things by its number, and what it returns is a function of that number alone. Each run of a
step leaves a line in a log: when it began, for which step, in which process.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import polos
from polos import BatchWorkflowInput, WorkflowContext, queue, workflow
from polos.engine.engine import Engine
from polos.limits import Limits
from polos.local.backend import local_backend
from polos.local.worker import LocalWorker

SHAPES = 8
# A lease of 3 s, so that a process which is stopped for some seconds comes back as a zombie. Deaths come far denser
# here than the pauses of the protocol were made for; what it does about real poison has tests of its own.
LIMITS = Limits(
    lease=3.0, renew=1.0, margin=0.5, near=0.5, inline_bytes=1_000_000, death_delays=(0.5, 1.0, 2.0), max_deaths=1_000
)

_log = -1
narrow = queue("narrow", concurrency_limit=3)


class NotYet(Exception):
    """What the first attempt of a flaky step raises."""


def note(value: int) -> int:
    """Leave a line outside, in one write; the value again."""
    me = polos.current_step()
    os.write(_log, f"{time.time():.6f} {me.execution_id} {me.key} {os.getpid()}\n".encode())
    return value


async def note_slowly(value: int) -> int:
    noted = note(value)
    await asyncio.sleep(0.1)
    return noted


def note_flaky(value: int) -> int:
    note(value)
    if polos.current_step().attempt == 1:
        raise NotYet
    return value


@workflow(id="leaf", queue=narrow)
async def leaf(ctx: WorkflowContext, n: int) -> int:
    return await ctx.step.run("leaf", note_slowly, n + 1)


async def _in_a_row(ctx: WorkflowContext, n: int) -> int:
    return sum([await ctx.step.run(f"row {i}", note_slowly, n + i) for i in range(4)])


async def _with_a_pause(ctx: WorkflowContext, n: int) -> int:
    before = await ctx.step.run("before", note, n)
    await ctx.step.wait_for("pause", seconds=0.4)
    return before + await ctx.step.run("after", note, n)


async def _side_by_side(ctx: WorkflowContext, n: int) -> int:
    return sum(await asyncio.gather(*(ctx.step.run(f"side {i}", note_slowly, n + i) for i in range(4))))


async def _one_child(ctx: WorkflowContext, n: int) -> int:
    return await ctx.step.invoke_and_wait("child", leaf, n)


async def _three_children(ctx: WorkflowContext, n: int) -> int:
    found = await ctx.step.batch_invoke_and_wait(
        "children", [BatchWorkflowInput(id="leaf", payload=n + i) for i in range(3)]
    )
    return sum(one.result for one in found)


async def _hear(ctx: WorkflowContext, n: int) -> int:
    event = await ctx.step.wait_for_event("heard", topic=f"said/{n + 1}")
    return await ctx.step.run("after", note, event.data["n"])


async def _say(ctx: WorkflowContext, n: int) -> int:
    await ctx.step.publish_event("say", f"said/{n}", {"n": n})
    return await ctx.step.run("after", note, n)


async def _race(ctx: WorkflowContext, n: int) -> int:
    timer = asyncio.create_task(ctx.step.wait_for("timer", hours=1))
    step = asyncio.create_task(ctx.step.run("flaky", note_flaky, n, base_delay=1.0, max_delay=1.0))
    done, _ = await asyncio.wait({timer, step}, return_when=asyncio.FIRST_COMPLETED)
    timer.cancel()
    return await ctx.step.run("won", note, await step if step in done else -1)


_WAYS: tuple[Callable[[WorkflowContext, int], Awaitable[int]], ...] = (
    _in_a_row,
    _with_a_pause,
    _side_by_side,
    _one_child,
    _three_children,
    _hear,
    _say,
    _race,
)


@workflow(id="errand", max_retries=0)
async def errand(ctx: WorkflowContext, n: int) -> int:
    return await _WAYS[n % SHAPES](ctx, n)


def expected(n: int) -> int:
    """What `errand` returns for a number."""
    return (4 * n + 6, 2 * n, 4 * n + 6, n + 1, 3 * n + 6, n + 1, n, n)[n % SHAPES]


def main() -> None:
    global _log
    database, log = sys.argv[1], sys.argv[2]
    _log = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    local = local_backend(database, limits=LIMITS)
    engine = Engine(local.backend)
    worker = LocalWorker(local, engine, own_only=False, concurrency=16)
    ended = threading.Event()
    handlers: tuple[Any, ...] = (signal.SIGTERM, signal.SIGINT)
    for number in handlers:
        signal.signal(number, lambda *_: ended.set())
    worker.start()
    ended.wait()
    worker.stop(10)
    local.close()


if __name__ == "__main__":
    main()
