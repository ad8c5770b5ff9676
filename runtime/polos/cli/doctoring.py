"""`polos doctor`: is a stack, or a local database, as it should be, and does anything in it need a person?"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from polos.cli.connection import Connection
from polos.cli.options import Json, Local, Stack
from polos.cli.outcome import FAILED, command, print_json, stdout
from polos.engine import diagnosis
from polos.engine.diagnosis import Stuck
from polos.engine.engine import Engine
from polos.local.backend import local_backend

_SIGNS: Final = {"ok": "ok", "wrong": "WRONG", "unknown": "?"}


@dataclass
class Report:
    """`checks` are those of the backend, `stuck` the executions that do not move; `fixed` were sent a wake."""

    checks: list[Any] = field(default_factory=list[Any])
    stuck: list[Stuck] = field(default_factory=list[Stuck])
    examined: int = 0
    fixed: bool = False

    @property
    def healthy(self) -> bool:
        return not (self.stuck and not self.fixed) and all(check.verdict != "wrong" for check in self.checks)


@command
async def doctor(
    fix: Annotated[bool, typer.Option("--fix", help="Send each stuck execution a wake. Always safe.")] = False,
    minutes: Annotated[
        float,
        typer.Option("--minutes", min=0, max=5_256_000, help="Stuck is what should have moved longer ago than this."),
    ] = 20,
    days: Annotated[float, typer.Option("--days", min=0, max=3650, help="Look at what started in so many days.")] = 30,
    stack: Stack = None,
    local: Local = None,
    as_json: Json = False,
) -> None:
    """Check a stack, and what is stuck in it.

    Its parts, your permissions, dead letters, and executions that do not move. Ends with 1 if something is wrong.
    With --fix what is stuck is driven on, and is no longer wrong.
    """
    connection = Connection.chosen(stack, local)
    connection.needs_file()
    report = await asyncio.to_thread(_examine, connection, fix, minutes * 60, timedelta(days=days))
    if as_json:
        print_json(
            {
                "healthy": report.healthy,
                "checks": report.checks,
                "examined": report.examined,
                "stuck": report.stuck,
                "fixed": report.fixed,
            }
        )
    else:
        _print(stdout(), report)
    if not report.healthy:
        raise typer.Exit(FAILED)


def _examine(connection: Connection, fix: bool, patience: float, days: timedelta) -> Report:
    if connection.stack is None:
        local = local_backend(connection.local)
        try:
            return _executions(Report(), Engine(local.backend), fix, patience, days)
        finally:
            local.close()
    from polos.aws.backend import aws_backend
    from polos.aws.checkup import Checkup
    from polos.aws.settings import Settings

    settings = Settings.from_stack(connection.stack)
    report = Report(list(Checkup(settings).all()))
    return _executions(report, Engine(aws_backend(settings)), fix, patience, days)


def _executions(report: Report, engine: Engine, fix: bool, patience: float, days: timedelta) -> Report:
    for execution_id in diagnosis.open_executions(engine, engine.clock.now() - days):
        report.examined += 1
        found = diagnosis.examine(engine, execution_id, patience)
        if found is not None:
            report.stuck.append(found)
            if fix:
                diagnosis.drive_on(engine, found)
    report.fixed = fix and bool(report.stuck)
    return report


def _print(console: Console, report: Report) -> None:
    for check in report.checks:
        console.print(f"{_SIGNS[check.verdict]:<6} {check.name}: {check.said}", soft_wrap=True)
        for line in check.details:
            console.print(f"         {line}", soft_wrap=True)
    count = _counted(report.examined, "open execution")
    if not report.stuck:
        console.print(f"ok     executions: {count}; each is held, or waits for something that has not come.")
        return
    sign = "ok" if report.fixed else "WRONG"
    end = "each was sent a wake" if report.fixed else "polos doctor --fix sends each a wake"
    stuck = f"{len(report.stuck)} {'is' if len(report.stuck) == 1 else 'are'} stuck"
    console.print(f"{sign:<6} executions: {count}, of which {stuck}; {end}.", soft_wrap=True)
    for one in report.stuck:
        since = f"{one.since.astimezone():%Y-%m-%d %H:%M:%S}"
        console.print(f"         {one.execution_id} ({one.workflow_id}): since {since} {one.reason}.", soft_wrap=True)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
