"""Standard output, as a command finds it: closed, of an encoding without most letters, or read by one who leaves early.

With `--json` it belongs to the command's answer alone: what the application prints, at import and in steps, and what
programs print that it starts, goes to standard error. Imports nothing of the extra `cli`.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Generator
from contextvars import ContextVar
from typing import Any, Final, TextIO, cast

READER_LEFT: Final = 141
"""The exit code of a command whose reader has closed the pipe: what a shell shows for the signal SIGPIPE."""

_LAST: Final = 2
_answers: ContextVar[TextIO | None] = ContextVar("polos_answers", default=None)


def prepare() -> None:
    """At the start of a process: output that is closed (`>&-`) is thrown away, and a letter that the encoding of
    standard output does not have is shown as a question mark.
    """
    while (place := os.open(os.devnull, os.O_RDWR)) <= _LAST:
        pass  # or the next file that is opened, a database say, would be what programs write to
    os.close(place)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - as long as the process
    out: TextIO = sys.stdout
    if isinstance(out, io.TextIOWrapper):
        cast("io.TextIOWrapper[Any]", out).reconfigure(errors="replace")


def answers() -> TextIO:
    """Where the answer of the command goes."""
    return _answers.get() or sys.stdout


@contextlib.contextmanager
def kept_for_answers() -> Generator[None]:
    """Have only `answers` write to standard output. For all others it is standard error until the process ends."""
    out, errors = sys.stdout, sys.stderr
    try:
        place, instead = out.fileno(), errors.fileno()
    except OSError:  # no files, but what a test put in their place
        with contextlib.redirect_stdout(errors), _answering(out):
            yield
        return
    out.flush()
    kept = os.fdopen(os.dup(place), "w", encoding=out.encoding, errors=out.errors)
    os.dup2(instead, place)
    with _answering(kept):
        yield


@contextlib.contextmanager
def _answering(out: TextIO) -> Generator[None]:
    before = _answers.set(out)
    try:
        yield
    finally:
        _answers.reset(before)


def give_up() -> None:
    """Throw away what is still to be written, which would be a complaint of Python's at the end of the process."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr, answers()):
        with contextlib.suppress(OSError):  # what a test put in its place
            os.dup2(nowhere, stream.fileno())
