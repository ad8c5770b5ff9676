"""What the functions say about their work: log lines, metrics through the log, events of the lifecycle."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from polos import StepExecutionError, Workflow, WorkflowContext, WorkflowFailedError, workflow
from polos.aws import metrics, telemetry
from polos.aws.backend import aws_backend
from polos.aws.entry import Service, handler_of
from polos.aws.lifecycle import EXECUTION
from polos.aws.telemetry import Powertools
from polos.aws.visibility import Visibility
from polos.core import items
from polos.engine import dead_letters
from polos.engine.commands import Start, Stored
from polos.engine.dead_letters import ROUNDS, Letter
from polos.engine.threads import Threads
from polos.ports import NoTelemetry, Notice
from polos.testing import Environment
from polos.testing.moto_account import ACCOUNT, MotoAccount
from polos.testing.moto_harness import MotoHarness

SECRET = "4929-secret-1111"


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """What was written since the last call, each line as JSON."""
    logger = logging.getLogger("polos")
    before = list(logger.handlers)

    def read() -> list[dict[str, Any]]:
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    yield read
    for handler in set(logger.handlers) - set(before):
        logger.removeHandler(handler)
    for name in ("powertools_handler", "init"):
        logger.__dict__.pop(name, None)
    logger.setLevel(logging.NOTSET)
    logger.propagate = True


def made(*, by_workflow: bool = True) -> Powertools:
    told = Powertools("mystack", by_workflow=by_workflow)
    for handler in logging.getLogger("polos").handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setStream(sys.stdout)
    return told


# ---- lines


def test_a_line_says_what_it_is_about(lines: Callable[[], list[dict[str, Any]]]) -> None:
    told, log = made(), logging.getLogger("polos.engine")
    with told.about({"t": "wake", "x": "e1", "wf": "w"}):
        told.owns("w", 7)
        log.warning("inside")
    log.warning("outside")

    inside, outside = lines()
    about = {"stack": "mystack", "execution_id": "e1", "workflow_id": "w", "message_type": "wake", "epoch": 7}
    assert about.items() <= inside.items()
    assert outside["stack"] == "mystack"
    assert not {"execution_id", "epoch"} & outside.keys()


def test_a_heartbeat_says_what_it_is_about(lines: Callable[[], list[dict[str, Any]]]) -> None:
    told = made()
    with told.about({"t": "wake", "x": "e1", "wf": "w"}):
        join = Threads().start("beat", lambda: logging.getLogger("polos.aws").warning("beat"))
    join()

    (line,) = lines()
    assert line["execution_id"] == "e1"


def test_a_message_that_is_not_ours_cannot_break_the_log(lines: Callable[[], list[dict[str, Any]]]) -> None:
    told = made()
    with told.about({"t": ["x"], "x": {"a": 1}, "wf": "w" * 10_000}):
        logging.getLogger("polos.aws").warning("strange")

    (line,) = lines()
    assert line["workflow_id"] == "w" * 256
    assert not {"execution_id", "message_type"} & line.keys()


# ---- metrics


def test_a_metric_counts_under_the_stack_and_under_what_it_is_about(
    lines: Callable[[], list[dict[str, Any]]],
) -> None:
    told = made()
    told.message(telemetry.HANDLED, "wake")
    told.message(telemetry.HANDLED, "wake")
    told.waited("wake", 12)
    told.flush()
    told.flush()

    (line,) = lines()
    assert line["MessagesHandled"] == [1, 1]
    assert line["MessageAge"] == 12
    assert (line["stack"], line["queue"]) == ("mystack", "wake")
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "Polos"
    assert directive["Dimensions"] == [["stack"], ["stack", "queue"]]
    assert {"Name": "MessageAge", "Unit": "Milliseconds"} in directive["Metrics"]


def test_workflows_are_bounded(lines: Callable[[], list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch) -> None:
    known = {f"w{number:03}": None for number in range(60)}
    monkeypatch.setattr(telemetry, "get_all_workflows", lambda: known)
    told = made()
    for workflow_id in ("w000", "w049", "w050", "forged"):
        told.note(Notice.STARTED, workflow_id)
    told.flush()

    assert [line["workflow"] for line in lines()] == ["w000", "w049", "other", "other"]
    assert metrics.MOST == 50


def test_metrics_by_workflow_can_be_turned_off(lines: Callable[[], list[dict[str, Any]]]) -> None:
    told = made(by_workflow=False)
    told.note(Notice.STARTED, "w")
    told.flush()

    (line,) = lines()
    assert line["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["stack"]]
    assert "workflow" not in line


def test_a_flood_of_values_stays_one_valid_line(lines: Callable[[], list[dict[str, Any]]]) -> None:
    told = made()
    threads = [threading.Thread(target=lambda: [told.note(Notice.STEP_RETRIES, "w") for _ in range(50)]) for _ in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told.flush()

    (line,) = lines()
    assert len(line["StepRetries"]) == 100


# ---- a whole stack


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


@workflow(id="tl-flaky")
async def flaky(ctx: WorkflowContext, payload: dict[str, str]) -> str:
    tries: list[int] = []

    def fails_once() -> str:
        import polos

        tries.append(polos.current_step().attempt)
        if tries == [1]:
            raise ValueError(payload["number"])
        return payload["number"]

    found = await ctx.step.run("once", fails_once, base_delay=0.01)
    ctx.logger.info("half way")
    await ctx.step.wait_for("nap", hours=1)
    return found


@workflow(id="tl-fails", max_retries=0)
async def fails(ctx: WorkflowContext) -> None:
    await ctx.step.run("no", lambda: [].pop(), max_retries=0)


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


# ---- events of the lifecycle


class Statuses:
    """A lifecycle that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []

    def tell(self, about: Any) -> None:
        self.told.append(dict(about))


