"""SPEC 4, the client of a real embedded backend: ambient and explicit, invoke, run, handles, time limits, takeover."""

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
from pydantic import BaseModel

import polos
from polos import (
    BatchWorkflowInput,
    ExecutionHandle,
    InvalidPayloadError,
    Polos,
    PolosClient,
    UsageError,
    Worker,
    WorkflowCancelledError,
    WorkflowContext,
    WorkflowFailedError,
    WorkflowNotFoundError,
    WorkflowTimeoutError,
    ambient,
    batch_invoke,
    current_step,
    get_all_workflows,
    get_workflow,
    workflow,
)


class Number(BaseModel):
    n: int


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
ran: list[str] = []


async def double(n: int) -> Number:
    ran.append(current_step().execution_id)
    return Number(n=2 * n)


@workflow(id="client-double")
async def doubled(ctx: WorkflowContext, number: Number) -> Number:
    return await ctx.step.run("double", double, number.n)


@workflow(id="client-asks")
async def asks(ctx: WorkflowContext) -> Any:
    return (await ctx.step.suspend("ask", {"q": 1}))["data"]


@workflow(id="client-fails", max_retries=0)
async def fails(ctx: WorkflowContext) -> None:
    raise ValueError("broken")


@workflow(id="client-nests")
async def nests(ctx: WorkflowContext, how: str) -> str:
    with pytest.raises(UsageError, match=r"ctx\.step\.invoke_and_wait"):
        await getattr(doubled, how)(Number(n=1))
    return "refused"


@workflow(id="client-nests-in-step")
async def nests_in_step(ctx: WorkflowContext) -> str:
    async def inside() -> str:
        with pytest.raises(UsageError, match=r"ctx\.step\.invoke_and_wait"):
            await doubled.invoke(Number(n=1))
        return "refused"

    def in_a_thread() -> str:
        with pytest.raises(UsageError, match=r"ctx\.step\.invoke_and_wait"):
            asyncio.run(doubled.run(Number(n=1)))
        return "too"

    return await ctx.step.run("async", inside) + " " + await ctx.step.run("sync", in_a_thread)


async def _until(polos: Polos, execution_id: str, status: str) -> dict[str, Any]:
    for _ in range(400):
        found = await polos.get_execution(execution_id)
        if found["status"] == status:
            return found
        await asyncio.sleep(0.01)
    raise AssertionError(f"{found['status']}, not {status}")


def test_invoke_with_a_payload_alone_gives_the_result_of_the_ambient_client(local: Path) -> None:
    async def main() -> None:
        assert ambient.current() is None
        assert await doubled.invoke(Number(n=4)) == Number(n=8)
        assert await doubled.invoke({"n": 5}) == Number(n=10)
        assert await doubled.run(Number(n=6)) == Number(n=12)
        with pytest.raises(WorkflowFailedError, match="broken"):
            await fails.invoke()
        assert isinstance(ambient.current(), Polos)
        assert local.exists()

    asyncio.run(main())


def test_invoke_with_a_client_gives_a_handle(local: Path) -> None:
    async def main() -> None:
        async with Polos(local=local) as client:
            handle = await doubled.invoke(client, Number(n=4))
            assert isinstance(handle, ExecutionHandle)
            assert (handle.workflow_id, handle.root_workflow_id) == ("client-double", "client-double")
            assert handle.root_execution_id == handle.id
            assert await handle.result() == Number(n=8)
            assert (await handle.get(client))["result"] == Number(n=8)
            assert (await handle.get(client))["status"] == "completed"
            assert handle.to_dict()["id"] == handle.id
            by_name = await doubled.invoke(client=client, payload=Number(n=4), session_id="s")
            assert (await client.get_execution(by_name.id))["session_id"] == "s"
            assert (await (await client.invoke("client-double", Number(n=1))).result()) == Number(n=2)
            assert (await (await client.invoke("client-double", payload={"n": 1})).result()) == Number(n=2)

    asyncio.run(main())


