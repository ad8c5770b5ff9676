"""What the checker reports, and the files that it reads."""

from __future__ import annotations

import ast
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from polos.errors import UsageError

IGNORE = "# polos: ignore"
_NOT_OURS = ("node_modules", "__pycache__", "site-packages", "venv")


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing to mend. `rule` is "clock", "random", "process", "io", "timeout", "key", "await" or "syntax"."""

    file: str
    line: int
    rule: str
    message: str


def files_in(folder: Path) -> Iterator[Path]:
    """The Python files below a folder, without hidden folders and virtual environments."""
    for path in sorted(folder.rglob("*.py")):
        if is_ours(path, folder) and path.is_file():
            yield path


def is_ours(path: Path, folder: Path) -> bool:
    """Whether a file below a folder is neither hidden nor an installed package's."""
    parents = path.relative_to(folder).parts[:-1]
    return not any(part.startswith(".") or part in _NOT_OURS for part in parents)


def read(path: Path) -> tuple[ast.Module, list[str]] | Finding:
    """A file's tree and its lines, or why it cannot be parsed. Raises `UsageError` if it cannot be read."""
    try:
        with tokenize.open(path) as file:
            text = file.read()
        return ast.parse(text, str(path)), text.splitlines()
    except OSError as error:
        raise UsageError(f"The file {str(path)!r} cannot be read: {error.strerror}.") from None
    except SyntaxError as error:
        return Finding(str(path), error.lineno or 1, "syntax", f"this is not Python: {error.msg}")
    except (ValueError, RecursionError) as error:
        return Finding(str(path), 1, "syntax", f"this cannot be parsed: {error}")
