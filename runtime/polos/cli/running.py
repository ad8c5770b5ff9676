"""`polos run`: start an execution, and see it through to its end."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from polos.cli.connection import Connection
from polos.cli.options import App, Json, Local, Stack, load_application, read_json
from polos.cli.outcome import Interrupted, command, print_json, stdout
from polos.cli.watching import print_outcome, see_through
from polos.workflow import find_workflow


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
        handle = await chosen.start(value, client=polos, **({"id": execution_id} if execution_id is not None else {}))
        if not wait:
            if as_json:
                print_json({"execution_id": handle.id, "workflow_id": handle.workflow_id})
            else:
                stdout().print(handle.id)
            return
        try:
            detail = await see_through(polos, handle.id, quiet=as_json)
        except asyncio.CancelledError:
            again = "it goes on by itself" if connection.stack else "`polos dev` goes on with it"
            raise Interrupted(f"stopped waiting for {handle.id}; {again}.") from None
    print_outcome(detail, as_json)
