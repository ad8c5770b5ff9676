"""SPEC 4, the client of a real embedded backend: ambient and explicit, invoke, run, handles, time limits."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from polos import (
    ExecutionHandle,
    Polos,
    UsageError,
    WorkflowCancelledError,
    WorkflowContext,
    WorkflowFailedError,
    WorkflowTimeoutError,
    ambient,
    events,
    workflow,
)
from tests.features.client_workflows import Number, asks, doubled, until


@workflow(id="client-fails", max_retries=0)
async def fails(ctx: WorkflowContext) -> None:
    raise ValueError("broken")


@workflow(id="client-listens")
async def listens(ctx: WorkflowContext) -> int:
    return (await ctx.step.wait_for_event("heard", "client/topic")).data


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
            await until(client, handle.id, "waiting")
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


def test_starting_a_client_twice_gives_back_the_ambient_one_before(local: Path) -> None:
    async def main() -> None:
        async with Polos(local=":memory:") as outer:
            inner = Polos(local=local)
            await inner.start()
            await inner.start()
            await inner.stop()
            assert ambient.current() is outer

    asyncio.run(main())


def test_start_takes_the_client_first_too(local: Path) -> None:
    async def main() -> None:
        async with Polos(local=":memory:"), Polos(local=local) as client:
            handles = [await doubled.start(client, {"n": 2}, id="first"), await doubled.start({"n": 2}, id="first")]
            assert [one.id for one in handles] == ["first", "first"]
            with pytest.raises(TypeError, match="one payload"):
                await doubled.start(client, {"n": 2}, {"n": 3})

    asyncio.run(main())


def test_l9_an_event_published_before_the_start_is_not_delivered_however_short_the_time_between(local: Path) -> None:
    async def main() -> None:
        async with Polos(local=local) as client:
            first = await listens.start(client=client)
            await events.publish(client, "client/topic", events.EventData(data=1))
            assert await first.result(timeout=5) == 1
            second = await listens.start(client=client)
            with pytest.raises(WorkflowTimeoutError):
                await second.result(timeout=0.3)
            await events.publish(client, "client/topic", events.EventData(data=2))
            assert await second.result(timeout=5) == 2

    asyncio.run(main())
