"""SPEC 11, `polos why`: every state in which an execution can be, in words, and what can be done about it."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any

import pytest
from rich.console import Console

from polos import BatchWorkflowInput, WorkflowContext, queue, workflow
from polos.cli.explaining import Explanation, explain, sentences
from polos.cli.following import family
from polos.cli.timeline import render, rows
from polos.handle import ExecutionHandle
from polos.testing import Environment
from tests.laws.worlds import World, worlds


async def _why(env: Environment, handle: ExecutionHandle | str) -> Explanation:
    return explain(await env.describe(handle), env.now)


def _text(found: Explanation, env: Environment) -> str:
    return "\n".join(sentences(found, env.now))


def _run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test)


@workflow(id="why-child")
async def child(ctx: WorkflowContext, asks: bool = False) -> str:
    if asks:
        await ctx.step.suspend("ask")
    return "done"


def test_in_line_behind_a_limit_it_names_the_queue_its_limit_and_who_runs() -> None:
    @workflow(id="why-limited", queue=queue("narrow", concurrency_limit=1))
    async def body(ctx: WorkflowContext, number: int) -> int:
        await ctx.step.run("work", lambda: 1)
        return number

    async def main() -> None:
        with worlds("memory") as world:
            await in_world(world)

    async def in_world(world: World) -> None:
        async with world.deploy(body) as env:
            gate = world.wire.block("put r#work")
            handles = [await env.start(body, n, id=f"line-{n}", concurrency_key="ada") for n in range(3)]
            owner = world.begin()
            await gate.reach()
            await env.settle()
            running, *waiting = handles
            places = [(await env.describe(one)).in_line for one in waiting]
            said = [_text(await _why(env, one), env) for one in waiting]
            gate.release()
            await owner.end()
            assert [await env.finish(one) for one in handles] == [0, 1, 2]
            assert (await env.describe(waiting[0])).in_line is None
        assert [place and (place.queue, place.limit, place.running, place.ahead) for place in places] == [
            ("narrow", 1, [running.id], 0),
            ("narrow", 1, [running.id], 1),
        ]
        for words, ahead in zip(said, ("It is next.", "One stands before it."), strict=True):
            assert "in line since" in words
            assert "queue 'narrow' has the 1 running that its limit for the key 'ada' allows" in words
            assert ahead in words
            assert f"polos why {running.id}" in words

    _run(main())


def test_waiting_for_a_batch_it_counts_the_children_and_names_the_open_ones() -> None:
    @workflow(id="why-batch")
    async def body(ctx: WorkflowContext) -> int:
        inputs = [BatchWorkflowInput(id=child.id, payload=asks) for asks in (False, True, True)]
        return len(await ctx.step.batch_invoke_and_wait("all", inputs))

    async def main() -> None:
        async with Environment(workflows=[body, child]) as env:
            handle = await env.start(body)
            await env.settle()
            found = await _why(env, handle)
            (wait,) = found.waits
            assert wait.what == "its 3 children (1 ended)"
            assert wait.children == [f"{handle.id}/all:1", f"{handle.id}/all:2"]
            assert "The end of the last of them wakes it." in _text(found, env)
            whole = await family(env.client, handle.id)
            labels = [row.label for row in rows(whole)]
            assert labels == ["all", "  why-child 0", "  why-child 1", "    ask", "  why-child 2", "    ask"]
            for one in wait.children:
                await env.resume(one, "ask", None)
            assert await env.finish(handle) == 3

    _run(main())


def test_a_batch_of_many_is_drawn_by_its_first_children() -> None:
    @workflow(id="why-many")
    async def body(ctx: WorkflowContext) -> int:
        return len(await ctx.step.batch_invoke_and_wait("all", [BatchWorkflowInput(id=child.id, payload=False)] * 60))

    async def main() -> None:
        async with Environment(workflows=[body, child]) as env:
            handle = await env.start(body)
            assert await env.finish(handle) == 60
            shown = await family(env.client, handle.id)
            assert len(shown.children) == 50
            labels = [row.label for row in rows(shown)]
            assert len(labels) == 12
            assert labels[-1] == "  ... 50 more children"

    _run(main())


def test_between_two_tries_of_the_whole_it_tells_a_failure_from_a_death() -> None:
    @workflow(id="why-buggy", max_retries=2)
    async def buggy(ctx: WorkflowContext) -> None:
        raise KeyError("x")

    @workflow(id="why-deadly")
    async def deadly(ctx: WorkflowContext) -> None:
        await ctx.step.run("dies", lambda: 1)

    async def main() -> None:
        with worlds("memory") as world:
            await in_world(world)

    async def in_world(world: World) -> None:
        async with world.deploy(buggy, deadly) as env:
            for nth in (1, 2):
                world.wire.crash("put r#dies", nth=nth)
            handle = await env.start(buggy)
            await env.settle()
            said = _text(await _why(env, handle), env)
            assert "failed with an error that is no step's, for the first time; it is tried again at" in said
            died = await env.start(deadly)
            await env.advance(seconds=65)
            detail = await env.describe(died)
            assert (detail.deaths, detail.status) == (2, "waiting")
            said = _text(await _why(env, died), env)
            assert "Its process died 2 times in a row" in said
            assert "(in " in said
            assert "After 5 deaths in a row it fails." in said

    _run(main())


def test_running_it_says_since_when_and_after_what() -> None:
    @workflow(id="why-running")
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.run("first", lambda: 1)
        await ctx.step.run("second", lambda: 2)

    async def main() -> None:
        with worlds("memory") as world:
            await in_world(world)

    async def in_world(world: World) -> None:
        async with world.deploy(body) as env:
            gate = world.wire.block("put r#second")
            handle = await env.start(body)
            owner = world.begin()
            await gate.reach()
            said = explain(await env.describe(handle), env.now + timedelta(seconds=90)).summary
            gate.release()
            await owner.end()
            assert said.startswith("It is running, after first, 1 m 30 s ago")
            assert (await _why(env, handle)).summary.startswith("It completed at ")

    _run(main())


def test_paused_cancelled_and_timed_out_are_told_with_the_way_on() -> None:
    @workflow(id="why-open")
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.wait_for("nap", days=1)

    async def main() -> None:
        async with Environment(workflows=[body]) as env:
            paused, cancelled = await env.start(body), await env.start(body)
            late = await env.start(body, run_timeout_seconds=60)
            await env.settle()
            await env.client.pause(paused.id)
            await env.cancel(cancelled)
            await env.advance(minutes=5)
            said = _text(await _why(env, paused), env)
            assert "It has been paused since" in said
            assert f"polos unpause {paused.id}" in said
            assert "nap: waits for a timer" in said
            assert "It was cancelled at" in _text(await _why(env, cancelled), env)
            said = _text(await _why(env, late), env)
            assert "It reached its time limit of 1 m 00 s" in said
            assert "during nap" in said

    _run(main())


@pytest.mark.parametrize("width", [40, 80, 120])
def test_no_line_of_a_timeline_is_wider_than_the_terminal(width: int) -> None:
    @workflow(id="why-wide", max_retries=0)
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.run("a step whose key is longer than any column would ever be", lambda: 1)
        await ctx.step.run("fails", _fail, max_retries=0)

    async def main() -> None:
        async with Environment(workflows=[body]) as env:
            handle = await env.start(body)
            await env.advance(hours=1)
            console = Console(width=width, record=True, force_terminal=False, file=io.StringIO())
            console.print(render(await family(env.client, handle.id), env.now, console))
            assert max(len(line.rstrip()) for line in console.export_text().splitlines()) <= width

    _run(main())


def test_a_step_that_an_end_left_undone_is_drawn_up_to_that_end() -> None:
    @workflow(id="why-left")
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.run("quick", lambda: 1)
        await ctx.step.suspend("ask")

    async def main() -> None:
        async with Environment(workflows=[body]) as env:
            handle = await env.start(body)
            await env.advance(seconds=10)
            await env.client.terminate(handle.id)
            await env.advance(days=30)
            console = Console(width=100, record=True, force_terminal=False, file=io.StringIO())
            console.print(render(await family(env.client, handle.id), env.now, console))
            shown = console.export_text()
            assert " d " not in shown
            assert "10.0 s" in shown

    _run(main())


def _fail() -> None:
    raise RuntimeError("a message which is long enough to be broken into several lines at any width of a terminal")
