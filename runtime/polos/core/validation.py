"""Payloads that come from outside, turned into the type that the code asks for, by pydantic.

The one place where data is converted; records are not (see `codec`). The caller resolves string annotations first.
"""

from __future__ import annotations

import contextlib
import json
import types
import typing
from typing import Any, Final, cast

import pydantic

from polos.core.types import MISSING
from polos.errors import InvalidPayloadError

_CACHE_SIZE: Final = 1024
_adapters: dict[object, pydantic.TypeAdapter[Any]] = {}


def validate(value: object, annotation: object, *, what: str) -> object:
    """`value` as the annotated type. Instances of it pass as they are; without an annotation everything does.

    Raises `InvalidPayloadError` whose message names `what` and whose `errors` hold one line a field (`items.0.price:
    Input should be …`). Values themselves are not repeated in it.
    """
    if annotation is MISSING or annotation is Any:
        return value
    try:
        found = _validated(value, _adapter(annotation))
    except pydantic.ValidationError as error:
        lines = tuple(
            f"{'.'.join(str(part) for part in found['loc']) or '(the whole value)'}: {found['msg']}"
            for found in error.errors(include_url=False, include_context=False, include_input=False)
        )
        raise InvalidPayloadError(
            f"{what} does not fit {_spoken(annotation)}: {'; '.join(lines)}.", errors=lines
        ) from error
    except (pydantic.PydanticUserError, pydantic.PydanticUndefinedAnnotation) as error:
        line = f"(the annotation): {error.message}"
        raise InvalidPayloadError(
            f"{what} cannot be checked: pydantic cannot validate {_spoken(annotation)}: {error.message}", errors=(line,)
        ) from error
    except Exception as error:
        line = f"(a validator): {type(error).__name__}: {error}"
        raise InvalidPayloadError(f"{what} does not fit {_spoken(annotation)}: {line}.", errors=(line,)) from error
    if type(found) is pydantic.BaseModel:
        return validate(value, _without_base_model(annotation, what), what=what)
    return found


def _validated(value: object, adapter: pydantic.TypeAdapter[Any]) -> object:
    """Data that JSON can hold may say a moment, an enum member or bytes as JSON does, also to a strict model."""
    try:
        return adapter.validate_python(value)
    except pydantic.ValidationError as error:
        text = _as_json(value)
        if text is None:
            raise
        try:
            return adapter.validate_json(text)
        except pydantic.ValidationError as fewer:
            raise (fewer if fewer.error_count() < error.error_count() else error) from None


def _as_json(value: object) -> str | None:
    """The text that JSON has for a dict or a list; None if what it says is not quite the value."""
    with contextlib.suppress(TypeError, ValueError, RecursionError):
        text = json.dumps(value, allow_nan=False)
        return text if isinstance(value, dict | list) and json.loads(text) == value else None
    return None


def _without_base_model(annotation: object, what: str) -> object:
    """A union's other parts. Of data, pydantic would make a model that has none of it."""
    is_union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    others = tuple(part for part in typing.get_args(annotation) if is_union and part is not pydantic.BaseModel)
    if not others:
        line = "(the annotation): BaseModel has no fields; name the model's class"
        raise InvalidPayloadError(f"{what} does not fit BaseModel: {line}.", errors=(line,))
    return typing.Union[others]  # noqa: UP007


def _adapter(annotation: object) -> pydantic.TypeAdapter[Any]:
    # `int | str` equals `str | int`, but pydantic tries the parts in order: the text tells them apart.
    try:
        key = (repr(annotation), annotation)
        found = _adapters.get(key)
    except TypeError:
        return pydantic.TypeAdapter[Any](cast("Any", annotation))
    if found is None:
        found = pydantic.TypeAdapter[Any](cast("Any", annotation))
        if len(_adapters) >= _CACHE_SIZE:
            _adapters.clear()
        _adapters[key] = found
    return found


def _spoken(annotation: object) -> str:
    return annotation.__qualname__ if isinstance(annotation, type) else str(annotation)
