"""What a command ends with: exit codes, one sentence for an error, and JSON for machines."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import math
import os
import sqlite3
import sys
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final, ParamSpec, cast

import typer
from pydantic_core import to_jsonable_python
from rich.console import Console
from rich.table import Table
from rich.text import Text

from polos.cli.standard_output import READER_LEFT, answers, give_up, kept_for_answers
from polos.cli.terminal import Terminal, printable, printable_json
from polos.errors import (
    BackendError,
    ExecutionNotFoundError,
    PolosError,
    WorkflowCancelledError,
    WorkflowFailedError,
    WorkflowNotFoundError,
    WorkflowTimeoutError,
)

FAILED: Final = 1
USAGE: Final = 2
NOT_FOUND: Final = 3
BACKEND: Final = 4
INTERRUPTED: Final = 130

EXIT_CODES: Final = (
    "Exit codes: 0 done; 1 the execution failed, was cancelled or timed out, or check or doctor found something; "
    "2 bad usage or input; "
    "3 no such workflow or execution; 4 the backend cannot be used; 130 interrupted; "
    f"{READER_LEFT} whoever read the output closed it."
)
P = ParamSpec("P")


class Interrupted(Exception):
    """Ctrl-C, with what to say about it."""


_WIDE = 120
_WIDEST = 10_000


def stdout() -> Console:
    """Standard output, for people: colours and the terminal's width in a terminal, plain and wide in a pipe."""
    console = Terminal(highlight=False, soft_wrap=True, emoji=False, markup=False)
    if console.width < 1 or (not console.is_terminal and "COLUMNS" not in os.environ):
        console.width = _WIDE
    return console


def stderr() -> Console:
    console = Terminal(stderr=True, highlight=False, soft_wrap=True, emoji=False, markup=False)
    if console.width < 1:  # COLUMNS=0
        console.width = _WIDE
    return console


def print_table(headings: Iterable[str], rows: Iterable[Iterable[str]], *, right: str = "") -> None:
    """A table on standard output, as wide as it needs: a cell is an id or a key to copy, and is neither cut nor folded.

    `right` is the heading of the column that is set to the right.
    """
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in headings:
        table.add_column(name, no_wrap=True, justify="right" if name == right else "left")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console = stdout()
    console.width = max(console.width, console.measure(table, options=console.options.update(width=_WIDEST)).maximum)
    console.print(table)


def print_json(value: Any, *, indent: int | None = 2) -> None:
    """A value as JSON on standard output; what JSON has no form for is shown by its `repr`."""
    plain = _finite(to_jsonable_python(value, fallback=repr, bytes_mode="base64"))
    out = answers()
    ascii_only = not (out.encoding or "").lower().startswith("utf")
    out.write(printable_json(json.dumps(plain, indent=indent, ensure_ascii=ascii_only, allow_nan=False)) + "\n")
    out.flush()


def _finite(value: Any) -> Any:
    """The value with strings ("NaN", "Infinity", "-Infinity") in place of the numbers that JSON has no form for."""
    match value:
        case float() if not math.isfinite(value):
            return json.dumps(value)
        case dict():
            return {key: _finite(one) for key, one in cast("dict[str, Any]", value).items()}
        case list():
            return [_finite(one) for one in cast("list[Any]", value)]
        case _:
            return value


def exit_code(error: BaseException) -> int | None:
    """The exit code that an error means; None: it is a defect of ours, whose traceback should be seen."""
    match error:
        case WorkflowNotFoundError() | ExecutionNotFoundError():
            return NOT_FOUND
        case WorkflowFailedError() | WorkflowTimeoutError() | WorkflowCancelledError():
            return FAILED
        case BackendError() | sqlite3.Error():
            return BACKEND
        case PolosError():
            return USAGE
        case _:
            return BACKEND if type(error).__module__.partition(".")[0] in ("boto3", "botocore") else None


def complain(error: BaseException) -> None:
    """One line on standard error."""
    sys.stderr.write(f"polos: {printable(' '.join(str(error).split()))}\n")
    sys.stderr.flush()


def command(body: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Make an async function a command: errors become one sentence and an exit code.

    With `as_json` standard output is kept for what `print_json` writes.
    """

    @functools.wraps(body)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with kept_for_answers() if kwargs.get("as_json") else contextlib.nullcontext():
            try:
                try:
                    told(*args, **kwargs)
                finally:
                    sys.stdout.flush()
            except BrokenPipeError:
                give_up()
                raise typer.Exit(READER_LEFT) from None

    def told(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            asyncio.run(body(*args, **kwargs))
        except BrokenPipeError:
            raise
        except Interrupted as stop:
            complain(stop)
            raise typer.Exit(INTERRUPTED) from None
        except KeyboardInterrupt:
            complain(Interrupted("interrupted."))
            raise typer.Exit(INTERRUPTED) from None
        except Exception as error:
            code = exit_code(error)
            if code is None:
                raise
            complain(error)
            raise typer.Exit(code) from None

    return run
