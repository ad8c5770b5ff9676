"""Deploying again: new code under running executions, another parameter, and code that does not import."""

from __future__ import annotations

import pytest

from polos import Polos, events, schedules
from tests.emulator.driving import drive, until_waiting
from tests.emulator.packages import AGAIN, BROKEN, LATER, Packages
from tests.emulator.places import EVERYWHERE, PLAIN, on
from tests.emulator.stack import Stack
from tests.emulator.table import Measured


@on(*EVERYWHERE)
def test_new_code_goes_on_with_what_the_old_code_recorded_and_a_schedule_goes(
    stack: Stack, packages: Packages, measured: Measured
) -> None:
    """A step before the current one, a step after it, and another that has a new name (L4)."""
    import lane

    async def start(polos: Polos) -> str:
        handle = await lane.edits.changing.start("x", client=polos)
        await until_waiting(polos, handle.id)
        assert await scheduled(polos) >= {"nightly", "daily_report"}
        return handle.id

    async def go_on(polos: Polos, execution_id: str) -> list[str]:
        await events.publish(polos, "changing/x", {})
        said = await polos.wait_for_result(execution_id, timeout=60)
        left = await scheduled(polos)
        assert "nightly" not in left
        assert "daily_report" in left
        return said

    package = packages.built(stack.place.source, LATER)
    with measured.scenario(stack, "new code under an execution, a schedule removed"):
        execution_id = drive(stack, start)
        stack.deploy(package)
        said = drive(stack, lambda polos: go_on(polos, execution_id))

    assert said == [
        "first of the old code",
        "the new name",
        "inserted before",
        "inserted after",
        "last of the new code",
    ]


@on(PLAIN)
def test_a_parameter_alone_reaches_what_runs(stack: Stack, packages: Packages, measured: Measured) -> None:
    """The version behind the alias has it, as each build makes one."""
    package = packages.built(stack.place.source, AGAIN)
    with measured.scenario(stack, "a parameter alone is changed"):
        stack.deploy(package, EventRetentionHours="25")

    function = stack.resources()["WorkFunction"]
    live = stack.client("lambda").get_function_configuration(FunctionName=function, Qualifier="live")
    assert live["Version"] != "$LATEST"
    assert live["Environment"]["Variables"]["POLOS_EVENT_RETENTION_HOURS"] == "25"


@on(PLAIN)
def test_code_that_does_not_import_fails_its_deployment_and_changes_nothing(
    stack: Stack, packages: Packages, measured: Measured
) -> None:
    import lane

    async def look(polos: Polos) -> None:
        assert await scheduled(polos) >= {"daily_report"}
        handle = await lane.square.start(7, client=polos)
        assert await handle.result(timeout=60) == 49

    package = packages.built(stack.place.source, BROKEN)
    with measured.scenario(stack, "deployment that fails to import"):
        with pytest.raises(AssertionError, match="Failed to create/update the stack"):
            stack.deploy(package)
        assert any("RuntimeError: broken on purpose" in reason for reason in stack.failures())
        drive(stack, look)


async def scheduled(polos: Polos) -> set[str]:
    return {one.workflow_id for one in await schedules.list(polos)}
