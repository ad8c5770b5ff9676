"""`polos watch`, and seeing an execution through to its end."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from typing import Any

import typer

from polos.cli.connection import Connection
from polos.cli.following import LOOK_EVERY, Follower, describe_change, describe_wait
from polos.cli.following import watch as look_on
from polos.cli.options import App, Json, Local, Stack, load_application
from polos.cli.outcome import FAILED, Interrupted, command, print_json, stderr
from polos.cli.showing import ExecutionId
from polos.client import Polos
from polos.types.types import ExecutionDetail

_NAMES = 28
_FAR = 1.0


@command
async def watch(
    execution_id: ExecutionId,
    app: App = None,
    stack: Stack = None,
    local: Local = None,
    as_json: Json = False,
) -> None:
    """Show its steps as they happen, then its result.

    It only looks: on the local backend something else, `polos dev` say, runs the execution. With --json every step is
    a line of JSON, and the outcome is the last.
    """
    connection = Connection.chosen(stack, local)
    connection.needs_file()
    load_application(app)
    pause = LOOK_EVERY if connection.stack is None else _FAR
    async with connection.client() as polos:
        try:
            if as_json:
                detail = await _tell_in_json(polos, execution_id, pause)
            else:
                detail = await see_through(polos, execution_id, quiet=False, pause=pause)
        except asyncio.CancelledError:
            raise Interrupted(f"stopped watching {execution_id}; it goes on as before.") from None
    print_outcome(detail, as_json, indent=None)


async def _tell_in_json(polos: Polos, execution_id: str, pause: float) -> ExecutionDetail:
    follower = Follower(polos, execution_id)
    async for changes in look_on(follower, pause):
        for change in changes:
            print_json({"execution_id": change.execution.id, "depth": change.depth, "step": change.step}, indent=None)
    assert follower.family is not None
    return follower.family.root


async def see_through(polos: Polos, execution_id: str, *, quiet: bool, pause: float = LOOK_EVERY) -> ExecutionDetail:
    """Follow to the end, with a line a step on standard error."""
    console = stderr()
    follower = Follower(polos, execution_id)
    spinning = console.is_terminal and not quiet
    status = console.status(f"{execution_id} runs") if spinning else nullcontext()
    with status as spinner:
        async for changes in look_on(follower, pause):
            assert follower.family is not None
            for change in changes if not quiet else ():
                name = "  " * change.depth + change.step.key
                console.print(f"  {name:<{_NAMES}}  {describe_change(change)}")
            if spinner is not None:
                waits = follower.family.waiting_for
                spinner.update(f"waiting for {describe_wait(waits[0])}" if waits else f"{execution_id} runs")
    assert follower.family is not None
    return follower.family.root


def print_outcome(detail: ExecutionDetail, as_json: bool, *, indent: int | None = 2) -> None:
    """The result, or what went wrong and exit code 1."""
    if as_json:
        shown: dict[str, Any] = {
            "execution_id": detail.id,
            "workflow_id": detail.workflow_id,
            "status": detail.status,
            "result": detail.result,
            "error": detail.error,
        }
        print_json(shown, indent=indent)
    elif detail.status == "completed":
        print_json(detail.result)
    if detail.status != "completed":
        because = f": {detail.error.type}: {detail.error.message}" if detail.error is not None else ""
        stderr().print(f"polos: execution {detail.id} {_ENDS.get(detail.status, detail.status)}{because}")
        raise typer.Exit(FAILED)


_ENDS = {"failed": "failed", "cancelled": "was cancelled", "timed_out": "ran out of time"}
