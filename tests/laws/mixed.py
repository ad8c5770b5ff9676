"""One workflow that holds every kind of durable call, with two races, and what its run leaves behind."""

from __future__ import annotations

import asyncio
from typing import Any

import polos
from polos import StepExecutionError, WorkflowContext, workflow
from polos.core import items
from polos.handle import ExecutionHandle
from polos.workflow import Workflow
from tests.laws.worlds import World, noise

_DRAWN = ("uuid", "now", "random")


class Mixed:
    """The workflow, its children, and how to drive it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.published = 0

        def flaky(big: str) -> str:
            world.effect()
            if polos.current_step().attempt < 2:
                raise OSError("not yet")
            return big

        def hopeless() -> None:
            world.effect()
            raise ValueError("hopeless")

        @workflow(id="mixed-child")
        async def child(ctx: WorkflowContext, n: int) -> dict[str, Any]:
            await ctx.step.run("child step", world.effect)
            return {"n": n, "text": noise(900)}

        @workflow(id="mixed-free")
        async def free(ctx: WorkflowContext) -> str:
            return await ctx.step.run("free step", world.effect)

        @workflow(id="mixed")
        async def body(ctx: WorkflowContext, name: str) -> list[Any]:
            got: list[Any] = [await ctx.step.run("a", world.effect)]
            drawn = [await ctx.step.uuid("uuid"), await ctx.step.now("now"), await ctx.step.random("random")]
            got += await asyncio.gather(
                ctx.step.run("b", world.effect), ctx.step.run("flaky", flaky, noise(1500), base_delay=60)
            )
            try:
                await ctx.step.run("hopeless", hopeless, max_retries=0)
            except StepExecutionError as error:
                got.append(str(error))
            await ctx.step.wait_for("timer", minutes=30)
            event = asyncio.create_task(ctx.step.wait_for_event("event", f"mixed/{name}", timeout=3600))
            other = asyncio.create_task(ctx.step.wait_for("other", hours=2))
            await asyncio.wait({event, other}, return_when=asyncio.FIRST_COMPLETED)
            other.cancel()
            got.append(await ctx.step.run("winner", world.effect, event.result().data))
            got.append((await ctx.step.suspend("ask", {"q": name}, timeout=9999))["data"])
            await ctx.step.publish_event("publish", f"mixed/out/{name}", drawn)
            got.append(await ctx.step.invoke_and_wait("child", child, 3))
            handle = await ctx.step.invoke("free", free)
            got.append(handle.id.removeprefix(ctx.execution_id))
            got += await asyncio.gather(ctx.step.run("y", world.effect), ctx.step.wait_for("z", seconds=5))
            return got

        self.body, self.children = body, (child, free)

    @property
    def workflows(self) -> tuple[Workflow[Any, Any], ...]:
        return (self.body, *self.children)

    async def start(self, name: str) -> ExecutionHandle:
        """With what it will wait for sent ahead: it is kept."""
        env = self.world.env
        handle = await env.start(self.body, name)
        await env.publish(f"mixed/{name}", "news")
        await env.resume(handle, "ask", ["yes", 1])
        return handle

    async def finish(self, handle: ExecutionHandle) -> Any:
        """To the end of it and of what it started."""
        env = self.world.env
        result = await env.finish(handle)
        await env.advance(minutes=40)
        return result

    def trace(self, handle: ExecutionHandle) -> dict[str, Any]:
        """What a run leaves behind, without what differs from run to run: times, owners and what was drawn."""
        kept: dict[str, Any] = {}
        partition = self.world.records(handle)
        for sk, item in partition.items():
            if sk.startswith("r#") and sk != "r#other":  # a wait that lost may never have been begun
                state = (item.get(items.STATE), item.get(items.KIND), item.get(items.ATTEMPTS))
                drawn = sk[2:] in _DRAWN or sk in ("r#event", "r#ask", "r#free")
                kept[sk] = (*state, None if drawn else item.get(items.VALUE))
        kept["result"] = partition[items.result_sk(partition[items.EXECUTION])][items.VALUE]
        return kept

    def keys(self, handle: ExecutionHandle) -> set[str]:
        """Which side effects there were, without the execution's part in their idempotency keys."""
        return {key for key, _ in self.world.effects}
