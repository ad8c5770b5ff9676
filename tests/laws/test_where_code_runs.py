"""SPEC 2.3: step callables run on one loop that lives as long as the process; the body runs on a loop of its turn."""

from __future__ import annotations

import asyncio
import contextvars
import threading

import pytest

from polos import UsageError, WorkflowContext, workflow
from tests.laws.worlds import World, law

_TENANT: contextvars.ContextVar[str] = contextvars.ContextVar("tenant", default="nobody")


@pytest.mark.sockets
@law
async def test_a_client_that_a_step_opened_works_in_the_steps_of_the_next_invocation(world: World) -> None:
    connections: list[int] = []
    open_: dict[str, tuple[asyncio.StreamReader, asyncio.StreamWriter]] = {}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(1)
        while line := await reader.readline():
            writer.write(line.upper())
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    async def ask(text: str) -> str:
        if "client" not in open_:
            open_["client"] = await asyncio.open_connection("127.0.0.1", port)
        reader, writer = open_["client"]
        writer.write(f"{text}\n".encode())
        await writer.drain()
        return (await reader.readline()).decode().strip()

    async def close() -> None:
        writer = open_.pop("client")[1]
        writer.close()
        await writer.wait_closed()

    @workflow(id="runs-client")
    async def body(ctx: WorkflowContext) -> list[str]:
        first = await ctx.step.run("first", ask, "one")
        await ctx.step.wait_for("pause", days=1)
        second = await ctx.step.run("second", ask, "two")
        await ctx.step.run("close", close)
        return [first, second]

    async with server, world.deploy(body) as env:
        assert await env.finish(await env.start(body)) == ["ONE", "TWO"]
    assert len(connections) == 1


@law
async def test_steps_share_a_loop_and_bodies_do_not(world: World) -> None:
    steps: list[int] = []
    bodies: list[asyncio.AbstractEventLoop] = []

    async def step() -> None:
        steps.append(id(asyncio.get_running_loop()))

    @workflow(id="runs-loops")
    async def body(ctx: WorkflowContext) -> None:
        bodies.append(asyncio.get_running_loop())
        await ctx.step.run("a", step)
        await ctx.step.wait_for("pause", hours=1)
        await ctx.step.run("b", step)

    async with world.deploy(body) as env:
        await env.finish(await env.start(body))
    assert len(set(steps)) == 1
    assert len({id(loop) for loop in bodies}) == 2
    assert not {id(loop) for loop in bodies} & set(steps)
    assert all(loop.is_closed() for loop in bodies)


@law
async def test_context_variables_reach_sync_and_async_steps(world: World) -> None:
    async def later() -> str:
        return _TENANT.get()

    def now() -> list[str]:
        assert threading.current_thread() is not threading.main_thread()
        return [_TENANT.get()]

    @workflow(id="runs-context")
    async def body(ctx: WorkflowContext) -> list[str]:
        _TENANT.set("acme")
        return [await ctx.step.run("async", later), *await ctx.step.run("sync", now)]

    async with world.deploy(body) as env:
        assert await env.finish(await env.start(body)) == ["acme", "acme"]
    assert _TENANT.get() == "nobody"


@pytest.mark.parametrize("where", ["a plain def", "a thread of the body"])
@law
async def test_a_durable_call_from_a_loop_that_is_not_the_body_s_is_an_error_and_hangs_nothing(
    world: World, where: str
) -> None:
    def run_a_step(ctx: WorkflowContext) -> str:
        with pytest.raises(UsageError, match=r"'step' was called on another event loop .* async def"):
            asyncio.run(ctx.step.run("step", world.effect))
        return "refused"

    @workflow(id="runs-plain")
    def plain(ctx: WorkflowContext) -> str:
        return run_a_step(ctx)

    @workflow(id="runs-thread")
    async def body(ctx: WorkflowContext) -> str:
        return await asyncio.to_thread(run_a_step, ctx)

    chosen = plain if where == "a plain def" else body
    async with world.deploy(chosen) as env:
        assert await env.finish(await env.start(chosen)) == "refused"
    assert world.effects == []
