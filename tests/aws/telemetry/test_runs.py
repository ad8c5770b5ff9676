"""What a whole stack says about runs, failures and deaths, in lines and in metrics."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from polos import StepExecutionError, Workflow, WorkflowContext, WorkflowFailedError, workflow
from polos.aws.entry import Service, handler_of
from polos.aws.visibility import Visibility
from polos.core import items
from polos.engine import dead_letters
from polos.engine.commands import Start
from polos.engine.dead_letters import ROUNDS, Letter
from polos.engine.stored import Stored
from polos.ports import NoTelemetry, Notice
from polos.testing import Environment
from polos.testing.moto_harness import MotoHarness
from tests.aws.telemetry.telling import SECRET, fails, flaky, made


class Told:
    """A stack under moto whose functions tell: what they told, by name."""

    def __init__(self, env: Environment, lines: Callable[[], list[dict[str, Any]]]) -> None:
        self._lines = lines
        harness = env.harness
        assert isinstance(harness, MotoHarness)
        engine, account = harness.engine, harness.account
        told = made()
        engine.telemetry = told
        service = Service(engine, account.settings, Visibility(account.runtime, account.settings), told)
        for source in account.sources:
            harness.handlers[source.queue] = handler_of(service, source.handler.split(".")[-2])

    def read(self) -> tuple[dict[str, float], list[dict[str, Any]]]:
        """The sum of each metric, and all lines."""
        sums: dict[str, float] = {}
        found = self._lines()
        for line in found:
            for name in (
                one["Name"] for one in line.get("_aws", {}).get("CloudWatchMetrics", [{}])[0].get("Metrics", [])
            ):
                values = line[name] if isinstance(line[name], list) else [line[name]]
                sums[name] = sums.get(name, 0) + sum(values)
        return sums, found


def with_stack(
    lines: Callable[[], list[dict[str, Any]]],
    run: Callable[[Environment, Told], Awaitable[None]],
    *workflows: Workflow[Any, Any],
) -> None:
    async def main() -> None:
        async with Environment("moto", workflows=workflows) as env:
            await run(env, Told(env, lines))

    asyncio.run(main())


def test_a_run_is_told_from_start_to_end(lines: Callable[[], list[dict[str, Any]]]) -> None:
    async def run(env: Environment, told: Told) -> None:
        handle = await env.start(flaky, {"number": SECRET})
        requests = env.requests.copy()
        await env.finish(handle)
        sums, found = told.read()

        assert {name: sums.get(name) for name in ("ExecutionsStarted", "ExecutionsCompleted", "StepRetries")} == {
            "ExecutionsStarted": 1,
            "ExecutionsCompleted": 1,
            "StepRetries": 1,
        }
        assert "ExecutionsFailed" not in sums
        assert "InvocationDeaths" not in sums
        assert sums["MessagesHandled"] >= 2
        assert "WakeToRun" in sums
        assert "PutEvents" not in env.requests - requests
        assert SECRET not in json.dumps(found)
        (half,) = [line for line in found if "half way" in line.get("message", "")]
        assert (half["execution_id"], half["workflow_id"], half["epoch"]) == (handle.id, "tl-flaky", 1)
        assert half["message_type"] == "start"

    with_stack(lines, run, flaky)


def test_ends_that_are_no_success_are_told(lines: Callable[[], list[dict[str, Any]]]) -> None:
    async def run(env: Environment, told: Told) -> None:
        with pytest.raises((WorkflowFailedError, StepExecutionError)):
            await env.finish(await env.start(fails))
        cancelled = await env.start(flaky, {"number": "1"})
        await env.settle()
        await env.cancel(cancelled)
        await env.settle()
        late = await env.start(flaky, {"number": "1"}, run_timeout_seconds=60)
        await env.advance(minutes=2)
        ended = await env.start(flaky, {"number": "1"})
        await env.settle()
        await env.client.terminate(ended.id)
        await env.settle()
        sums, _ = told.read()

        assert (await env.describe(late)).status == "timed_out"
        assert sums["ExecutionsFailed"] == 1
        assert sums["ExecutionsCancelled"] == 2
        assert sums["ExecutionsTimedOut"] == 1

    with_stack(lines, run, flaky, fails)


def test_deaths_are_told_once_each_and_the_crash_loop_as_one(
    lines: Callable[[], list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from polos.testing.harness import Crash

    @workflow(id="tl-dies")
    async def dies(ctx: WorkflowContext) -> None:
        await ctx.step.run("deadly", lambda: None)

    async def run(env: Environment, told: Told) -> None:
        from polos.engine.turn import Turn

        def die(_: Turn) -> None:
            raise Crash

        monkeypatch.setattr(Turn, "_drive", die)
        handle = await env.start(dies)
        await env.advance(hours=3)
        sums, _ = told.read()

        assert (await env.describe(handle)).error.type == "CrashLoopError"  # type: ignore[union-attr]
        assert env.crashes == 5
        assert sums["InvocationDeaths"] == 5
        assert (sums["ExecutionsFailed"], sums["CrashLoops"]) == (1, 1)

    with_stack(lines, run, dies)


class Counted(NoTelemetry):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def note(self, notice: Notice, workflow_id: str, value: float = 1.0) -> None:
        self.told.append((notice, workflow_id))


def test_an_execution_that_the_dead_letters_fail_is_told() -> None:
    async def main() -> None:
        async with Environment(workflows=[flaky]) as env:
            handle = await env.start(flaky, {"number": "1"})
            await env.settle()
            engine = env.harness.engine
            engine.telemetry = counted = Counted()
            item = engine.table.get(items.execution(handle.id)) or {}
            wake = {"t": "wake", "x": handle.id, "wf": "tl-flaky"}
            dead = Letter(wake, through=True, rounds=ROUNDS, progress=items.number(item, items.PROGRESS))
            dead_letters.judge(engine, dead)
            start = Start.of("never", "tl-flaky", Stored("null"), engine.now(), {})
            dead_letters.judge(engine, Letter(start.message().body, through=True, rounds=ROUNDS))
            dead_letters.judge(engine, dead)

            assert (await env.describe(handle)).status == "failed"
            assert counted.told == [(Notice.FAILED, "tl-flaky")] * 2

    asyncio.run(main())
