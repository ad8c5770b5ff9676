"""The options that commands share, and reading JSON from the command line."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from polos.cli.application import load
from polos.cli.standard_input import read_all
from polos.errors import UsageError

Stack = Annotated[str | None, typer.Option("--stack", metavar="NAME", help="A deployed stack (default: POLOS_STACK).")]
Local = Annotated[
    str | None,
    typer.Option("--local", metavar="FILE", help="A local database (default: POLOS_LOCAL_DB or .polos/local.db)."),
]
App = Annotated[
    str | None,
    typer.Option("--app", metavar="APP", help="The application: module[:object] or a .py file (default: POLOS_APP)."),
]
Json = Annotated[bool, typer.Option("--json", help="JSON on standard output, and nothing else there.")]


def load_application(given: str | None, *, required: bool = False) -> None:
    """Import the application that is given, or that `POLOS_APP` names. Raises `UsageError`."""
    spec = given or os.environ.get("POLOS_APP")
    if spec:
        load(spec)
    elif required:
        raise UsageError("Which application? Give --app module[:object] or --app file.py, or set POLOS_APP.")


def read_json(text: str | None, what: str) -> Any:
    """JSON as given, from a file (`@file`) or from standard input (`@-`); None if nothing is given."""
    if text is None:
        return None
    source = f"{what} in {text[1:]}" if text.startswith("@") else what
    text = _read(text[1:]) if text.startswith("@") else text
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        quotes = f" (a string needs its quotes: '\"{text}\"')" if text.isidentifier() else ""
        raise UsageError(
            f"The {source} is not JSON: {error.msg} at line {error.lineno}, column {error.colno}{quotes}."
        ) from None
    except RecursionError:
        raise UsageError(f"The {source} is nested too deeply.") from None
    except ValueError as error:  # a number of thousands of digits
        raise UsageError(f"The {source} cannot be read: {error}.") from None


def _read(path: str) -> str:
    try:
        return read_all() if path == "-" else Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, ValueError, RuntimeError) as error:  # ~nobody has no home
        source = "Standard input" if path == "-" else f"The file {path!r}"
        raise UsageError(f"{source} cannot be read: {str(error).rstrip('.')}.") from None
