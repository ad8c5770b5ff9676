"""Deploying again: new code under running executions, code that does not import, and taking everything away."""

from __future__ import annotations

import shutil
from pathlib import Path

from polos import Polos, events
from tests.emulator.conftest import HERE
from tests.emulator.driving import drive, until_waiting
from tests.emulator.stack import Stack
from tests.emulator.table import Measured


def test_new_code_goes_on_with_what_the_old_code_recorded(stack: Stack, application: Path, measured: Measured) -> None:
    """A step before the current one, a step after it, and another that has a new name (L4)."""
    import lane

    async def start(polos: Polos) -> str:
        handle = await lane.edits.changing.start("x", client=polos)
        await until_waiting(polos, handle.id)
        return handle.id

    async def go_on(polos: Polos, execution_id: str) -> list[str]:
        await events.publish(polos, "changing/x", {})
        return await polos.wait_for_result(execution_id, timeout=60)

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