def with_lifecycle(run: Callable[[Environment, Statuses], Awaitable[None]], *workflows: Workflow[Any, Any]) -> None:
    async def main() -> None:
        async with Environment(workflows=workflows) as env:
            statuses = Statuses()
            object.__setattr__(env.harness.engine.backend, "lifecycle", statuses)
            await run(env, statuses)

    asyncio.run(main())


def test_other_programs_hear_how_an_execution_begins_and_ends() -> None:
    async def run(env: Environment, statuses: Statuses) -> None:
        handle = await env.start(flaky, {"number": SECRET}, tags={"team": "blue"})
        await env.finish(handle)

        begun, ended = statuses.told
        assert (begun["status"], ended["status"]) == ("running", "completed")
        assert begun["id"] != ended["id"]
        assert ended["execution_id"] == handle.id
        assert ended["tags"] == {"team": "blue"}
        assert SECRET not in json.dumps(statuses.told)

    with_lifecycle(run, flaky)


def test_a_fork_is_told_to_have_begun_once() -> None:
    @workflow(id="telemetry-fork")
    async def waits(ctx: WorkflowContext) -> str:
        await ctx.step.run("first", str)
        await ctx.step.wait_for("nap", seconds=60)
        return await ctx.step.run("last", str)

    async def run(env: Environment, statuses: Statuses) -> None:
        source = await env.start(waits)
        await env.finish(source)
        fork = await env.client.fork(source.id, "nap")
        await env.finish(fork)

        told = [one["status"] for one in statuses.told if one["execution_id"] == fork.id]
        assert told == ["running", "completed"]

    with_lifecycle(run, waits)


def test_the_same_status_has_the_same_id_and_another_try_another_one() -> None:
    async def run(env: Environment, statuses: Statuses) -> None:
        handle = await env.start(fails)
        for _ in range(2):
            await env.settle()
            await env.client.retry(handle.id)
        await env.settle()

        ends = [one["id"] for one in statuses.told if one["status"] == "failed"]
        assert len(set(ends)) == 3
        assert {one["error_type"] for one in statuses.told if one["status"] == "failed"} == {"StepExecutionError"}

    with_lifecycle(run, fails)


def test_a_status_is_an_event_that_no_topic_gets(account: MotoAccount) -> None:
    settings = dataclasses.replace(account.settings, lifecycle_events=True)
    lifecycle = aws_backend(settings, account.clock, clients=account.runtime).lifecycle
    assert lifecycle is not None
    account.aws.sqs.create_queue(QueueName="observer")
    pattern = json.dumps({"source": ["polos"], "detail-type": [EXECUTION], "detail": {"status": ["failed"]}})
    account.aws.events.put_rule(Name="observer", EventBusName=settings.bus, EventPattern=pattern)
    target = {"Id": "q", "Arn": f"arn:aws:sqs:us-east-1:{ACCOUNT}:observer"}
    account.aws.events.put_targets(Rule="observer", EventBusName=settings.bus, Targets=[target])

    lifecycle.tell({"id": "1", "execution_id": "e", "workflow_id": "w", "status": "running"})
    lifecycle.tell({"id": "2", "execution_id": "e", "workflow_id": "w", "status": "failed"})

    (message,) = account.aws.sqs.receive_message(QueueUrl="observer", MaxNumberOfMessages=10)["Messages"]
    assert json.loads(message["Body"])["detail"]["id"] == "2"
    assert account.queue("EventsQueue")._messages == []


def test_a_stack_tells_nobody_unless_it_was_asked_to(account: MotoAccount) -> None:
    assert aws_backend(account.settings, account.clock, clients=account.runtime).lifecycle is None
