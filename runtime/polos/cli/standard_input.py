"""Standard input, read so that the first Ctrl-C ends the reading at once, whenever it comes.

Commands run in an event loop, whose handler of Ctrl-C cancels the command's task: that takes effect when the task next
waits for the loop, and a read of standard input does not wait for the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import signal
import sys
from collections.abc import Generator
from typing import cast

from polos.cli.outcome import Interrupted

_LOOK_EVERY = 0.2


def ask(question: str, *, interrupted: str) -> str:
    """Ask on standard error; the line that is answered, empty at the end of the input.

    Raises `Interrupted`, saying `interrupted`, for a Ctrl-C.
    """
    with _ended_by_ctrl_c(interrupted, "\n"):  # before anybody has reason to press it
        sys.stderr.write(question)
        sys.stderr.flush()
        if _is_closed():
            return ""
        _wait()
        return sys.stdin.readline()


def read_all() -> str:
    """All of it. Raises `Interrupted` for a Ctrl-C, and `OSError` and `ValueError` for what cannot be read."""
    with _ended_by_ctrl_c("interrupted."):
        if _is_closed():
            raise OSError("it is closed")
        _wait()
        return sys.stdin.read()


def _is_closed() -> bool:
    """Whether the process was started without a standard input (`<&-` in a shell)."""
    return cast("object", sys.stdin) is None


@contextlib.contextmanager
def _ended_by_ctrl_c(told: str, after: str = "") -> Generator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        task = asyncio.current_task()
        if task is not None and task.cancelling():  # one that came before, which the loop's handler took
            raise KeyboardInterrupt
        yield
    except KeyboardInterrupt:
        sys.stderr.write(after)
        raise Interrupted(told) from None
    finally:
        signal.signal(signal.SIGINT, before)


def _wait() -> None:
    """Wait until there is something to read, in slices.

    A signal that comes after the interpreter has last looked for one, and before the system call, does not interrupt
    the call: a read would go on. Where there is no waiting for the input (on Windows, or if it is no file), it does.
    """
    with contextlib.suppress(OSError, ValueError):
        while not select.select([sys.stdin], [], [], _LOOK_EVERY)[0]:
            pass
