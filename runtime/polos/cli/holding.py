"""`polos queues`, `polos workflows`: pausing all of a queue or of a workflow, and what is paused."""

from __future__ import annotations

from typing import Annotated

import typer

from polos.cli.connection import Connection
from polos.cli.options import App, Json, Local, Stack, load_application
from polos.cli.outcome import command, print_json, print_table, stderr, stdout
from polos.cli.timeline import length
from polos.clock import SystemClock
from polos.workflow import get_all_workflows

QueueName = Annotated[
    str, typer.Argument(metavar="QUEUE", help="The queue's name; a workflow without a queue has one of its own id.")
]
WorkflowId = Annotated[str, typer.Argument(metavar="WORKFLOW", help="The workflow's id.")]


@command
async def pause_queue(
    name: QueueName, app: App = None, stack: Stack = None, local: Local = None, as_json: Json = False
) -> None:
    """Let the executions of a queue start nothing new for now.

    Steps that run end. What is started, triggered or scheduled meanwhile is kept for later. Within 15 s everywhere.
    """
    await _change("queue", name, app, stack, local, pause=True, as_json=as_json)


@command
async def unpause_queue(
    name: QueueName, app: App = None, stack: Stack = None, local: Local = None, as_json: Json = False
) -> None:
    """Let the executions of a paused queue go on.

    For one that is not paused it changes nothing.
    """
    await _change("queue", name, app, stack, local, pause=False, as_json=as_json)


@command
async def list_queues(app: App = None, stack: Stack = None, local: Local = None, as_json: Json = False) -> None:
    """List the queues that are paused."""
    await _list("queue", app, stack, local, as_json=as_json)


@command
async def pause_workflow(
    workflow: WorkflowId, app: App = None, stack: Stack = None, local: Local = None, as_json: Json = False
) -> None:
    """Let the executions of a workflow start nothing new for now.

    Steps that run end. What is started, triggered or scheduled meanwhile is kept for later. Within 15 s everywhere.
    """
    await _change("workflow", workflow, app, stack, local, pause=True, as_json=as_json)


@command
async def unpause_workflow(
    workflow: WorkflowId, app: App = None, stack: Stack = None, local: Local = None, as_json: Json = False
) -> None:
    """Let the executions of a paused workflow go on.

    For one that is not paused it changes nothing.
    """
    await _change("workflow", workflow, app, stack, local, pause=False, as_json=as_json)


@command
async def list_workflows(app: App = None, stack: Stack = None, local: Local = None, as_json: Json = False) -> None:
    """List the workflows that are paused."""
    await _list("workflow", app, stack, local, as_json=as_json)


async def _change(
    kind: str, name: str, app: str | None, stack: str | None, local: str | None, *, pause: bool, as_json: bool
) -> None:
    connection = Connection.chosen(stack, local)
    connection.needs_file()
    load_application(app)
    known = get_all_workflows()
    if kind == "workflow" and known and name not in known:
        stderr().print(f"polos: the application has no workflow {name}; is the name right?")
    async with connection.client() as polos:
        acts = {
            ("queue", True): polos.pause_queue,
            ("queue", False): polos.unpause_queue,
            ("workflow", True): polos.pause_workflow,
            ("workflow", False): polos.unpause_workflow,
        }
        was_paused = (kind, name) in {(one.kind, one.name) for one in await polos.list_paused()}
        await acts[kind, pause](name)
    if as_json:
        print_json({kind: name, "paused": pause, "was_paused": was_paused})
    elif was_paused == pause:
        stdout().print(f"the {kind} {name} is {'already' if pause else 'not'} paused")
    else:
        stdout().print(f"{'paused' if pause else 'unpaused'} the {kind} {name}")


async def _list(kind: str, app: str | None, stack: str | None, local: str | None, *, as_json: bool) -> None:
    connection = Connection.chosen(stack, local)
    connection.needs_file()
    load_application(app)
    async with connection.client() as polos:
        found = [one for one in await polos.list_paused() if one.kind == kind]
    if as_json:
        print_json({f"{kind}s": found})
        return
    if not found:
        stderr().print(f"No {kind} is paused.")
        return
    now = SystemClock().now()
    rows = [(one.name, f"{one.since.astimezone():%Y-%m-%d %H:%M:%S}", length(now - one.since)) for one in found]
    print_table((kind, "paused since", "for"), rows)
