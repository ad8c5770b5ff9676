"""`polos fork`: a new execution that begins in the middle of another."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from polos.cli.connection import Connection
from polos.cli.options import App, Json, Local, Stack, load_application, read_json
from polos.cli.outcome import command, print_json, stdout
from polos.cli.showing import ExecutionId
from polos.errors import UsageError


@command
async def fork(
    execution_id: ExecutionId,
    from_step: Annotated[
        str | None,
        typer.Option("--from-step", metavar="KEY", help="Keep what was recorded before this step (default: nothing)."),
    ] = None,
    payload: Annotated[
        str | None, typer.Option("--input", metavar="JSON|@FILE", help="Another payload; @- reads standard input.")
    ] = None,
    result: Annotated[
        list[str] | None,
        typer.Option("--result", metavar="KEY=JSON", help="Another result for a step; repeatable."),
    ] = None,
    app: App = None,
    stack: Stack = None,
    local: Local = None,
    as_json: Json = False,
) -> None:
    """Start a copy that goes on from a given step.

    It keeps the records before that step; the copy's id is printed.
    The original is left as it is. On the local backend a running `polos dev` takes up the copy.
    """
    connection = Connection.chosen(stack, local)
    changed: dict[str, Any] = {} if payload is None else {"input": read_json(payload, "payload")}
    results = dict(_result(one) for one in result or [])
    connection.needs_file()
    load_application(app, required=True)
    async with connection.client() as polos:
        handle = await polos.fork(execution_id, from_step, results=results, **changed)
    if as_json:
        print_json({"execution_id": handle.id, "workflow_id": handle.workflow_id, "forked_from": execution_id})
    else:
        stdout().print(handle.id)


def _result(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UsageError(f"--result takes KEY=JSON, not {text!r}.")
    return key, read_json(value, f"result of {key}")
