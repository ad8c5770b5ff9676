"""`polos publish`, `resume`: telling executions something."""

from __future__ import annotations

from typing import Annotated

import typer

from polos.cli.connection import Connection
from polos.cli.options import App, Json, Local, Stack, load_application, read_json
from polos.cli.outcome import command, print_json, stdout
from polos.cli.showing import ExecutionId
from polos.errors import UsageError

Data = Annotated[str | None, typer.Argument(metavar="JSON", help="The data, as JSON, @file or @- for standard input.")]


@command
async def publish(
    topic: Annotated[str, typer.Argument(metavar="TOPIC", help="The topic, an exact string; not with --source.")],
    data: Annotated[str | None, typer.Argument(metavar="JSON", help="The event's data: JSON, @file or @-.")] = None,
    event_type: Annotated[str | None, typer.Option("--type", metavar="TYPE", help="The event's type.")] = None,
    event_id: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="The event's id; published again, it is the same event.")
    ] = None,
    source: Annotated[
        str | None, typer.Option("--source", metavar="SOURCE", help="Put a native event of this source, as aws.s3.")
    ] = None,
    detail_type: Annotated[
        str | None, typer.Option("--detail-type", metavar="TYPE", help="The detail-type of a native event.")
    ] = None,
    app: App = None,
    stack: Stack = None,
    local: Local = None,
    as_json: Json = False,
) -> None:
    """Publish an event on TOPIC.

    Every execution that waits for one there gets it, and each workflow that it triggers is started once. With
    --source and --detail-type it is a native event of EventBridge on the account's default bus, JSON its detail; it
    starts the workflows whose EventPattern it matches.
    """
    connection = Connection.chosen(stack, local)
    native = source is not None or detail_type is not None
    if native and (data is not None or source is None or detail_type is None or event_type is not None):
        raise UsageError("A native event needs --source, --detail-type and JSON, and has no TOPIC and no --type.")
    if not native and data is None:
        raise UsageError("What shall be published? polos publish takes a TOPIC and JSON.")
    value = read_json(topic if data is None else data, "event")
    connection.needs_file()
    load_application(app)
    async with connection.client() as polos:
        if source is not None and detail_type is not None:
            done = {"id": await polos.put_event(source, detail_type, value, event_id=event_id), "source": source}
        else:
            event = await polos.encode_event(topic, value, event_type, event_id)
            await polos.publish_events([event])
            done = {"id": event.id, "sequence_id": event.sequence, "topic": topic}
    if as_json:
        print_json(done)
    elif native:
        stdout().print(f"put the event {done['id']} of {source} on the default bus")
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
    """Resume a suspended step.

    The first resume of a step counts, also one that comes before the step is reached.
    """
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
