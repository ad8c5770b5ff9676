"""`polos check`: what in workflow bodies would make a replay differ, without running anything."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from polos.cli.application import ApplicationError, locate
from polos.cli.checking.checker import check_files
from polos.cli.checking.findings import files_in
from polos.cli.options import Json
from polos.cli.outcome import FAILED, command, print_json, stderr, stdout


@command
async def check(
    applications: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="APP|FILES", help="Files, folders or modules (default: POLOS_APP, or else this folder)."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Find what would make a replay differ.

    It reads the source; nothing is imported or run.

    Reported are clock, randomness and I/O in workflow bodies and in the functions of the application that they call,
    step keys that repeat, raw timeouts around durable calls, and durable calls that nobody awaits. A line that ends
    with "# polos: ignore" is left out. Exit code 1 if anything is found.
    """
    given = applications or [os.environ.get("POLOS_APP") or "."]
    files = list(dict.fromkeys(path for one in given for path in _files(one)))
    found = check_files(files)
    if as_json:
        print_json({"files": len(files), "findings": found})
    else:
        console = stdout()
        for one in found:
            console.print(f"{one.file}:{one.line}: {one.message}", soft_wrap=True)
        count = "1 file" if len(files) == 1 else f"{len(files)} files"
        stderr().print(f"{count} checked, {len(found) or 'nothing'} found")
    if found:
        raise typer.Exit(FAILED)


def _files(spec: str) -> list[Path]:
    path = Path(spec).expanduser()
    if path.is_dir():
        return list(files_in(path))
    if path.is_file():
        return [path]
    place = locate(spec)
    module = place.folder.joinpath(*place.module.split("."))
    if module.is_dir():
        return [_shown(one) for one in files_in(module)]
    if module.with_suffix(".py").is_file():
        return [_shown(module.with_suffix(".py"))]
    raise ApplicationError(f"There is no module {spec!r} in {place.folder} to check: give a file or a folder.")


def _shown(path: Path) -> Path:
    """Relative to the working directory where it is below it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
