"""Objects that the environment names as `module[:object]`: the application, the codec of payloads."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from typing import Any

from polos.errors import UsageError


def load(variable: str, what: str, environment: Mapping[str, str] | None = None) -> Any:
    """Import the module and return the object, or the module. Importing it again costs nothing.

    Raises `UsageError` if the variable is missing or names an object that is not there, and whatever the module
    raises while it is imported. A module that raised is imported anew the next time.
    """
    name = (os.environ if environment is None else environment).get(variable, "")
    module_name, _, path = name.partition(":")
    if not module_name:
        raise UsageError(f"{variable} is not set; it names {what} as 'module' or 'module:object'.")
    found: Any = importlib.import_module(module_name)
    for part in path.split(".") if path else ():
        try:
            found = getattr(found, part)
        except AttributeError:
            raise UsageError(f"{variable} is {name!r}, but {module_name} has no {path!r}.") from None
    return found
