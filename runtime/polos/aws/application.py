"""Loading the application that `POLOS_APP` names: importing its module declares its workflows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from polos import loading

VARIABLE: Final = "POLOS_APP"


def load(environment: Mapping[str, str] | None = None) -> Any:
    """The application's object, or its module. Raises as `loading.load`."""
    return loading.load(VARIABLE, "the application", environment)
