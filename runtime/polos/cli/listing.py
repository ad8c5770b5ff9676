"""`polos list`: executions, newest first."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

from polos.cli.connection import Connection
from polos.cli.options import App, Json, Local, Stack, load_application
from polos.cli.outcome import command, print_json, print_table, stderr
from polos.cli.timeline import length
from polos.clock import SystemClock
from polos.errors import UsageError

_STATUSES = ("queued", "running", "waiting", "completed", "failed", "cancelled", "timed_out")


@command
async def list_executions(
    workflow: Annotated[str | None, typer.Option("--workflow", metavar="ID", help="Only of this workflow.")] = None,
    status: Annotated[
        str | None, typer.Option("--status", metavar="STATUS", help=f"Only in this status: {', '.join(_STATUSES)}.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="At most so many.")] = 20,
    days: Annotated[float, typer.Option("--days", min=0, max=3650, help="Started in so many last days.")] = 30,
    app: App = None,
    stack: Stack = None,
    local: Local = None,
    as_json: Json = False,
) -> None:
    """List executions, children included, newest first."""
    if status is not None and status not in _STATUSES:
        raise UsageError(f"There is no status {status!r}: it is one of {', '.join(_STATUSES)}.")
    connection = Connection.chosen(stack, local)
    connection.needs_file()
    load_application(app)
    now = SystemClock().now()
    async with connection.client() as polos:
        page = await polos.list_executions(
            workflow_id=workflow, status=status, since=now - timedelta(days=days), limit=limit
        )
    if as_json:
        print_json({"executions": list(page), "cursor": page.cursor})
        return
    if not page:
        stderr().print(f"No executions in the last {days:g} days.")
        return
    rows: list[tuple[str, ...]] = []
    for line in page:
        took = length((line.completed_at or now) - line.created_at)
        started = f"{line.created_at.astimezone():%m-%d %H:%M:%S}"
        rows.append((line.id, line.workflow_id, line.status, started, took))
    print_table(("execution", "workflow", "status", "started", "took"), rows, right="took")
