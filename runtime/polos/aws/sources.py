"""The files that make a stack: the template, the build recipe, the handlers. There is one of each.

In a source tree they lie beside the source root; in an installed distribution the wheel brings them, in `stack/`
(pyproject.toml, force-include). `polos init` copies them, the test environment makes its resources from them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from polos.errors import UsageError

TEMPLATE: Final = "template.yaml"
RECIPE: Final = "infra/Makefile"
HANDLERS: Final = "handlers"


def root() -> Path:
    """The folder that they are in. Raises `UsageError` where they are missing."""
    here = Path(__file__).resolve().parent
    for place in (here.parents[2], here / "stack"):
        if (place / TEMPLATE).is_file() and (place / RECIPE).is_file():
            return place
    raise UsageError(
        "The files of the stack (template.yaml) are not part of this installation; install polos-aws again."
    )


def names() -> Iterator[str]:
    """Their names, relative to the root and to a project alike."""
    yield TEMPLATE
    yield RECIPE
    for path in sorted((root() / HANDLERS).glob("*.py")):
        yield f"{HANDLERS}/{path.name}"
