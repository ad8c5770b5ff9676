"""Loading the application that `POLOS_APP` names: importing its module declares its workflows."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from typing import Any, Final

from polos.errors import UsageError

VARIABLE: Final = "POLOS_APP"


def load(environment: Mapping[str, str] | None = None) -> Any:
    """Import `module[:object]` and return the object, or the module. Importing it again costs nothing.

    Raises `UsageError` if the variable is missing or names an object that is not there, and whatever the module
    raises while it is imported. A module that raised is imported anew the next time.
    """
    name = (os.environ if environment is None else environment).get(VARIABLE, "")
    module_name, _, path = name.partition(":")
    if not module_name:
        raise UsageError(f"{VARIABLE} is not set; it names the application as 'module' or 'module:object'.")
    found: Any = importlib.import_module(module_name)
    for part in path.split(".") if path else ():
        try:
            found = getattr(found, part)
        except AttributeError:
            raise UsageError(f"{VARIABLE} is {name!r}, but {module_name} has no {path!r}.") from None
    return found
