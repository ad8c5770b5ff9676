"""Payloads that come from outside, turned into the type that the code asks for, by pydantic.

The one place where data is converted; records are not (see `codec`). The caller resolves string annotations first.
"""

from __future__ import annotations

import contextlib
import enum
import json
import types
import typing
from collections.abc import Iterable, Iterator
from typing import Any, Final, cast

import pydantic

from polos.core import objects
from polos.core.types import MISSING, classes_of
from polos.errors import InvalidPayloadError

_CACHE_SIZE: Final = 1024
_LAZY: Final = ("Iterable", "Generator")
_adapters: dict[object, pydantic.TypeAdapter[Any]] = {}


def validate(value: object, annotation: object, *, what: str) -> object:
    """`value` as the annotated type. Instances of it pass as they are; without an annotation everything does.

    An object of a class that the annotation does not name (another program's own, say) is read as its fields.
    Raises `InvalidPayloadError` whose message names `what` and whose `errors` hold one line a field (`items.0.price:
    Input should be …`). Values themselves are not repeated in it.
    """
    if annotation is MISSING or annotation is Any:
        return value
    try:
        found = _validated(value, annotation)
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


def _validated(value: object, annotation: object) -> object:
    adapter = _adapter(annotation)
    lazy = any(word in repr(annotation) for word in _LAZY)
    try:
        found = _as_it_is(value, adapter)
        return _listed(found) if lazy else found
    except pydantic.ValidationError:
        fields = _fields(value, tuple(classes_of(annotation)))
        if fields is value:
            raise
        found = _as_it_is(fields, adapter)
        return _listed(found) if lazy else found


def _listed(value: object) -> object:
    """With a list in place of each iterator: pydantic validates an `Iterable[int]` as it is read, which is once."""
    if isinstance(value, Iterator):
        return [_listed(part) for part in cast("Iterator[object]", value)]
    if type(value) is dict:
        return {key: _listed(part) for key, part in cast("dict[object, object]", value).items()}
    if type(value) is list:
        return [_listed(part) for part in cast("list[object]", value)]
    if type(value) is tuple:
        return tuple(_listed(part) for part in cast("tuple[object, ...]", value))
    return value


def _fields(value: object, known: tuple[type, ...]) -> object:
    """`value` with every object that is of none of the `known` classes as its fields, an enum member as its value."""
    if isinstance(value, known):
        return value
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, pydantic.RootModel):
        return _fields(cast("pydantic.RootModel[object]", value).root, known)
    state = objects.take(value)
    if state is not None:
        return {name: _fields(part, known) for name, part in {**state.fields, **state.extra}.items()}
    if isinstance(value, dict):
        return {key: _fields(part, known) for key, part in cast("dict[object, object]", value).items()}
    if type(value) is tuple:
        return tuple(_fields(part, known) for part in cast("tuple[object, ...]", value))
    if isinstance(value, list | set | frozenset):  # what becomes of a set's items may go into no set
        return [_fields(part, known) for part in cast("Iterable[object]", value)]
    return value


def _as_it_is(value: object, adapter: pydantic.TypeAdapter[Any]) -> object:
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
