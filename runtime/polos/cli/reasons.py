"""`polos why`: what an execution waits for, or why it ended as it did, and what to do."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Final

from polos.cli.connection import Connection
from polos.cli.explaining import Explanation, Wait, explain, sentences
from polos.cli.options import App, Json, Local, Stack, load_application
from polos.cli.outcome import command, print_json, stdout
from polos.cli.showing import ExecutionId
from polos.client import Polos
from polos.clock import SystemClock
from polos.errors import ExecutionNotFoundError

_CHILDREN: Final = 3


@command
async def why(
    execution_id: ExecutionId,
    app: App = None,
    stack: Stack = None,
    local: Local = None,
    as_json: Json = False,
) -> None:
    """Say what it waits for, or why it failed.

    Since when and until when it waits and what would wake it; or the error and what to do about it.
    """
    connection = Connection.chosen(stack, local)
    connection.needs_file()
    load_application(app)
    async with connection.client() as polos:
        detail = await polos.describe(execution_id)
        now = SystemClock().now()
        found = explain(detail, now)
        children = [one for wait in found.waits for one in await _children(polos, wait, now)][:_CHILDREN]
    if as_json:
        print_json({**asdict(found), "error": detail.error, "children": children})
        return
    console = stdout()
    console.print(f"{found.workflow_id}  {found.execution_id}  {found.status.replace('_', ' ')}", soft_wrap=True)
    for line in sentences(found, now):
        console.print(line, soft_wrap=True)
    for child in children:
        console.print(f"Its child {child.workflow_id} ({child.execution_id}): {child.summary}", soft_wrap=True)
        for line in list(sentences(child, now))[1:]:
            console.print(f"  {line}", soft_wrap=True)


async def _children(polos: Polos, wait: Wait, now: datetime) -> list[Explanation]:
    """Why the first of the children that a step waits for are where they are."""
    found: list[Explanation] = []
    for child in wait.children[:_CHILDREN]:
        try:
            found.append(explain(await polos.describe(child), now))
        except ExecutionNotFoundError:  # its start is on its way
            continue
    return found
