"""Loading the application: the module, or the file, whose workflows a command is about."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from polos.errors import UsageError
from polos.workflow import get_all_workflows

_LIBRARY: Final = os.path.dirname(traceback.__file__)  # Python's own: not where an application went wrong


class ApplicationError(UsageError):
    """The application cannot be imported. `details` is the traceback, from the application's own code on."""

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details


@dataclass(frozen=True, slots=True)
class Place:
    """Where an application is: the module's name, the folder to import it from, and an object in it, if named."""

    module: str
    folder: Path
    attribute: str | None = None


def locate(spec: str) -> Place:
    """Read `module[:object]` or `path/to/file.py[:object]`. Raises `ApplicationError`.

    A file inside of packages is the module that its own imports would know it as.
    """
    name, _, attribute = spec.partition(":")
    if not (name.endswith(".py") or "/" in name or os.sep in name):
        if not name or not all(part.isidentifier() for part in name.split(".")):
            raise ApplicationError(f"{spec!r} names no application: give module[:object] or a .py file.")
        return Place(name, Path.cwd(), attribute or None)
    path = Path(name).expanduser().resolve()
    if path.is_dir():
        raise ApplicationError(f"The application {name!r} is a folder: give the .py file or the module's name.")
    if not path.is_file():
        raise ApplicationError(f"There is no file {name!r} to load the application from.")
    parts, folder = [path.stem], path.parent
    while (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    if parts[-1] == "__init__":
        parts.pop()
    if not parts or not all(part.isidentifier() for part in parts):
        raise ApplicationError(f"The application {name!r} has no module name: rename the file to an identifier.")
    return Place(".".join(parts), folder, attribute or None)


def load(spec: str) -> list[str]:
    """Import the application; the ids of all workflows registered by then. Raises `ApplicationError`."""
    place = locate(spec)
    folder = str(place.folder)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        found = importlib.import_module(place.module)
        for name in (place.attribute or "").split(".") if place.attribute else ():
            found = getattr(found, name)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever the application raises at import
        _close_unstarted(error)
        raise ApplicationError(_sentence(spec, error), _own_traceback(error)) from None
    return sorted(get_all_workflows())


def _close_unstarted(error: BaseException) -> None:
    """Close what `asyncio.run` refused to run, or Python would warn, at some time, that nobody awaited it."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        for value in frame.f_locals.values():
            if inspect.iscoroutine(value) and inspect.getcoroutinestate(value) == inspect.CORO_CREATED:
                value.close()


def _sentence(spec: str, error: BaseException) -> str:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_foreign(frame.filename)]
    frames = [frame for frame in frames if not frame.filename.startswith(_LIBRARY)] or frames
    where = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    if isinstance(error, SyntaxError) and error.filename:
        where = f" ({error.filename}, line {error.lineno})"
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    hint = ""
    if isinstance(error, RuntimeError) and "asyncio.run()" in text:
        hint = '. It runs a program when it is imported: put that under `if __name__ == "__main__":`'
    return f"The application {spec!r} cannot be imported: {type(error).__name__}: {text}{where}{hint}"


def _own_traceback(error: BaseException) -> str:
    lines = traceback.TracebackException.from_exception(error)
    stack = [frame for frame in lines.stack if _is_foreign(frame.filename)]
    lines.stack = traceback.StackSummary.from_list(stack)
    return "".join(lines.format())


def _is_foreign(filename: str) -> bool:
    """Whether a frame is neither ours nor that of the import machinery."""
    return filename != __file__ and not filename.startswith("<frozen") and "importlib" not in Path(filename).parts
