"""`polos schedules`: what runs at times of its own."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

import typer

from polos.cli.connection import Connection
from polos.cli.options import App, Json, Local, Stack, load_application
from polos.cli.outcome import command, print_json, print_table, stderr, stdout
from polos.clock import SystemClock
from polos.core import cron
from polos.features import schedules

OfWorkflow = Annotated[str, typer.Argument(metavar="WORKFLOW", help="The workflow's id.")]
Key = Annotated[str, typer.Option("--key", metavar="KEY", help="The schedule's key.")]


@command
async def list_schedules(
    workflow: Annotated[str | None, typer.Option("--workflow", metavar="ID", help="Only of this workflow.")] = None,
    app: App = None,
    stack: Stack = None,
    local: Local = None,
    as_json: Json = False,
) -> None:
    """List schedules, with the next time of each."""
    connection = Connection.chosen(stack, local)
    connection.needs_file()
    load_application(app)
    async with connection.client() as polos:
        found = await schedules.list(polos, workflow)
    now = SystemClock().now()
    following = [None if one.paused else cron.parse(one.cron, one.timezone).next_after(now) for one in found]
    if as_json:
        shown = [{**one.model_dump(), "next_at": at} for one, at in zip(found, following, strict=True)]
        print_json({"schedules": shown})
        return
    if not found:
        stderr().print("No schedules.")
        return
    rows: list[tuple[str, ...]] = []
    for one, at in zip(found, following, strict=True):
        when = f"{at.astimezone():%Y-%m-%d %H:%M}" if at is not None else "paused"
        rows.append((one.workflow_id, one.key, one.cron, one.timezone, one.overlap, when))
    print_table(("workflow", "key", "cron", "time zone", "overlap", "next"), rows)


@command
async def create(
    workflow: OfWorkflow,
    expression: Annotated[str, typer.Argument(metavar="CRON", help="Minute, hour, day, month, weekday, in quotes.")],
    timezone: Annotated[str, typer.Option("--timezone", metavar="ZONE", help="An IANA time zone.")] = "UTC",
    key: Key = "global",
    overlap: Annotated[
        str, typer.Option("--overlap", metavar="skip|allow", help="What a time does while the run before is open.")
    ] = "skip",
    app: App = None,
    stack: Stack = None,
    local: Local = None,
    as_json: Json = False,
) -> None:
    """Run a workflow at the times of a cron expression.

    Made again with the same key, it is changed. The workflow must be declared with schedule=True, or with a schedule.
    """
    connection = Connection.chosen(stack, local)
    load_application(app)
    async with connection.client() as polos:
        made = await schedules.create(polos, workflow, expression, timezone, key, overlap)
    if as_json:
        print_json({"id": made, "workflow_id": workflow, "key": key, "schedule": "created"})
    else:
        following = cron.parse(expression, timezone).next_after(SystemClock().now())
        stdout().print(f"created the schedule {key} of {workflow}; next at {following.astimezone():%Y-%m-%d %H:%M}")


@command
async def pause(
    workflow: OfWorkflow,
    key: Key = "global",
    app: App = None,
    stack: Stack = None,
    local: Local = None,
    as_json: Json = False,
) -> None:
    """Start nothing at its times until it is resumed."""
    await _change(schedules.pause, "paused", workflow, key, app, stack, local, as_json)


@command
async def resume(
    workflow: OfWorkflow,
    key: Key = "global",
    app: App = None,
    stack: Stack = None,
    local: Local = None,
    as_json: Json = False,
) -> None:
    """Let a paused schedule go on.

    The times in between are not made up for.
    """
    await _change(schedules.resume, "resumed", workflow, key, app, stack, local, as_json)


@command
async def delete(
    workflow: OfWorkflow,
    key: Key = "global",
    app: App = None,
    stack: Stack = None,
    local: Local = None,
    as_json: Json = False,
) -> None:
    """Remove a schedule.

    One that the code declares comes back with the next deployment.
    """
    await _change(schedules.delete, "deleted", workflow, key, app, stack, local, as_json)


async def _change(
    change: Callable[..., Coroutine[Any, Any, None]],
    done: str,
    workflow: str,
    key: str,
    app: str | None,
    stack: str | None,
    local: str | None,
    as_json: bool,
) -> None:
    connection = Connection.chosen(stack, local)
    connection.needs_file()
    load_application(app)
    async with connection.client() as polos:
        await change(polos, workflow, key)
    if as_json:
        print_json({"workflow_id": workflow, "key": key, "schedule": done})
    else:
        stdout().print(f"{done} the schedule {key} of {workflow}")
