"""`polos dev`: the worker of the embedded backend in a process of its own, started anew when the code changes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from polos.cli.application import Place, locate
from polos.cli.connection import Connection
from polos.cli.options import App, Json, Local, Stack
from polos.cli.outcome import BACKEND, USAGE, command, stderr
from polos.cli.standard_output import READER_LEFT, answers
from polos.errors import UsageError

_GRACE, _AFTER_A_DEATH = 5.0, 1.0


@command
async def dev(
    application: Annotated[
        str | None, typer.Argument(metavar="APP", help="module[:object] or a .py file (default: --app, POLOS_APP).")
    ] = None,
    reload: Annotated[bool, typer.Option("--reload/--no-reload", help="Start anew when a file changes.")] = True,
    app: App = None,
    stack: Stack = None,
    local: Local = None,
    as_json: Json = False,
) -> None:
    """Run the workflows of APP on the local backend until Ctrl-C.

    It also goes on with what earlier processes left, and starts again whenever the code changes.
    """
    spec = application or app or os.environ.get("POLOS_APP")
    if not spec:
        raise UsageError("Which application? polos dev module[:object], or polos dev file.py.")
    connection = Connection.chosen(stack, local)
    if connection.stack is not None:
        raise UsageError("polos dev runs on the local backend; a stack needs no worker.")
    place = locate(spec)
    _end_on_sigterm()
    worker = Worker(spec, connection.local, as_json)
    try:
        await worker.start()
        if reload:
            await _restart_on_change(worker, place)
        else:
            await worker.ended()
    except asyncio.CancelledError:
        stderr().print("polos: stopping; what is unfinished goes on with the next polos dev")
        return  # with 0, also if the worker has to be killed
    finally:
        await worker.stop()
    if not reload and worker.code not in (0, None):
        raise typer.Exit(worker.code)


class Worker:
    """The worker process. It ends when its standard input does, so that it never outlives this one."""

    def __init__(self, spec: str, local: str, as_json: bool) -> None:
        self._arguments = [spec, local, *(["--json"] if as_json else [])]
        self._process: asyncio.subprocess.Process | None = None
        self.code: int | None = None
        self.started = asyncio.Event()

    async def start(self) -> None:
        if self._process is not None and self._process.returncode is None:
            return
        self.started.set()
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "polos.cli.serving",
            *self._arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=answers(),
            start_new_session=True,  # Ctrl-C is ours: the worker ends its turns first
        )

    async def ended(self) -> None:
        if self._process is not None:
            self.code = await self._process.wait()

    async def died(self) -> int:
        """Wait until the process has ended though nobody asked it to; its exit code, negative for a signal."""
        while True:
            self.started.clear()
            process = self._process
            if process is not None:
                code = await process.wait()
                if process is self._process:
                    return code
            else:
                await self.started.wait()

    async def stop(self) -> None:
        """Let the steps under way end for a moment; then kill: they run again, recorded ones don't."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            self.code = await asyncio.wait_for(process.wait(), _GRACE)
        except TimeoutError:
            process.kill()
            self.code = await process.wait()


async def _restart_on_change(worker: Worker, place: Place) -> None:
    """Start the worker anew when a file changes, and when its process died of something."""
    import watchfiles  # only this command needs it, and what it brings with it

    console, unheard = stderr(), asyncio.Event()
    changed = watchfiles.awatch(  # pyright: ignore[reportUnknownMemberType] - anyio's events need not be there
        place.folder, watch_filter=watchfiles.PythonFilter(), debounce=300, stop_event=unheard
    )
    deaths = asyncio.create_task(_restart_on_death(worker, unheard))
    try:
        async for changes in changed:
            names = sorted({Path(name).name for _, name in changes})
            console.print(f"polos: {', '.join(names[:3])}{' …' if len(names) > 3 else ''} changed, starting again")
            await worker.stop()
            await worker.start()
    finally:
        deaths.cancel()
        await asyncio.wait([deaths])
    if unheard.is_set():
        raise BrokenPipeError


async def _restart_on_death(worker: Worker, unheard: asyncio.Event) -> None:
    """`unheard` is set when nobody reads the worker's output any more."""
    while True:
        code = await worker.died()
        if code == READER_LEFT:
            unheard.set()
            return
        if code in (USAGE, BACKEND):
            stderr().print("polos: save a file to start again")  # what is wrong was told before
            await worker.started.wait()
            continue
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        stderr().print(f"polos: the worker's process died ({how}), starting again; `polos why` tells of what it ran")
        await asyncio.sleep(_AFTER_A_DEATH)
        await worker.start()


def _end_on_sigterm() -> None:
    task = asyncio.current_task()
    if task is not None:
        with contextlib.suppress(NotImplementedError):  # Windows
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
