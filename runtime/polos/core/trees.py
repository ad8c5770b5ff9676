"""Values as JSON trees and back: the walk that `codec` makes, and where in the value it is.

A tree nests no deeper than `MAX_DEPTH` values, counted alike on both ways, so that what is written can be read.
"""

from __future__ import annotations

import abc
import dataclasses
import json
from collections.abc import Generator, Iterable, Mapping
from types import GeneratorType
from typing import Final, NoReturn, cast

import pydantic

from polos.core import objects, scalars
from polos.core.types import Classes
from polos.errors import SerializationError

MAX_DEPTH: Final = 200
"""How many containers and objects may be nested in one another."""

dumps = json.JSONEncoder(ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":")).encode

Segment = str | int | tuple[str]
"""One step of a path: a key or field, an index, or a text that is shown as it is."""


Part = tuple[Segment, object]
Container = Generator[Part, object, object]


def is_utf8(text: str) -> bool:
    """Whether the text can be stored: False if it holds a lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _show(path: list[Segment]) -> str:
    text = "$"
    for segment in path:
        if isinstance(segment, tuple):
            text += segment[0]
        elif isinstance(segment, int):
            text += f"[{segment}]"
        else:
            text += f".{segment}" if segment.isidentifier() else f"[{json.dumps(segment)}]"
    return text


class _Walker(abc.ABC):
    """What the writer and the reader share: the walk, where it is, and how it says that it goes no further.

    A container is a generator that yields (where, part) and is sent what became of the part, so that the depth of a
    value costs no stack. A failure rises through the containers around it as it would through calls.
    """

    __slots__ = ("classes", "path", "step_key")

    def __init__(self, classes: Classes, step_key: str) -> None:
        self.classes, self.step_key = classes, step_key
        self.path: list[Segment] = []

    def fail(self, why: str, cause: BaseException | None = None) -> NoReturn:
        path = _show(self.path)
        raise SerializationError(f"The value at {path} {why}.", path=path, step_key=self.step_key) from cause

    def walk(self, root: object) -> object:
        """What becomes of `root`."""
        found = self._enter(root)
        if not isinstance(found, GeneratorType):
            return found
        open_: list[Container] = [cast("Container", found)]
        answer: object = None
        failure: SerializationError | None = None
        while True:
            try:
                segment, part = open_[-1].send(answer) if failure is None else open_[-1].throw(failure)
                answer = failure = None
            except (StopIteration, SerializationError) as end:
                open_.pop()
                self._leave()
                failure = end if isinstance(end, SerializationError) else None
                answer = None if isinstance(end, SerializationError) else end.value
                if not open_:
                    if failure is not None:
                        raise
                    return answer
                self.path.pop()
                continue
            self.path.append(segment)
            try:
                answer = self._enter(part)
            except SerializationError as error:
                failure = error
            if isinstance(answer, GeneratorType):
                open_.append(cast("Container", answer))
                answer = None
            else:
                self.path.pop()

    @abc.abstractmethod
    def _enter(self, part: object) -> object:
        """What becomes of `part`, or the generator that finds it out."""

    @abc.abstractmethod
    def _leave(self) -> None:
        """Called when a container is done."""

    def _deepen(self) -> None:
        if len(self.path) >= MAX_DEPTH:
            self.fail(f"is nested over {MAX_DEPTH} levels deep")

    def _items(self, items: Iterable[object]) -> Generator[Part, object, list[object]]:
        found: list[object] = []
        for index, item in enumerate(items):
            found.append((yield index, item))
        return found

    def _fields(self, fields: Mapping[str, object]) -> Generator[Part, object, dict[str, object]]:
        found: dict[str, object] = {}
        for name, item in fields.items():
            found[name] = yield name, item
        return found

    def _pairs(
        self, keys: Iterable[object], items: Iterable[object]
    ) -> Generator[Part, object, tuple[list[object], list[object]]]:
        found: tuple[list[object], list[object]] = [], []
        for index, (key, item) in enumerate(zip(keys, items, strict=True)):
            found[0].append((yield (f"[key {index}]",), key))
            found[1].append((yield (f"[{_brief(key)}]",), item))
        return found


class Writer(_Walker):
    """Turns one value into a JSON tree."""

    __slots__ = ("_names", "_open")

    def __init__(self, classes: Classes, step_key: str) -> None:
        super().__init__(classes, step_key)
        self._open: list[int] = []
        self._names: dict[type, object] = {}

    def _enter(self, part: object) -> object:
        kind = type(part)
        if kind is str:
            return self._text(cast("str", part))
        if part is None or kind is bool:
            return part
        if kind is int or kind is float:
            return scalars.number(cast("float", part))
        if kind in scalars.WRITERS:
            return self._scalar(part)
        if id(part) in self._open:
            self.fail(f"is a {kind.__qualname__} that contains itself")
        self._deepen()
        container = self._container(part, kind)
        if container is None:
            plain = scalars.plain(part)
            if plain is None:
                self.fail(f"is of the type {_spoken(kind)}, which cannot be stored{_hint(part)}")
            return self._enter(plain)
        self._open.append(id(part))
        return container

    def _leave(self) -> None:
        self._open.pop()

    def _text(self, value: str) -> str:
        if not value.isascii() and not is_utf8(value):
            self.fail("is, or has a key that is, text that is not valid Unicode (a lone surrogate)")
        return value

    def _scalar(self, value: object) -> object:
        try:
            node = scalars.WRITERS[type(value)](value)
        except ValueError as error:
            self.fail(f"is a {type(value).__qualname__} that cannot be stored: {error}", error)
        for part in node.values():
            if isinstance(part, str):
                self._text(part)
        return node

    def _container(self, value: object, kind: type) -> Container | None:
        if kind is dict:
            return self._dict(cast("dict[object, object]", value))
        if kind is list:
            return self._items(cast("list[object]", value))
        if kind is tuple or kind is set or kind is frozenset:
            return self._collection(cast("Iterable[object]", value), kind.__name__)
        state = objects.take(value)
        return None if state is None else self._object(state, kind)

    def _collection(self, value: Iterable[object], tag: str) -> Container:
        items = yield from self._items(value)
        return {"$": tag, "v": items if tag == "tuple" else sorted(items, key=dumps)}

    def _dict(self, value: dict[object, object]) -> Container:
        if "$" in value or not all(type(key) is str for key in value):
            keys, items = yield from self._pairs(value.keys(), value.values())
            return {"$": "dict", "k": keys, "v": items}
        for key in value:
            self._text(cast("str", key))
        return (yield from self._fields(cast("dict[str, object]", value)))

    def _object(self, state: objects.State, cls: type) -> Container:
        node: scalars.Node = {"$": state.kind, "of": self._name(cls)}
        if state.kind == "enum":
            node["v"] = scalars.number(state.member) if isinstance(state.member, int) else state.member
            if state.value is not None and (not isinstance(state.value, str) or is_utf8(state.value)):
                node["value"] = state.value if isinstance(state.value, str) else scalars.number(state.value)
            return node
        if state.absent:
            self.fail(f"is a {cls.__qualname__} whose field {state.absent!r} was never set")
        node["fields"] = yield from self._fields(state.fields)
        if state.fields_set is not None:
            node["set"] = sorted(state.fields_set)
        if state.extra:
            for key in state.extra:
                self._text(key)
            node["extra"] = yield from self._fields(state.extra)
        private: dict[str, object] = {}
        for name, value in state.private.items():
            try:
                private[name] = yield name, value
            except SerializationError:
                if name not in state.restorable:
                    raise
        if private:
            node["private"] = private
        return node

    def _name(self, cls: type) -> object:
        name = self._names.get(cls)
        if name is None:
            try:
                objects.check(cls)
                name = self._names[cls] = self.classes.name(cls)
            except LookupError as error:
                self.fail(f"cannot be stored: {error.args[0]}", error)
        return name


class Reader(_Walker):
    """Turns one JSON tree into its value.

    `foreign` says that it comes from outside: an object whose class cannot be used here is read as a dict of its
    fields, an enum member as its value.
    """

    __slots__ = ("_foreign",)

    def __init__(self, classes: Classes, step_key: str, *, foreign: bool = False) -> None:
        super().__init__(classes, step_key)
        self._foreign = foreign

    def _enter(self, part: object) -> object:
        if isinstance(part, list):
            self._deepen()
            return self._items(cast("list[object]", part))
        if not isinstance(part, dict):
            return part
        node = cast("scalars.Node", part)
        if "$" not in node:
            self._deepen()
            return self._fields(node)
        tag = node["$"]
        if not isinstance(tag, str):
            self.fail("is a malformed tag")
        if tag in scalars.READERS:
            try:
                return scalars.READERS[tag](node)
            except (ValueError, TypeError, ArithmeticError) as error:
                self.fail(f"is a malformed {tag!r}: {error}", error)
        self._deepen()
        return self._composite(tag, node)

    def _leave(self) -> None:
        """There is nothing to note: what is open cannot come again inside itself, as in values of the writer."""

    def _composite(self, tag: str, node: scalars.Node) -> Container:
        try:
            return (yield from self._object(tag, node) if tag in objects.KINDS else self._collection(tag, node))
        except (SerializationError, RecursionError):
            raise
        except LookupError as error:
            self.fail(f"cannot be read: {error.args[0] if error.args else error}", error)
        except Exception as error:  # noqa: BLE001  a default's or a hash's own code; fail() raises from it
            self.fail(f"is a malformed {tag!r}: {error}", error)

    def _collection(self, tag: str, node: scalars.Node) -> Container:
        if tag not in ("dict", "tuple", "set", "frozenset"):
            self.fail(f"is a {tag!r}, which this version does not know: it was written by a newer version of polos")
        nodes = scalars.operand(node, "v", cast("type[list[object]]", list))
        if tag == "dict":
            keys, items = yield from self._pairs(scalars.operand(node, "k", cast("type[list[object]]", list)), nodes)
            return dict(zip(keys, items, strict=True))
        values = yield from self._items(nodes)
        if tag == "tuple":
            return tuple(values)
        try:
            return set(values) if tag == "set" else frozenset(values)
        except TypeError:
            if not self._foreign:
                raise
            return values  # in them are objects that were read as their fields

    def _object(self, kind: str, node: scalars.Node) -> Container:
        try:
            cls = self.classes.find(node.get("of"))
            objects.check(cls, kind)
        except LookupError:
            if not self._foreign:
                raise
            return (yield from self._without_class(kind, node))
        if kind == "enum":
            return objects.member(cls, (yield "value", node.get("v")))
        as_dict = cast("type[dict[str, object]]", dict)
        state = objects.State(kind, (yield from self._fields(scalars.operand(node, "fields", as_dict))))
        if "set" in node:
            names = scalars.operand(node, "set", cast("type[list[object]]", list))
            state.fields_set = {name for name in names if isinstance(name, str)}
        if "extra" in node:
            state.extra = yield from self._fields(scalars.operand(node, "extra", as_dict))
        if "private" in node:
            state.private = yield from self._fields(scalars.operand(node, "private", as_dict))
        return objects.build(cls, state)

    def _without_class(self, kind: str, node: scalars.Node) -> Container:
        if kind == "enum":
            return (yield "value", node.get("value", node.get("v")))
        as_dict = cast("type[dict[str, object]]", dict)
        found = yield from self._fields(scalars.operand(node, "fields", as_dict))
        if "extra" in node:
            found |= yield from self._fields(scalars.operand(node, "extra", as_dict))
        return found


def _spoken(kind: type) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _brief(key: object) -> str:
    text = repr(key)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _hint(value: object) -> str:
    if hasattr(value, "__await__"):
        return " (was an await forgotten?)"
    if isinstance(value, pydantic.SecretStr | pydantic.SecretBytes):
        return " (secrets are not recorded: fetch it where it is used)"
    if isinstance(value, type) or callable(value):
        return ""
    if hasattr(value, "__next__"):
        return " (make it a list)"
    return " (a pydantic model or a dataclass can)" if not dataclasses.is_dataclass(value) else ""
