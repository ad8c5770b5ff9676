"""L1 once: a recorded step never runs again; its value or failure is what every replay sees."""

from __future__ import annotations

from polos import StepExecutionError, WorkflowContext, current_step, workflow
from tests.laws.worlds import World, law


@law
async def test_L1_a_recorded_step_never_runs_again(world: World) -> None:
    seen: list[str] = []

    @workflow(id="l1-once")
    async def body(ctx: WorkflowContext) -> list[str]:
        values = [await ctx.step.run(f"step-{n}", world.effect, f"value-{n}") for n in range(3)]
        for n in range(4):
            await ctx.step.wait_for(f"pause-{n}", seconds=60)
            seen.append(values[0])
        return values

    async with world.deploy(body) as env:
        handle = await env.start(body)
        assert await env.finish(handle) == ["value-0", "value-1", "value-2"]
        assert [world.ran(f"step-{n}") for n in range(3)] == [1, 1, 1]
        assert seen == ["value-0"] * 10, "four resumptions, each of which replays all before it"
        assert (await env.describe(handle)).invocations == 5


@law
async def test_L1_a_recorded_failure_is_what_every_replay_sees(world: World) -> None:
    seen: list[tuple[str | None, str, str, int]] = []

    def fails() -> None:
        world.effect()
        raise LookupError(f"number {world.ran('bad')}")

    @workflow(id="l1-failure")
    async def body(ctx: WorkflowContext) -> str:
        try:
            await ctx.step.run("bad", fails, max_retries=2, base_delay=0.01)
        except StepExecutionError as error:
            seen.append((error.step_key, error.error_type, error.message, error.attempts))
        await ctx.step.wait_for("pause", hours=1)
        await ctx.step.wait_for("pause again", hours=1)
        return seen[-1][2]

    async with world.deploy(body) as env:
        assert await env.finish(await env.start(body)) == "number 3"
    assert seen == [("bad", "LookupError", "number 3", 3)] * 3
    assert world.ran("bad") == 3


@law
async def test_L1_the_attempts_of_a_durable_backoff_are_counted_across_invocations(world: World) -> None:
    attempts: list[int] = []

    def fails() -> str:
        attempts.append(current_step().attempt)
        if len(attempts) < 4:
            raise OSError("not yet")
        return "done"

    @workflow(id="l1-backoff")
    async def body(ctx: WorkflowContext) -> str:
        return await ctx.step.run("flaky", fails, max_retries=3, base_delay=60, max_delay=600, backoff=2)

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.settle()
        assert attempts == [1]
        await env.advance(seconds=59)
        assert attempts == [1]
        await env.advance(seconds=1)
        assert attempts == [1, 2]
        await env.advance(seconds=119)
        assert attempts == [1, 2]
        assert await env.finish(handle) == "done"
        assert attempts == [1, 2, 3, 4]
        assert (await env.describe(handle)).invocations == 4
