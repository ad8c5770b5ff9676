"""Functions' processes are killed at random while executions run: each ends as if nothing had been (L1, L2, L14)."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from pathlib import Path

from polos import Polos, events
from polos.types.types import ExecutionDetail
from tests.emulator.driving import drive
from tests.emulator.places import ENFORCED, on
from tests.emulator.stack import Stack
from tests.emulator.table import Measured

pytestmark = on(ENFORCED)

EXECUTIONS, SECONDS, PAUSE = 30, 20.0, 1.0
SEED = 20


def test_executions_survive_processes_that_are_killed_at_random(
    stack: Stack, measured: Measured, tmp_path: Path
) -> None:
    import storm

    numbers = range(EXECUTIONS)

    async def body(polos: Polos) -> int:
        handles = [await storm.storm.start((str(tmp_path), number), client=polos) for number in numbers]
        killing = asyncio.create_task(asyncio.to_thread(_kill, stack))
        for number in numbers:
            await events.publish(polos, f"storm/{number}", {"number": number})
        killed = await killing
        for number, handle in zip(numbers, handles, strict=True):
            assert await handle.result(timeout=240) == [number, number * number, {"number": number}, number + 1]
            detail = await polos.describe(handle.id)
            _ran_never_after_its_record(detail, tmp_path, number, ["first", "last"])
            (child,) = detail.children
            _ran_never_after_its_record(await polos.describe(child), tmp_path, number, ["square"])
        return killed

    with measured.scenario(stack, f"{EXECUTIONS} executions, processes killed"):
        killed = drive(stack, body)

    assert killed >= 5
    runs = [path.read_text().splitlines() for path in tmp_path.iterdir()]
    assert len(runs) == 3 * EXECUTIONS
    assert any(len(lines) > 1 for lines in runs), "no process was killed within a step"


def _kill(stack: Stack) -> int:
    """Kill one of the work function's processes each second or so; how many."""
    chance, killed, until = random.Random(SEED), 0, time.monotonic() + SECONDS
    while time.monotonic() < until:
        time.sleep(PAUSE * chance.random() * 2)
        found = stack.emulator.processes_of("WorkFunction")
        if found:
            os.kill(chance.choice(found), signal.SIGKILL)
            killed += 1
    return killed


def _ran_never_after_its_record(detail: ExecutionDetail, folder: Path, number: int, keys: list[str]) -> None:
    steps = {step.key: step for step in detail.steps}
    for key in keys:
        recorded = steps[key].ended_at
        assert recorded is not None
        began = [float(line) for line in (folder / f"{number}-{key}").read_text().splitlines()]
        # Times are recorded in whole milliseconds, and a step is longer than that.
        assert max(began) < recorded.timestamp(), f"{detail.id}: {key} ran again after it was recorded"
