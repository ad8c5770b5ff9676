"""What a callable says it returns."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any

from polos.core.codec import MISSING


def return_annotation(func: Callable[..., Any], scope: Mapping[str, Any] | None = None) -> Any:
    """The return annotation as a type; `MISSING` if there is none or it can't be resolved.

    A string is looked up in the function's globals, in what it closes over, and in `scope`.
    """
    inner: Any = func
    while isinstance(inner, functools.partial):
        inner = inner.func
    inner = inspect.unwrap(inner)
    if not inspect.isroutine(inner) and not inspect.isclass(inner):
        inner = type(inner).__call__
    raw: Any = getattr(inner, "__annotations__", {}).get("return", MISSING)
    if not isinstance(raw, str) and not typing.get_args(raw):
        return raw
    try:
        holder = type("_Holder", (), {"__annotations__": {"result": raw}})
        found = typing.get_type_hints(
            holder, getattr(inner, "__globals__", {}), {**(scope or {}), **_closed_over(inner)}, include_extras=True
        )
        return found["result"]
    except (NameError, TypeError, AttributeError):
        return MISSING


def _closed_over(func: Any) -> dict[str, Any]:
    names = getattr(getattr(func, "__code__", None), "co_freevars", ())
    found: dict[str, Any] = {}
    for name, cell in zip(names, getattr(func, "__closure__", None) or (), strict=False):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    return found
