"""Which classes a record may name, how they are named, and how they are found again.

A class is named `module:qualname`; a parametrised pydantic model is named by its origin and its arguments. A name
finds a class among those that an annotation names (deeply) or that the caller allows, and else at the top level of a
module that is already imported, is not of the standard library, and defines it. Nothing is ever imported: modules are
only looked up in `sys.modules`, attributes only in `__dict__`, so that neither a lazy module nor a module's
`__getattr__` runs. Only pydantic models, dataclasses, enums and named tuples are ever found.

The main program's classes are stored under the name by which another process imports it: the name given to
`python -m`, else the stem of the script's file (`python jobs/app.py` stores `app:Order`). A name that matches the main
program is looked up there first. Without a file (REPL, notebook) the name stays `__main__`.

Keeps L2: what is named here at encoding is exactly what is found at decoding.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import decimal
import enum
import functools
import inspect
import sys
import types
import typing
import uuid
from collections.abc import Collection, Iterator, Mapping
from pathlib import PurePath
from typing import Any, Final, cast

from pydantic import BaseModel


class Missing(enum.Enum):
    """The type of `MISSING`, which says that there is no annotation (`None` is one)."""

    MISSING = "MISSING"

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = Missing.MISSING

_CACHE_SIZE: Final = 1024
_NAME_DEPTH: Final = 20
_MAIN: Final = ("__main__", "__mp_main__")
_ARGUMENTS: Final[Mapping[str, object]] = {
    "Any": Any,
    "None": type(None),
    **{cls.__name__: cls for cls in (bool, int, float, str, bytes, list, dict, tuple, set, frozenset)},
    **{cls.__name__: cls for cls in (datetime.datetime, datetime.date, datetime.time, datetime.timedelta)},
    **{cls.__name__: cls for cls in (uuid.UUID, decimal.Decimal)},
}
_ALIASES: Final = (list, dict, tuple, set, frozenset)

TypeName = str | list[Any]
"""`module:qualname`, or `[origin, argument, …]` for a parametrised class."""

_cache: dict[object, frozenset[type]] = {}


def kind_of(cls: type[Any]) -> str | None:
    """Which of the kinds that a record may construct `cls` is: enum, model, dataclass, namedtuple, or None.

    `BaseModel` itself is none: as an annotation it stands for any model.
    """
    if issubclass(cls, enum.Enum):
        return "enum"
    if issubclass(cls, BaseModel) and cls is not BaseModel:
        return "model"
    if dataclasses.is_dataclass(cls):
        return "dataclass"
    is_named = tuple in cls.__mro__ and isinstance(getattr(cls, "_fields", None), tuple) and hasattr(cls, "_make")
    return "namedtuple" if is_named else None


def classes_of(annotation: object) -> frozenset[type]:
    """All classes that a record may construct which `annotation` names: in unions, containers, fields, bounds, deeply.

    Cached, except while a forward reference in it is not resolved yet.
    """
    try:
        known = _cache.get(annotation)
    except TypeError:
        return _Walk().run(annotation)
    if known is None:
        walk = _Walk()
        known = walk.run(annotation)
        if walk.resolved:
            if len(_cache) >= _CACHE_SIZE:
                _cache.clear()
            _cache[annotation] = known
    return known


def main_name() -> str:
    """The name by which another process imports the main program (see the module's docstring)."""
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return str(spec.name)
    file = getattr(main, "__file__", None)
    return PurePath(file).stem if isinstance(file, str) else "__main__"


class Classes:
    """The classes that one record may name: those of `annotation`, those `allowed`, and application modules' own."""

    __slots__ = ("_allowed", "_annotation", "_known")

    def __init__(self, annotation: object = MISSING, allowed: Collection[type] = ()) -> None:
        self._annotation, self._allowed = annotation, allowed
        self._known: Mapping[str, type] | None = None

    def name(self, cls: type) -> TypeName:
        """The name under which `find` gives back this very class; `LookupError` saying why if there is none."""
        name = _name(cls)
        try:
            found = self.find(name)
        except LookupError as error:
            raise LookupError(f"{_spoken(cls)} could not be read back: {error}") from None
        if found is not cls:
            raise LookupError(
                f"{_spoken(cls)} could not be read back: another class is found under its name (a reload, or a "
                f"decorator that replaced it?)"
            )
        return name

    def find(self, name: object) -> type:
        """The class of that name. `LookupError`, whose message completes a sentence, if no such class may be used."""
        return self._find(name, 0)

    def _find(self, name: object, depth: int) -> type:
        if isinstance(name, str):
            return self._lookup().get(name) or _module_level(name)
        if not isinstance(name, list) or depth > _NAME_DEPTH:
            raise LookupError("the record's class name is malformed")
        parts = cast("list[object]", name)
        if len(parts) < 2:
            raise LookupError("the record's class name is malformed")
        origin = self._find(parts[0], depth + 1)
        parameters = getattr(origin, "__pydantic_generic_metadata__", {}).get("parameters", ())
        if len(parameters) != len(parts) - 1:
            raise LookupError(f"{_spoken(origin)} does not take {len(parts) - 1} type arguments")
        arguments = tuple(self._argument(part, depth + 1) for part in parts[1:])
        try:
            found = cast("Any", origin)[arguments]
        except Exception as error:
            raise LookupError(f"{_spoken(origin)} does not take these type arguments: {error}") from error
        return cast("type", found)

    def _argument(self, name: object, depth: int) -> object:
        if isinstance(name, str):
            return _ARGUMENTS[name] if name in _ARGUMENTS else self._find(name, depth)
        if isinstance(name, list) and name and depth <= _NAME_DEPTH:
            head, *rest = cast("list[object]", name)
            if head == "|":
                return typing.Union[tuple(self._argument(part, depth + 1) for part in rest)]  # noqa: UP007
            if isinstance(head, str) and _ARGUMENTS.get(head) in _ALIASES:
                arguments = tuple(... if part == "..." else self._argument(part, depth + 1) for part in rest)
                return types.GenericAlias(cast("type", _ARGUMENTS[head]), arguments)
        return self._find(cast("object", name), depth)

    def _lookup(self) -> Mapping[str, type]:
        if self._known is None:
            named = frozenset[type]() if self._annotation is MISSING else classes_of(self._annotation)
            self._known = _by_name(named | frozenset(self._allowed) if self._allowed else named)
        return self._known


@functools.lru_cache(maxsize=256)
def _by_name(classes: frozenset[type]) -> Mapping[str, type]:
    return {_plain_name(cls): cls for cls in classes if kind_of(cls)}


def _plain_name(cls: type) -> str:
    return f"{_module_name(cls)}:{cls.__qualname__}"


def _module_name(cls: type) -> str:
    return main_name() if cls.__module__ in _MAIN else cls.__module__


def _spoken(cls: type) -> str:
    return f"the class {cls.__module__}.{cls.__qualname__}"


def _name(cls: type) -> TypeName:
    metadata = getattr(cls, "__pydantic_generic_metadata__", None)
    if metadata and metadata["origin"]:
        try:
            return [_name(metadata["origin"]), *(_argument_name(argument) for argument in metadata["args"])]
        except LookupError:
            pass
    return _plain_name(cls)


def _argument_name(argument: object) -> TypeName:
    if argument is None:
        return "None"
    for name, known in _ARGUMENTS.items():
        if argument is known:
            return name
    origin = typing.get_origin(argument)
    if origin in (typing.Union, types.UnionType):
        return ["|", *(_argument_name(part) for part in typing.get_args(argument))]
    if origin in _ALIASES:
        return [
            cast("type", origin).__name__,
            *("..." if part is ... else _argument_name(part) for part in typing.get_args(argument)),
        ]
    if isinstance(argument, type) and origin is None and kind_of(argument):
        return _name(argument)
    raise LookupError("no name for this type argument")


def _module_level(name: str) -> type:
    module_name, _, qualname = name.partition(":")
    is_main = module_name == main_name()
    if not is_main and module_name.partition(".")[0] in sys.stdlib_module_names:
        raise LookupError(f"{name} is of the standard library, so an annotation of the callable has to name it")
    if "<locals>" in qualname:
        raise LookupError(
            f"{name} is defined inside a function; define it at the top level of a module, or name it in the "
            f"callable's annotation"
        )
    module = sys.modules.get("__main__" if is_main else module_name)
    if not issubclass(type(module), types.ModuleType):
        raise LookupError(f"the module of {name} is not imported here")
    held: Mapping[str, object] = object.__getattribute__(module, "__dict__")
    found: object = None
    for part in qualname.split("."):
        found = held.get(part)
        if not issubclass(type(found), type):
            raise LookupError(f"there is no class {name} at the top level of its module")
        held = type.__getattribute__(cast("type", found), "__dict__")
    found = cast("type", found)
    if _module_name(found) != module_name or found.__qualname__ != qualname:
        raise LookupError(f"{name} is not a class that its module defines")
    if kind_of(found) is None:
        raise LookupError(f"{name} is no pydantic model, dataclass, enum or named tuple")
    return found


class _Walk:
    """One walk over an annotation; `resolved` is False once a forward reference was met that cannot be followed."""

    def __init__(self) -> None:
        self.resolved = True
        self._seen: list[object] = []
        self._seen_ids: set[int] = set()
        self._found: set[type] = set()

    def run(self, annotation: object) -> frozenset[type]:
        todo: list[object] = [annotation]
        while todo:
            node = todo.pop()
            if id(node) not in self._seen_ids:
                self._seen_ids.add(id(node))
                self._seen.append(node)
                todo.extend(self._parts(node))
        return frozenset(self._found)

    def _parts(self, node: object) -> Iterator[object]:
        if isinstance(node, str | typing.ForwardRef):
            self.resolved = False
        elif isinstance(node, enum.Enum):
            yield type(node)
        elif isinstance(node, list | tuple):
            yield from cast("list[object]", node)
        elif isinstance(node, typing.TypeVar):
            yield node.__bound__
            yield from node.__constraints__
        elif (origin := typing.get_origin(node)) is not None:
            arguments = typing.get_args(node)
            if origin is typing.Literal:
                yield from (type(argument) for argument in arguments if isinstance(argument, enum.Enum))
            else:
                yield origin
                yield from arguments[:1] if origin is typing.Annotated else arguments
        elif isinstance(node, type):
            yield from self._class_parts(cast("type[Any]", node))
        else:
            yield getattr(node, "__supertype__", None)
            try:
                yield getattr(node, "__value__", None)
            except NameError:
                self.resolved = False

    def _class_parts(self, cls: type[Any]) -> Iterator[object]:
        kind = kind_of(cls)
        if kind is not None:
            self._found.add(cls)
        if kind == "model":
            if not cls.__pydantic_complete__:
                self.resolved = False
            metadata = cls.__pydantic_generic_metadata__
            yield metadata["origin"]
            yield from metadata["args"]
            for field in cls.model_fields.values():
                yield field.annotation
            return
        # Not typing.is_typeddict(), which does not know the TypedDict of typing_extensions.
        if kind in ("dataclass", "namedtuple") or hasattr(cls, "__required_keys__"):
            yield from self._hints(cls)

    def _hints(self, cls: type) -> Iterator[object]:
        try:
            yield from typing.get_type_hints(cls).values()
        except Exception:  # noqa: BLE001  a name in one annotation that is not defined yet hides none of the others
            self.resolved = False
            for base in cls.__mro__:
                with contextlib.suppress(NameError):
                    yield from inspect.get_annotations(base).values()