def test_the_innermost_open_client_is_the_ambient_one(tmp_path: Path, local: Path) -> None:
    async def main() -> None:
        async with Polos(local=tmp_path / "a.db") as outer:
            async with Polos(local=tmp_path / "b.db") as inner:
                handle = await doubled.start(Number(n=1))
                await handle.result()
                assert [one.id for one in await inner.list_executions()] == [handle.id]
                explicit = await doubled.start(Number(n=1), client=outer)
                await explicit.result()
            assert ambient.current() is outer
            assert [one.id for one in await outer.list_executions()] == [explicit.id]
        assert ambient.current() is None
        assert not local.exists()

    asyncio.run(main())


@pytest.mark.parametrize("how", ["invoke", "start", "run"])
def test_invoke_inside_a_workflow_is_an_error_that_says_what_to_use(local: Path, how: str) -> None:
    assert asyncio.run(nests.invoke(how)) == "refused"


def test_invoke_inside_a_step_is_an_error_that_says_what_to_use(local: Path) -> None:
    assert asyncio.run(nests_in_step.invoke()) == "refused too"


def test_result_with_a_timeout_only_stops_waiting(local: Path) -> None:
    async def main() -> None:
        async with Polos(local=local) as client:
            handle = await asks.start()
            with pytest.raises(WorkflowTimeoutError) as raised:
                await handle.result(timeout=0.05)
            assert (raised.value.execution_id, raised.value.timeout_seconds) == (handle.id, 0.05)
            await _until(client, handle.id, "waiting")
            await client.resume("client-asks", handle.id, "ask", {"yes": True})
            assert await handle.result(timeout=5) == {"yes": True}

    asyncio.run(main())


def test_run_with_a_timeout_ends_the_execution(local: Path) -> None:
    async def main() -> None:
        async with Polos(local=local) as client:
            with pytest.raises(WorkflowTimeoutError) as raised:
                await asks.run(client, timeout=0.2)
            assert (await client.get_execution(raised.value.execution_id))["status"] == "timed_out"
            assert raised.value.timeout_seconds == 0.2

    asyncio.run(main())


def test_run_without_a_timeout_has_none(local: Path) -> None:
    async def main() -> None:
        async with Polos(local=local) as client:
            assert await doubled.run(client, Number(n=1), timeout=None) == Number(n=2)
            (line,) = await client.list_executions()
            assert (await client.get_execution(line.id))["run_timeout_seconds"] is None

    asyncio.run(main())


def test_run_raises_a_runtime_error_when_it_failed_and_ends_when_it_was_cancelled(local: Path) -> None:
    async def main() -> None:
        async with Polos(local=local) as client:
            with pytest.raises(RuntimeError, match="broken") as raised:
                await fails.run(client)
            assert (raised.value.workflow_id, raised.value.error_type) == ("client-fails", "ValueError")
            running = asyncio.create_task(asks.run(client))
            while not (found := await client.list_executions(workflow_id="client-asks")):
                await asyncio.sleep(0.01)
            assert await client.cancel_execution(found[0].id) is True
            with pytest.raises(WorkflowCancelledError):
                await asyncio.wait_for(running, 5)

    asyncio.run(main())


def test_an_unknown_workflow_or_option_is_named(local: Path) -> None:
    async def main() -> None:
        async with Polos(local=local) as client:
            with pytest.raises(WorkflowNotFoundError, match="'nowhere'") as raised:
                await client.invoke("nowhere", {})
            assert raised.value.workflow_id == "nowhere"
            with pytest.raises(TypeError, match="priority"):
                await doubled.invoke(client, Number(n=1), priority=3)
            assert await client.list_executions() == []

    asyncio.run(main())
    assert get_workflow("nowhere") is None
    assert get_workflow("client-double") is get_all_workflows()["client-double"] is doubled


def test_batch_invoke_starts_several(local: Path) -> None:
    async def main() -> None:
        async with Polos(local=local) as client:
            inputs = [BatchWorkflowInput(id="client-double", payload=Number(n=n)) for n in range(3)]
            handles = await batch_invoke(client, inputs, session_id="s")
            handles += await client.batch_invoke(inputs, user_id="u")
            assert [(await one.result()).n for one in handles] == [0, 2, 4, 0, 2, 4]
            assert {one.session_id for one in handles[:3]} == {"s"}

    asyncio.run(main())


