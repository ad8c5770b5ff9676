"""The main scenarios, from outside: what the functions, their roles and their event source mappings do together."""

from __future__ import annotations

import itertools
import secrets
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from polos import Polos, WorkflowCancelledError, WorkflowFailedError, events, schedules
from tests.emulator.driving import drive, lately, until, until_waiting
from tests.emulator.places import EVERYWHERE, on
from tests.emulator.stack import Stack
from tests.emulator.table import Measured

pytestmark = on(*EVERYWHERE)


def test_the_seed_page(stack: Stack, measured: Measured) -> None:
    import page

    async def body(polos: Polos) -> None:
        research = await page.research.start(page.ResearchInput(topic="AI agents"))
        loop = await page.process_items.start(page.Input(items=["a", "b", "c"]))
        parent = await page.parent_workflow.start(page.ParentInput())
        approval = await page.approval_workflow.start(page.Input(id="42", data={"k": "v"}))
        assert await research.result(timeout=60) == "report on analysis of 0"
        assert await loop.result(timeout=60) is None
        assert await parent.result(timeout=60) == "child heard Hello!"
        await until_waiting(polos, approval.id)
        await events.publish(polos, "approval/42", {"approved": True})
        assert await approval.result(timeout=60) is None
        assert [step.key for step in (await polos.describe(approval.id)).steps] == [
            "request",
            "wait_approval",
            "execute",
        ]

    with measured.scenario(stack, "seed page"):
        drive(stack, body)


def test_fan_out(stack: Stack, measured: Measured) -> None:
    import lane

    async def body(polos: Polos) -> None:
        handle = await lane.fan_out.start(20)
        assert await handle.result(timeout=90) == sum(number * number for number in range(20))
        assert (await polos.describe(handle.id)).invocations <= 3

    with measured.scenario(stack, "fan-out to 20 children"):
        drive(stack, body)


def test_timers_short_and_long(stack: Stack, measured: Measured) -> None:
    """A long wait is a one-time schedule: the lane looks at it, and lets a short one fire."""
    import lane

    def timers() -> set[str]:
        group = stack.outputs()["ScheduleGroup"]
        found = stack.client("scheduler").list_schedules(GroupName=group, NamePrefix="t-")["Schedules"]
        return {one["Name"] for one in found}

    async def body(polos: Polos) -> None:
        before = timers()
        long, short = await lane.patient.start(), await lane.sleeper.start(3)
        assert 3_000 <= await short.result(timeout=60) < 8_000
        await until_waiting(polos, long.id)
        assert len(timers() - before) == 1
        assert await polos.cancel_execution(long.id)
        with pytest.raises(WorkflowCancelledError):
            await long.result(timeout=60)

    with measured.scenario(stack, "timers, short and long"):
        drive(stack, body)


def test_an_event_starts_what_it_triggers_once(stack: Stack, measured: Measured) -> None:
    async def body(polos: Polos) -> None:
        await events.publish(polos, "lane/order", {"number": 7})
        await events.publish(polos, "lane/nobody", {"number": 8})
        found = await until(lambda: lately(polos, "on_order", "completed"))
        detail = await polos.describe(found[0].id)
        assert len(found) == 1
        assert detail.result == {"number": 7}

    with measured.scenario(stack, "event trigger"):
        drive(stack, body)


def test_suspend_and_resume(stack: Stack, measured: Measured) -> None:
    import lane

    async def body(polos: Polos) -> None:
        handle = await lane.approval.start("spec")
        await until_waiting(polos, handle.id)
        await polos.resume("approval", handle.id, "ask", {"verdict": "yes"})
        assert await handle.result(timeout=60) == "yes"

    with measured.scenario(stack, "suspend and resume"):
        drive(stack, body)


def test_two_megabytes_in_and_out(stack: Stack, measured: Measured) -> None:
    import lane

    given = secrets.token_hex(1_000_000)

    async def body(polos: Polos) -> None:
        handle = await lane.large.start(given)
        result = await handle.result(timeout=60)
        assert len(result) == 2 * len(given)
        assert result.endswith(given)

    with measured.scenario(stack, "2 MB payload and result"):
        drive(stack, body)


