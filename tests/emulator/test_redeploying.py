"""Deploying again: new code under running executions, code that does not import, and taking everything away."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from polos import Polos, events, schedules
from tests.emulator.conftest import HERE
from tests.emulator.driving import drive, until_waiting
from tests.emulator.stack import Stack
from tests.emulator.table import Measured


def test_new_code_goes_on_with_what_the_old_code_recorded(stack: Stack, application: Path, measured: Measured) -> None:
    """A step before the current one, a step after it, and another that has a new name (L4). A schedule goes."""
    import lane

    async def start(polos: Polos) -> str:
        handle = await lane.edits.changing.start("x", client=polos)
        await until_waiting(polos, handle.id)
        assert await scheduled(polos) >= {"nightly", "daily_report"}
        return handle.id

    async def go_on(polos: Polos, execution_id: str) -> list[str]:
        await events.publish(polos, "changing/x", {})
        said = await polos.wait_for_result(execution_id, timeout=60)
        assert "nightly" not in await scheduled(polos)
        assert "daily_report" in await scheduled(polos)
        return said

    with measured.scenario(stack.emulator, "new code under a running execution"):
        execution_id = drive(stack, start)
        shutil.copy(HERE / "application" / "edits_later.py", application / "edits.py")
        stack.build()
        stack.deploy()
        said = drive(stack, lambda polos: go_on(polos, execution_id))

    assert said == [
        "first of the old code",
        "the new name",
        "inserted before",
        "inserted after",
        "last of the new code",
    ]


def test_a_parameter_alone_reaches_what_runs(stack: Stack, measured: Measured) -> None:
    """The version behind the alias has it, as each build makes one."""
    with measured.scenario(stack.emulator, "a parameter alone is changed"):
        stack.build()
        stack.deploy(EventRetentionHours="25")

    function = stack.resources()["WorkFunction"]
    live = stack.client("lambda").get_function_configuration(FunctionName=function, Qualifier="live")
    assert live["Version"] != "$LATEST"
    assert live["Environment"]["Variables"]["POLOS_EVENT_RETENTION_HOURS"] == "25"


def test_code_that_does_not_import_fails_its_deployment_and_changes_nothing(
    stack: Stack, application: Path, measured: Measured
) -> None:
    import lane

    before = (application / "edits.py").read_text()
    (application / "edits.py").write_text('raise RuntimeError("broken on purpose")\n')

    async def look(polos: Polos) -> None:
        assert await scheduled(polos) >= {"daily_report"}
        handle = await lane.square.start(7, client=polos)
        assert await handle.result(timeout=60) == 49

    try:
        with measured.scenario(stack.emulator, "deployment that fails to import"):
            stack.build()
            with pytest.raises(AssertionError, match="Failed to create/update the stack"):
                stack.deploy()
            assert any("RuntimeError: broken on purpose" in reason for reason in stack.failures())
            drive(stack, look)
    finally:
        (application / "edits.py").write_text(before)


async def scheduled(polos: Polos) -> set[str]:
    return {one.workflow_id for one in await schedules.list(polos)}
