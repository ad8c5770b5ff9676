"""Processes that die: nothing but the redelivery of messages brings their executions on (L11, L14)."""

from __future__ import annotations

import pytest

from polos import Polos, WorkflowFailedError
from tests.emulator.background import DOOMED, KILLED, OVERLONG, STUCK, Background
from tests.emulator.driving import drive, lately
from tests.emulator.places import ENFORCED, on
from tests.emulator.stack import Stack
from tests.emulator.table import Measured

pytestmark = on(ENFORCED)


def test_a_process_killed_in_a_step_is_recovered_by_redelivery(
    stack: Stack, background: Background, measured: Measured
) -> None:
    async def body(polos: Polos) -> None:
        detail = await polos.wait_for_result(KILLED, timeout=120), await polos.describe(KILLED)
        assert detail[0] == [1, 2]  # the recorded step ran once, the deadly one twice
        assert detail[1].invocations == 2

    with measured.scenario(stack, "killed in a step", since=background.since, tag=KILLED) as lap:
        drive(stack, body)
        lap.seconds = drive(stack, lambda polos: took(polos, KILLED))


def test_a_function_that_runs_into_its_timeout_is_recovered_by_redelivery(
    stack: Stack, background: Background, measured: Measured
) -> None:
    async def body(polos: Polos) -> None:
        assert await polos.wait_for_result(STUCK, timeout=200) == [1, 1]
        assert (await polos.describe(STUCK)).invocations == 2

    with measured.scenario(stack, "function timeout", since=background.since, tag=STUCK) as lap:
        drive(stack, body)
        lap.seconds = drive(stack, lambda polos: took(polos, STUCK))


def test_a_function_that_is_held_up_holds_up_nobody_else(stack: Stack, background: Background) -> None:
    assert background.meanwhile == (144, ["before"])


def test_a_step_longer_than_the_function_is_left_and_tried_by_a_fresh_invocation(
    stack: Stack, background: Background, measured: Measured
) -> None:
    """The invocation hands its execution on before its time is up, so this is no death (L15)."""

    async def body(polos: Polos) -> None:
        assert await polos.wait_for_result(OVERLONG, timeout=200) == [1, 2]
        assert (await polos.describe(OVERLONG)).invocations == 2

    with measured.scenario(stack, "step longer than the function", since=background.since, tag=OVERLONG) as lap:
        drive(stack, body)
        lap.seconds = drive(stack, lambda polos: took(polos, OVERLONG))


def test_five_deaths_in_a_row_end_an_execution_where_everybody_sees_it(
    stack: Stack, background: Background, measured: Measured
) -> None:
    async def body(polos: Polos) -> None:
        with pytest.raises(WorkflowFailedError, match="CrashLoopError"):
            await polos.wait_for_result(DOOMED, timeout=300)
        detail = await polos.describe(DOOMED)
        assert detail.error is not None
        assert detail.error.type == "CrashLoopError"
        assert len((background.folder / DOOMED / "deadly").read_text()) == 5
        assert DOOMED in [line.id for line in await lately(polos, "doomed", "failed")]

    with measured.scenario(stack, "five deaths", since=background.since, tag=DOOMED) as lap:
        drive(stack, body)
        lap.seconds = drive(stack, lambda polos: took(polos, DOOMED))


async def took(polos: Polos, execution_id: str) -> float:
    detail = await polos.describe(execution_id)
    assert detail.completed_at is not None
    return (detail.completed_at - detail.created_at).total_seconds()