def test_what_an_earlier_process_left_is_taken_up(local: Path) -> None:
    async def first() -> str:
        async with Polos(local=local) as client:
            handle = await asks.invoke(client)
            await _until(client, handle.id, "waiting")
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
            await _until(other, handle.id, "waiting")
            await other.resume(suspend_workflow_id=handle.root_workflow_id, suspend_execution_id=handle.id,
                               suspend_step_key="ask", data=3)  # fmt: skip
            assert await handle.result(timeout=5, client=other) == 3
            assert await handle.cancel(other) is False

    asyncio.run(main())


def test_the_names_of_upstream_are_there() -> None:
    names = [
        "Polos",
        "PolosClient",
        "workflow",
        "Workflow",
        "WorkflowContext",
        "WorkflowState",
        "ExecutionHandle",
        "Queue",
        "queue",
        "hook",
        "HookContext",
        "HookResult",
        "HookAction",
        "events",
        "schedules",
        "EventPayload",
        "BatchEventPayload",
        "SchedulePayload",
        "BatchWorkflowInput",
        "BatchStepResult",
        "batch_invoke",
        "StepExecutionError",
        "WorkflowTimeoutError",
        "Worker",
        "get_workflow",
        "get_all_workflows",
    ]
    assert [name for name in names if not hasattr(polos, name)] == []
    from polos.features import events, schedules
    from polos.types import types

    assert (polos.events, polos.schedules) == (events, schedules)
    assert types.BatchWorkflowInput is BatchWorkflowInput


def test_an_option_that_does_not_exist_is_refused_and_upstream_ones_are_taken(local: Path) -> None:
    with pytest.raises(TypeError, match="locl"):
        Polos(locl=":memory:")
    with pytest.raises(UsageError, match="channels"):
        Polos(channels=[object()])
    for count in (0, -1, 1.5, True):
        with pytest.raises(UsageError, match="max_concurrent_workflows"):
            Polos(max_concurrent_workflows=count)  # type: ignore[arg-type]
    PolosClient(project_id="p", api_url="http://localhost:8080", api_key="k", deployment_id=None)
    Polos(port=8001, channels=None, max_concurrent_workflows=None)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (BatchWorkflowInput(id="nowhere"), WorkflowNotFoundError),
        (BatchWorkflowInput(id="client-double", payload={"n": "x"}), InvalidPayloadError),
    ],
)
def test_batch_invoke_starts_nothing_where_one_of_them_is_wrong(
    local: Path, wrong: BatchWorkflowInput, error: type[Exception]
) -> None:
    async def main() -> None:
        async with Polos(local=local) as client:
            with pytest.raises(error):
                await client.batch_invoke([BatchWorkflowInput(id="client-double", payload=Number(n=1)), wrong])
            assert await client.list_executions() == []
            assert await client.batch_invoke([]) == []

    asyncio.run(main())


def test_starting_a_client_twice_gives_back_the_ambient_one_before(local: Path) -> None:
    async def main() -> None:
        async with Polos(local=":memory:") as outer:
            inner = Polos(local=local)
            await inner.start()
            await inner.start()
            await inner.stop()
            assert ambient.current() is outer

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


def test_start_takes_the_client_first_too(local: Path) -> None:
    async def main() -> None:
        async with Polos(local=":memory:"), Polos(local=local) as client:
            handles = [await doubled.start(client, {"n": 2}, id="first"), await doubled.start({"n": 2}, id="first")]
            assert [one.id for one in handles] == ["first", "first"]
            with pytest.raises(TypeError, match="one payload"):
                await doubled.start(client, {"n": 2}, {"n": 3})

    asyncio.run(main())


def test_publish_takes_the_arguments_of_upstream(local: Path) -> None:
    async def main() -> None:
        async with Polos(local=local) as client:
            data = polos.events.EventData(data={})
            found = await polos.events.publish(
                client=client, topic="t", event_data=data, execution_id="x", root_execution_id=None
            )
            assert isinstance(found, int)

    asyncio.run(main())


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