def test_cancel_runs_the_cleanup(stack: Stack, measured: Measured) -> None:
    import lane

    async def body(polos: Polos) -> None:
        handle = await lane.guarded.start()
        await until_waiting(polos, handle.id)
        assert await polos.cancel_execution(handle.id)
        with pytest.raises(WorkflowCancelledError):
            await handle.result(timeout=60)
        assert [(step.key, step.result) for step in (await polos.describe(handle.id)).steps if step.key == "undo"] == [
            ("undo", "undone")
        ]

    with measured.scenario(stack, "cancel, with cleanup"):
        drive(stack, body)


def test_a_queue_with_one_slot(stack: Stack, measured: Measured) -> None:
    import lane

    async def body(polos: Polos) -> None:
        handles = [await lane.in_line.start(0.5) for _ in range(3)]
        spans = sorted([await handle.result(timeout=90) for handle in handles])
        assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))

    with measured.scenario(stack, "queue with one slot, 3 runs"):
        drive(stack, body)


def test_retry_fork_and_a_childs_failure(stack: Stack, measured: Measured, tmp_path: Path) -> None:
    import lane

    marker = tmp_path / "marker"

    async def body(polos: Polos) -> None:
        handle = await lane.flaky.start(str(marker))
        with pytest.raises(WorkflowFailedError, match="FileNotFoundError"):
            await handle.result(timeout=60)
        parent = await lane.parent_of_failure.start(str(marker))
        assert await parent.result(timeout=60) == "child failed"
        marker.touch()
        assert await (await polos.retry(handle.id)).result(timeout=60) == "found"
        assert await (await polos.fork(handle.id)).result(timeout=60) == "found"

    with measured.scenario(stack, "failure, retry, fork"):
        drive(stack, body)


def test_pause_and_terminate(stack: Stack, measured: Measured) -> None:
    import lane

    async def body(polos: Polos) -> None:
        paused, ended = await lane.approval.start("a"), await lane.approval.start("b")
        await until_waiting(polos, paused.id)
        await until_waiting(polos, ended.id)
        await polos.pause(paused.id)
        await polos.resume("approval", paused.id, "ask", {"verdict": "later"})
        await polos.terminate(ended.id)
        with pytest.raises(WorkflowCancelledError):
            await ended.result(timeout=60)
        await until_waiting(polos, paused.id)  # the resume came, and found it paused
        await polos.unpause(paused.id)
        assert await paused.result(timeout=60) == "later"

    with measured.scenario(stack, "pause, unpause, terminate"):
        drive(stack, body)


def test_a_function_has_the_settings_of_its_stack_and_none_of_ours(stack: Stack) -> None:
    import lane

    async def body(polos: Polos) -> None:
        handle = await lane.who_am_i.start()
        assert await handle.result(timeout=60) == f"{handle.id} {stack.name}"

    drive(stack, body)


def test_a_schedule_fires_each_minute_until_it_is_deleted(stack: Stack, measured: Measured) -> None:
    """It was made when the stack was deployed, so that its first minute has passed by now."""
    import lane

    async def body(polos: Polos) -> float:
        (schedule,) = await schedules.list(polos, lane.each_minute)
        found = await until(lambda: lately(polos, "slow-minute", "completed"), 100)
        first = await polos.describe(found[-1].id)
        assert first.completed_at is not None
        moment = datetime.fromisoformat(first.result)
        assert (moment.second, moment.microsecond, moment.utcoffset()) == (0, 0, timedelta(0))
        await schedules.delete(polos, lane.each_minute)
        assert await schedules.list(polos, lane.each_minute) == []
        return (first.completed_at - moment).total_seconds()

    with measured.scenario(stack, "schedule, its ticks", since=0, tag="slow-minute") as lap:
        lap.seconds = drive(stack, body)
