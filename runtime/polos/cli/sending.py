"""`polos publish`, `resume`: telling executions something."""

from __future__ import annotations

from typing import Annotated

import typer

from polos.cli.connection import Connection
from polos.cli.options import App, Json, Local, Stack, load_application, read_json
from polos.cli.outcome import command, print_json, stdout
from polos.cli.showing import ExecutionId

Data = Annotated[str | None, typer.Argument(metavar="JSON", help="The data, as JSON, @file or @- for standard input.")]


@command
async def publish(
    topic: Annotated[str, typer.Argument(metavar="TOPIC", help="The topic, an exact string.")],
    data: Annotated[str, typer.Argument(metavar="JSON", help="The event's data: JSON, @file or @-.")],
    event_type: Annotated[str | None, typer.Option("--type", metavar="TYPE", help="The event's type.")] = None,
    event_id: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="The event's id; published again, it is the same event.")
    ] = None,
    app: App = None,
    stack: Stack = None,
    local: Local = None,
    as_json: Json = False,
) -> None:
    """Publish an event: every execution that waits for one on TOPIC gets it."""
    connection = Connection.chosen(stack, local)
    value = read_json(data, "event")
    connection.needs_file()
    load_application(app)
    async with connection.client() as polos:
        event = await polos.encode_event(topic, value, event_type, event_id)
        await polos.publish_events([event])
    if as_json:
        print_json({"id": event.id, "sequence_id": event.sequence, "topic": topic})
    else:
        stdout().print(f"published on {topic}")


@command
async def resume(
    execution_id: ExecutionId,
    step: Annotated[str, typer.Argument(metavar="STEP", help="The key of the step that is suspended.")],
    data: Data = None,
    app: App = None,
    stack: Stack = None,
    local: Local = None,
    as_json: Json = False,
) -> None:
    """Resume a suspended step. The first resume of a step counts, also one that comes before the step is reached."""
    connection = Connection.chosen(stack, local)
    value = read_json(data, "data")
    connection.needs_file()
    load_application(app)
    async with connection.client() as polos:
        await polos.resume("", execution_id, step, value)
    if as_json:
        print_json({"execution_id": execution_id, "step": step})
    else:
        stdout().print(f"resumed {step} of {execution_id}")
