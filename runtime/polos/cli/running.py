"""`polos run`: start an execution, and see it through to its end."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from typing import Annotated, Any

import typer

from polos.cli.connection import Connection
from polos.cli.following import Follower, describe_change, describe_wait, watch
from polos.cli.options import App, Json, Local, Stack, load_application, read_json
from polos.cli.outcome import FAILED, Interrupted, command, print_json, stderr, stdout
from polos.client import Polos
from polos.types.types import ExecutionDetail
from polos.workflow import find_workflow

_NAMES = 28


@command
async def run(
    workflow: Annotated[str, typer.Argument(metavar="WORKFLOW", help="The workflow's id.")],
    payload: Annotated[
        str | None, typer.Option("--input", metavar="JSON|@FILE", help="The payload; @- reads standard input.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Stay until the end, or only start it.")] = True,
    execution_id: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="The execution's id; the same id never starts twice.")
    ] = None,
    app: App = None,
    stack: Stack = None,
    local: Local = None,
    as_json: Json = False,
) -> None:
    """Start WORKFLOW, show its steps, print its result.

    On the local backend it runs in this process. With --no-wait it is left to a running `polos dev`.
    """
    connection = Connection.chosen(stack, local)
    load_application(app, required=True)
    chosen = find_workflow(workflow)
    value = read_json(payload, "payload")
    async with connection.worker() if wait else connection.client() as polos:
        handle = await chosen.start(value, client=polos, **({"id": execution_id} if execution_id else {}))
        if not wait:
            if as_json:
                print_json({"execution_id": handle.id, "workflow_id": handle.workflow_id})
            else:
                stdout().print(handle.id)
            return
        try:
            detail = await _see_through(polos, handle.id, quiet=as_json)
        except asyncio.CancelledError:
            again = "it goes on by itself" if connection.stack else "`polos dev` goes on with it"
            raise Interrupted(f"stopped waiting for {handle.id}; {again}.") from None
    _print_outcome(detail, as_json)


async def _see_through(polos: Polos, execution_id: str, *, quiet: bool) -> ExecutionDetail:
    """Follow to the end, with a line a step on standard error."""
    console = stderr()
    follower = Follower(polos, execution_id)
    spinning = console.is_terminal and not quiet
    status = console.status(f"{execution_id} runs") if spinning else nullcontext()
    with status as spinner:
        async for changes in watch(follower):
            assert follower.family is not None
            for change in changes if not quiet else ():
                name = "  " * change.depth + change.step.key
                console.print(f"  {name:<{_NAMES}}  {describe_change(change)}")
            if spinner is not None:
                waits = follower.family.waiting_for
                spinner.update(f"waiting for {describe_wait(waits[0])}" if waits else f"{execution_id} runs")
    assert follower.family is not None
    return follower.family.root


def _print_outcome(detail: ExecutionDetail, as_json: bool) -> None:
    if as_json:
        shown: dict[str, Any] = {
            "execution_id": detail.id,
            "workflow_id": detail.workflow_id,
            "status": detail.status,
            "result": detail.result,
            "error": detail.error,
        }
        print_json(shown)
    elif detail.status == "completed":
        print_json(detail.result)
    if detail.status != "completed":
        because = f": {detail.error.type}: {detail.error.message}" if detail.error is not None else ""
        stderr().print(f"polos: execution {detail.id} {_ENDS.get(detail.status, detail.status)}{because}")
        raise typer.Exit(FAILED)


_ENDS = {"failed": "failed", "cancelled": "was cancelled", "timed_out": "ran out of time"}
