"""`make demo`: the digest of this repository, on a database in a file.

Kill it at any moment and start it again: it goes on where it stopped. Ctrl-C does the same.

    python examples/digest/demo.py [--folder FOLDER] [--database FILE] [--manual] [--headless]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from app import Digest, DigestRequest, Measured, approval_topic, digest
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from polos import ExecutionDetail, Polos, StepDetail, events
from polos.cli.following import Change, Family, Follower, family, watch
from polos.cli.timeline import render
from polos.clock import SystemClock

HERE = Path(__file__).resolve()
REPOSITORY = HERE.parents[2]
NUMBERED = "demo-"


class Options(argparse.Namespace):
    """What the command line says."""

    folder: Path
    database: Path
    manual: bool
    headless: bool
    batch: int
    pace: float
    pause: float


def read_options(arguments: list[str]) -> Options:
    parser = argparse.ArgumentParser(prog="demo.py", description="A durable digest of a folder.")
    parser.add_argument("--folder", type=Path, default=REPOSITORY, help="what to measure (default: this repository)")
    parser.add_argument("--database", type=Path, default=REPOSITORY / ".polos" / "demo.db")
    parser.add_argument("--manual", action="store_true", help="wait for your approval instead of giving it")
    parser.add_argument("--headless", action="store_true", help="plain output, for tests")
    parser.add_argument("--batch", type=int, default=10, help="how many files a step measures")
    parser.add_argument("--pace", type=float, default=0.3, help="seconds that a step takes at least")
    parser.add_argument("--pause", type=float, default=2.0, help="seconds until the approval")
    return parser.parse_args(arguments, namespace=Options())


# ---- the run: nothing in this part is about output


async def next_id(polos: Polos) -> tuple[str, bool]:
    """The newest digest of this database if it is unfinished (and True), or else a new id.

    The id is counted, not drawn: a process that dies while it starts an execution leaves nothing that the next one
    would start a second time.
    """
    page = await polos.list_executions(workflow_id=digest.id)
    numbers = {int(line.id.removeprefix(NUMBERED)): line for line in page if line.id.startswith(NUMBERED)}
    latest = max(numbers, default=0)
    if latest and numbers[latest].completed_at is None:
        return numbers[latest].id, True
    return f"{NUMBERED}{latest + 1}", False


def request(options: Options, execution_id: str) -> DigestRequest:
    database = options.database.resolve()
    return DigestRequest(
        folder=str(options.folder.resolve()),
        report=str(database.parent / f"{execution_id}.md"),
        approval_seconds=86_400,
        batch_size=options.batch,
        pace=options.pace,
        log=f"{database}-steps.log",
    )


async def approve(polos: Polos, execution_id: str) -> None:
    """Publish the approval. Its id is made from the execution's, so a second one is the same event."""
    event = events.EventData(data={"approved": True, "by": "the demo"}, event_id=f"approval-{execution_id}")
    await events.publish(polos, approval_topic(execution_id), event)


def is_suspended(found: Family) -> bool:
    return any(step.key == "approval" for step in found.waiting_for)


@asynccontextmanager
async def opened(database: Path) -> AsyncGenerator[Polos]:
    """A client. When Ctrl-C comes it is left as it is: the database is always ready for a sudden end."""
    polos = Polos(local=database)
    try:
        yield polos
    except (asyncio.CancelledError, KeyboardInterrupt):
        raise
    except BaseException:
        await asyncio.to_thread(polos.close, 1.0)
        raise
    await polos.stop()


# ---- what is shown


