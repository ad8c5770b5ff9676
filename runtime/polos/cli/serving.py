"""The worker process of `polos dev`: runs everything in one local database, and says when executions begin and end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import textwrap
import threading
from collections.abc import Mapping
from datetime import datetime, timedelta

from polos import Polos
from polos.cli.application import ApplicationError, load
from polos.cli.outcome import USAGE, complain, exit_code, print_json, stderr, stdout
from polos.cli.standard_output import READER_LEFT, give_up, kept_for_answers, prepare
from polos.cli.terminal import printable
from polos.cli.timeline import length
from polos.client import ExecutionPage
from polos.clock import SystemClock
from polos.types.types import ErrorDetail, ExecutionSummary
from polos.workflow import Workflow, get_all_workflows

_LOOK_EVERY = 0.5
_RECENT = timedelta(days=2)
_LONG = timedelta(days=90)
_OPEN = ("queued", "running", "waiting")
_WIDEST = 120


class Announcer:
    """Says once that an execution has started, or goes on, and once that it has ended."""

    def __init__(self, as_json: bool) -> None:
        self._json = as_json
        self._open: dict[str, str] = {}
        self._ended: set[str] = set()

    @property
    def open(self) -> list[str]:
        return list(self._open)

    def left_behind(self, lines: list[ExecutionSummary]) -> None:
        """What earlier processes left: those that had begun go on, and the ended ones are no news."""
        for line in lines:
            if line.status not in _OPEN:
                self._ended.add(line.id)
            elif line.status != "queued":
                self._open[line.id] = line.status
                self._say(line, "goes on")

    def news(self, line: ExecutionSummary) -> bool:
        """Whether it has failed, and that has not been said."""
        return line.status == "failed" and line.id not in self._ended

    def look(self, lines: list[ExecutionSummary], errors: Mapping[str, ErrorDetail]) -> None:
        """`errors` are those of executions that have failed, by id."""
        for line in sorted(lines, key=lambda one: one.created_at):
            if line.id in self._ended:
                continue
            if line.id not in self._open and line.status != "queued":
                self._open[line.id] = line.status
                self._say(line, "started", line.started_at)
            if line.id in self._open and line.status not in _OPEN:
                del self._open[line.id]
                self._ended.add(line.id)
                self._say(line, line.status.replace("_", " "), line.completed_at, errors.get(line.id))
            elif line.id in self._open and line.status != self._open[line.id]:
                self._open[line.id] = line.status

    def _say(
        self, line: ExecutionSummary, what: str, at: datetime | None = None, error: ErrorDetail | None = None
    ) -> None:
        if self._json:
            shown = {"event": what.replace(" ", "_"), "at": at or SystemClock().now(), "execution": line}
            print_json(shown, indent=None)
            return
        moment = (at or SystemClock().now()).astimezone()
        ended = line.completed_at if line.id in self._ended else None
        took = f" after {length(ended - line.created_at)}" if ended is not None else ""
        because = f": {' '.join(f'{error.type}: {error.message}'.split())}" if error is not None else ""
        stdout().print(f"{moment:%H:%M:%S}  {line.workflow_id}  {line.id}  {what}{took}{because}", soft_wrap=True)
        sys.stdout.flush()


async def serve(spec: str, local: str, as_json: bool) -> None:
    """Run the worker until standard input ends."""
    ids = load(spec)
    stderr().print(f"polos: {spec} on {local}; Ctrl-C ends it")
    names = ", ".join(_describe(get_all_workflows()[one]) for one in ids) or "the application declares no workflows yet"
    width = min(stderr().width, _WIDEST) - 1
    for line in textwrap.wrap(names, width, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False):
        stderr().print(line)
    done = asyncio.Event()
    loop = asyncio.get_running_loop()
    threading.Thread(target=_wait_for_end_of_input, args=(loop, done), daemon=True).start()
    announcer = Announcer(as_json)
    polos = Polos(local=local)
    announcer.left_behind(await _recent(polos, _LONG))
    await polos.start()
    try:
        while not done.is_set():
            await _look(polos, announcer)
            try:
                await asyncio.wait_for(done.wait(), _LOOK_EVERY)
            except TimeoutError:
                continue
        await asyncio.to_thread(polos.close, 2.0)
    except BrokenPipeError:
        await asyncio.to_thread(polos.close, 2.0)
        raise
    finally:
        await asyncio.to_thread(polos.close, 0.0)


async def _look(polos: Polos, announcer: Announcer) -> None:
    lines = {line.id: line for line in await _recent(polos, _RECENT)}
    for execution_id in announcer.open:
        if execution_id not in lines:
            lines[execution_id] = await polos.describe(execution_id)
    failed = [await polos.describe(line.id) for line in lines.values() if announcer.news(line)]
    announcer.look(list(lines.values()), {one.id: one.error for one in failed if one.error is not None})


async def _recent(polos: Polos, back: timedelta) -> ExecutionPage:
    return await polos.list_executions(since=SystemClock().now() - back, limit=500)


def _describe(workflow: Workflow[..., object]) -> str:
    if workflow.trigger is not None:
        return f"{workflow.id} (on {workflow.trigger})"
    if workflow.pattern is not None:
        return f"{workflow.id} (on native events)"
    if workflow.schedule is not None:
        return f"{workflow.id} (at {workflow.schedule.cron})"
    return workflow.id


def _wait_for_end_of_input(loop: asyncio.AbstractEventLoop, done: asyncio.Event) -> None:
    sys.stdin.buffer.read()
    loop.call_soon_threadsafe(done.set)


def main(arguments: list[str]) -> int:
    """`python -m polos.cli.serving APP FILE [--json]`."""
    prepare()
    as_json = "--json" in arguments[2:]
    with kept_for_answers() if as_json else contextlib.nullcontext():
        return _serve(arguments[0], arguments[1], as_json)


def _serve(spec: str, local: str, as_json: bool) -> int:
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("polos.workflow").setLevel(logging.INFO)
    try:
        asyncio.run(serve(spec, local, as_json))
    except KeyboardInterrupt:
        return 0
    except BrokenPipeError:
        give_up()
        return READER_LEFT
    except ApplicationError as error:
        sys.stderr.write(printable(error.details))
        complain(error)
        return USAGE
    except Exception as error:
        code = exit_code(error)
        if code is None:
            raise
        complain(error)
        return code
    return 0


if __name__ == "__main__":
    _code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(_code)  # a step that runs in a thread must not hold the process
