"""Driving a stack as a program outside of it does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from polos import Polos
from polos.client import ExecutionPage
from tests.emulator.stack import Stack


def drive(stack: Stack, body: Callable[[Polos], Awaitable[Any]]) -> Any:
    """Run a scenario with a client of the stack."""

    async def main() -> Any:
        async with Polos(stack=stack.name) as polos:
            return await body(polos)

    return asyncio.run(main())


async def until(look: Callable[[], Awaitable[Any]], seconds: float = 60) -> Any:
    """What `look` finds, once it finds something."""
    async with asyncio.timeout(seconds):
        while not (found := await look()):
            await asyncio.sleep(0.5)
        return found


async def until_waiting(polos: Polos, execution_id: str) -> None:
    async def waiting() -> bool:
        return (await polos.describe(execution_id)).status == "waiting"

    await until(waiting)


async def lately(polos: Polos, workflow_id: str, status: str) -> ExecutionPage:
    """Executions of the last minutes: a listing without `since` looks through a year."""
    since = datetime.now(UTC) - timedelta(minutes=15)
    return await polos.list_executions(workflow_id=workflow_id, status=status, since=since)