class Screen:
    """Lines and a bar, or plain lines where output is not a terminal."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._began = time.monotonic()
        self._progress = Progress(
            TextColumn("  {task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("files"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task: TaskID = self._progress.add_task("measured", total=None)

    def start(self) -> None:
        self._progress.start()

    def stop(self) -> None:
        self._progress.stop()

    def say(self, text: str = "", style: str = "") -> None:
        self.console.print(text, style=style or None)

    def changes(self, changes: list[Change], found: Family) -> None:
        """A line for every step that has ended, and the bar."""
        for change in changes:
            if change.step.status in ("completed", "failed") and change.step.kind != "child":
                self.say(self._line(change))
        total = next((step.result for step in found.root.steps if step.key == "find_folders" and step.result), [])
        done = sum(
            step.result.files
            for execution in found.children.values()
            for step in execution.steps
            if isinstance(step.result, Measured)
        )
        self._progress.update(self._task, completed=done, total=sum(one.files for one in total) or None)

    def _line(self, change: Change) -> str:
        where = change.execution.payload.name if change.depth else change.execution.workflow_id
        seconds = time.monotonic() - self._began
        return f"  {seconds:5.1f} s  {where:<14.14}  {change.step.key:<14}  {outcome(change.step)}"


def outcome(step: StepDetail) -> str:
    """What a step came to, in a few words."""
    if step.error is not None:
        return f"{step.status}: {step.error.message}"
    match step.result:
        case Measured() as measured:
            return f"{count(measured.files, 'file')}, {count(measured.lines, 'line')}"
        case list() as listed:
            return count(len(listed), "folder" if step.key == "find_folders" else "file")
        case {"data": {"by": str(by)}}:
            return f"given by {by}"
        case str(path):
            return shown_path(path)
        case _:
            return step.status


def count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def shown_path(path: Path | str) -> str:
    """A path as short as it can be said from here."""
    shown = os.path.relpath(path)
    return str(path) if shown.startswith("..") else shown


async def show(options: Options) -> None:
    """The demo for people."""
    screen = Screen(Console(highlight=False, emoji=False, markup=False))
    async with opened(options.database) as polos:
        execution_id, unfinished = await next_id(polos)
        follower = Follower(polos, execution_id)
        if unfinished:
            before = await follower.look()
            done = sum(change.step.status == "completed" for change in before)
            screen.say(f"{execution_id} was left unfinished: it goes on.", "bold")
            screen.say(f"{done} steps are on record and do not run again.")
        else:
            screen.say(f"Digest of {shown_path(options.folder.resolve())} as {execution_id}", "bold")
            screen.say(f"Every step is recorded in {shown_path(options.database)}.")
            screen.say("Kill this at any moment and start it again: it goes on where it stopped.", "dim")
        screen.say()
        await polos.start()
        if not unfinished:
            await digest.start(request(options, execution_id), client=polos, id=execution_id)
        found = await follow(follower, screen, until_suspended=not options.manual, manual=options)
    if found.root.completed_at is None:
        screen.say()
        screen.say("Suspended: nothing runs.", "bold cyan")
        screen.say(f"The digest waits for an event on {approval_topic(execution_id)}.")
        size = options.database.stat().st_size / 1024
        screen.say(f"The worker has stopped; the execution is rows in {shown_path(options.database)} ({size:,.0f} KB).")
        await asyncio.sleep(options.pause)
        screen.say()
        screen.say(f"Approved, {options.pause:g} s later: a new worker goes on.", "bold")
        async with opened(options.database) as polos:
            await polos.start()
            await approve(polos, execution_id)
            follower.use(polos)
            await follow(follower, screen, until_suspended=False)
    async with opened(options.database) as polos:
        found = await family(polos, execution_id)
    screen.say()
    screen.console.print(render(found, SystemClock().now(), screen.console, children=False))
    show_report(screen, options, found.root)


async def follow(follower: Follower, screen: Screen, *, until_suspended: bool, manual: Options | None = None) -> Family:
    """Show what happens, to the end of the execution or until it is suspended."""
    screen.start()
    told = False
    try:
        async for changes in watch(follower):
            assert follower.family is not None
            screen.changes(changes, follower.family)
            if not is_suspended(follower.family):
                continue
            if until_suspended:
                break
            if manual is not None and not told:
                told = True
                topic = approval_topic(follower.family.root.id)
                screen.say()
                screen.say("Suspended: nothing runs. Approve it from another terminal:", "bold cyan")
                data = '{"approved": true, "by": "me"}'
                polos = shown_path(Path(sys.executable).with_name("polos"))
                screen.say(f"  {polos} publish {topic} '{data}' --local {shown_path(manual.database)}")
    finally:
        screen.stop()
    assert follower.family is not None
    return follower.family


def show_report(screen: Screen, options: Options, root: ExecutionDetail) -> None:
    screen.say()
    result = root.result
    if root.status != "completed" or not isinstance(result, Digest):
        raise SystemExit(f"{root.id} {root.status}: {root.error.message if root.error else ''}")
    if result.report is None:
        screen.say(f"{root.id} was not approved: there is no report.")
        return
    screen.say(f"Report: {shown_path(result.report)} (approved by {result.approved_by})", "bold")
    screen.say()
    for line in Path(result.report).read_text(encoding="utf-8").splitlines()[:12]:
        screen.say(f"  {line}")
    screen.say("  …")
    screen.say()
    polos = shown_path(Path(sys.executable).with_name("polos"))
    screen.say(f"Every step of it: {polos} show {root.id} --local {shown_path(options.database)}", "dim")


# ---- without output, for tests


async def run_headless(options: Options) -> None:
    """The same run: one line at the start, one at the end."""
    async with opened(options.database) as polos:
        execution_id, unfinished = await next_id(polos)
        print(f"{'continued' if unfinished else 'started'} {execution_id}", flush=True)
        await polos.start()
        if not unfinished:
            await digest.start(request(options, execution_id), client=polos, id=execution_id)
        follower = Follower(polos, execution_id)
        async for _ in watch(follower, 0.05):
            assert follower.family is not None
            if is_suspended(follower.family):
                break
    if follower.family is not None and follower.family.root.completed_at is None:
        await asyncio.sleep(options.pause)
        async with opened(options.database) as polos:
            await polos.start()
            await approve(polos, execution_id)
            result = await polos.wait_for_result(execution_id, 60)
    else:
        result = follower.family.root.result if follower.family is not None else None
    print(f"report {result.report}", flush=True)


def main(arguments: list[str]) -> int:
    options = read_options(arguments)
    if not options.folder.is_dir():
        print(f"demo.py: there is no folder {options.folder}", file=sys.stderr)
        return 2
    try:
        asyncio.run(run_headless(options) if options.headless else show(options))
    except KeyboardInterrupt:
        again = "make demo" if options.database == REPOSITORY / ".polos" / "demo.db" else "the same command"
        print(f"\nStopped; nothing is lost: {again} goes on from here.", flush=True)
        os._exit(130)  # steps that run in threads would hold the process; what they do is not recorded yet
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
