"""SPEC 4: what a client's process leaves behind and takes up: other clients, workers, threads, an interrupt."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from polos import Polos, PolosClient, UsageError, Worker, WorkflowContext, workflow
from tests.features.client_workflows import Number, asks, doubled, until

LONG_STEP = """
import asyncio, sys
from polos import Polos, PolosClient, current_step, workflow

async def long():
    print(current_step().execution_id, flush=True)
    await asyncio.sleep(60)

@workflow(id="client-long")
async def lasts(ctx):
    await ctx.step.run("long", long)

async def main(how):
    if how == "ambient":
        await lasts.invoke()
    elif how == "client":
        await lasts.run(PolosClient())
    else:
        async with Polos() as polos:
            await lasts.run(polos)

asyncio.run(main(sys.argv[1]))
"""


def test_what_an_earlier_process_left_is_taken_up(local: Path) -> None:
    async def first() -> str:
        async with Polos(local=local) as client:
            handle = await asks.invoke(client)
            await until(client, handle.id, "waiting")
            return handle.id

    async def second(execution_id: str) -> Any:
        async with Polos(local=local) as client:
            await client.resume("client-asks", execution_id, "ask", "hello again")
            return await client.wait_for_result(execution_id, 5)

    assert asyncio.run(second(asyncio.run(first()))) == "hello again"


def test_the_log_file_gets_what_workflows_log(local: Path, tmp_path: Path) -> None:
    @workflow(id="client-logs")
    async def logs(ctx: WorkflowContext) -> None:
        ctx.logger.info("packing the %s", "hat")

    async def main() -> str:
        async with Polos(local=local, log_file=tmp_path / "logs" / "polos.log") as client:
            handle = await logs.invoke(client)
            await handle.result()
            return handle.id

    execution_id = asyncio.run(main())
    assert f"[{execution_id}] packing the hat" in (tmp_path / "logs" / "polos.log").read_text()


def test_two_clients_of_one_file_see_the_same(local: Path) -> None:
    async def main() -> None:
        async with Polos(local=local) as one, contextlib.AsyncExitStack() as stack:
            other = await stack.enter_async_context(PolosClient(local=local))
            handle = await asks.invoke(one)
            await until(other, handle.id, "waiting")
            await other.resume(suspend_workflow_id=handle.root_workflow_id, suspend_execution_id=handle.id,
                               suspend_step_key="ask", data=3)  # fmt: skip
            assert await handle.result(timeout=5, client=other) == 3
            assert await handle.cancel(other) is False

    asyncio.run(main())


def test_a_worker_runs_what_clients_of_the_file_started_until_it_is_shut_down(local: Path) -> None:
    async def main() -> None:
        async with asyncio.timeout(20):
            client = PolosClient(local=local)
            worker = Worker(client=client, workflows=[doubled], max_concurrent_workflows=2, mode="push", agents=[])
            running = asyncio.create_task(worker.run())
            assert (await doubled.run(client, Number(n=4))).n == 8
            assert worker.workflows == [doubled]
            await worker.shutdown()
            await running

    asyncio.run(main())


def test_a_worker_refuses_what_it_cannot_run(local: Path) -> None:
    with pytest.raises(UsageError, match="agents"):
        Worker(PolosClient(local=local), agents=["writer"])
    with pytest.raises(UsageError, match="no workflow"):
        Worker(PolosClient(local=local), workflows=[print])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="queues"):
        Worker(PolosClient(local=local), queues=[])


@pytest.mark.process
@pytest.mark.parametrize("how", ["ambient", "client", "entered"])
def test_a_process_that_is_interrupted_in_a_long_step_ends_soon_and_is_no_death(local: Path, how: str) -> None:
    program = local.with_name("long_step.py")
    program.write_text(LONG_STEP)
    running = subprocess.Popen([sys.executable, str(program), how], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert running.stdout is not None
    execution_id = running.stdout.readline().decode().strip()
    started = time.monotonic()
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=30)
    assert time.monotonic() - started < 15, "it waited for the step"
    assert b"KeyboardInterrupt" in errors
    assert b"the worker met an error" not in errors
    with sqlite3.connect(local) as file:
        (stored,) = file.execute("SELECT body FROM items WHERE pk = ? AND sk = 'x'", (execution_id,)).fetchone()
    assert '"lt"' not in stored, "the lease was not given back"


def test_a_client_that_is_closed_leaves_no_threads(local: Path) -> None:
    async def main() -> None:
        async with Polos(local=local) as client:
            await asks.invoke(client)
            await quick.run(client)

    def polos_threads() -> set[threading.Thread]:
        return {
            one for one in threading.enumerate() if one.name.startswith(("polos-step-", "polos-record", "polos-turn"))
        }

    before = polos_threads()
    for _ in range(3):
        asyncio.run(main())
    for one in polos_threads() - before:
        one.join(10)
    assert polos_threads() <= before


@workflow(id="client-quick")
async def quick(ctx: WorkflowContext) -> int:
    return await ctx.step.run("in a thread", lambda: 1)
