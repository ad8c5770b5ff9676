"""What a callable says it returns."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable
from typing import Any

from polos.core.codec import MISSING


def return_annotation(func: Callable[..., Any]) -> Any:
    """The return annotation as a type; `MISSING` if there is none or it can't be resolved."""
    inner: Any = func
    while isinstance(inner, functools.partial):
        inner = inner.func
    inner = inspect.unwrap(inner)
    if not inspect.isroutine(inner) and not inspect.isclass(inner):
        inner = type(inner).__call__
    raw: Any = getattr(inner, "__annotations__", {}).get("return", MISSING)
    if not isinstance(raw, str):
        return raw
    try:
        return typing.get_type_hints(inner).get("return", MISSING)
    except (NameError, TypeError, AttributeError):
        return MISSING
