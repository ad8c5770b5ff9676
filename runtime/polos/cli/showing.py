"""`polos show`: one execution and what happened in it."""

from __future__ import annotations

from typing import Annotated

import typer

from polos.cli.connection import Connection
from polos.cli.following import Family, family
from polos.cli.options import App, Json, Local, Stack, load_application
from polos.cli.outcome import command, print_json, stdout
from polos.cli.timeline import render
from polos.clock import SystemClock

ExecutionId = Annotated[str, typer.Argument(metavar="ID", help="The execution's id.")]


@command
async def show(
    execution_id: ExecutionId,
    children: Annotated[bool, typer.Option("--children/--no-children", help="The children's steps too.")] = True,
    app: App = None,
    stack: Stack = None,
    local: Local = None,
    as_json: Json = False,
) -> None:
    """Show an execution: a bar for every step and wait.

    Dark bars ran, light bars waited. While an execution only waits, nothing runs.
    """
    connection = Connection.chosen(stack, local)
    connection.needs_file()
    load_application(app)
    async with connection.client() as polos:
        found = await family(polos, execution_id) if children else Family(await polos.describe(execution_id))
    if as_json:
        print_json({**found.root.model_dump(), "descendants": list(found.children.values())})
        return
    console = stdout()
    console.print(render(found, SystemClock().now(), console, children=children), soft_wrap=False, crop=False)
    if found.root.status == "completed" and found.root.result is not None:
        print_json(found.root.result)
