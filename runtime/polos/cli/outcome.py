"""What a command ends with: exit codes, one sentence for an error, and JSON for machines."""

from __future__ import annotations

import asyncio
import functools
import json
import math
import os
import sqlite3
import sys
from collections.abc import Callable, Coroutine
from typing import Any, Final, ParamSpec, cast

import typer
from pydantic_core import to_jsonable_python
from rich.console import Console

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
    "3 no such workflow or execution; 4 the backend cannot be used; 130 interrupted."
)
P = ParamSpec("P")


class Interrupted(Exception):
    """Ctrl-C, with what to say about it."""


_WIDE = 120


def stdout() -> Console:
    """Standard output, for people: colours and the terminal's width in a terminal, plain and wide in a pipe."""
    console = Terminal(highlight=False, emoji=False, markup=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _WIDE
    return console


def stderr() -> Console:
    return Terminal(stderr=True, highlight=False, soft_wrap=True, emoji=False, markup=False)


def print_json(value: Any, *, indent: int | None = 2) -> None:
    """A value as JSON on standard output; what JSON has no form for is shown by its `repr`."""
    plain = _finite(to_jsonable_python(value, fallback=repr, bytes_mode="base64"))
    sys.stdout.write(printable_json(json.dumps(plain, indent=indent, ensure_ascii=False, allow_nan=False)) + "\n")
    sys.stdout.flush()


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
    """Make an async function a command: errors become one sentence and an exit code."""

    @functools.wraps(body)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            asyncio.run(body(*args, **kwargs))
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
