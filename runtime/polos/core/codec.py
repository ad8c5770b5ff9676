"""Values as text and back: the one form in which payloads, results and state are stored.

JSON values stand for themselves. Everything else is a tag: an object whose `"$"` key names what it is
(`{"$": "decimal", "v": "1.50"}`, `{"$": "model", "of": "app:Order", "fields": {…}}`). An object of the user's that has
a key `"$"`, or a key that is no string, is written as the tag `dict`, so that data never looks like a tag.

Pydantic models and dataclasses are stored by their fields, as Python values, and built again without validation and
without `__init__` or `__post_init__`: validators need not be idempotent (one that adds tax would add it twice), aliases
and excluded fields play no part, and what the workflow gets is equal to what the step returned. A field that was added
since takes its default. Private attributes are kept; one that cannot be stored takes its default again.

Decoding imports nothing and builds nothing but the closed table in `scalars`, containers, and the classes that `types`
lets a record name. An annotation only helps to find classes: it never converts (`validate` does).
Keeps L2: `roundtrip` gives the live pass what every replay will read.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection
from typing import Final, NoReturn, cast

from polos.core.trees import MAX_DEPTH, Reader, Writer, dumps, is_utf8
from polos.core.types import MISSING, Classes, Missing, classes_of
from polos.core.validation import validate
from polos.errors import PayloadTooLargeError, SerializationError

__all__ = [
    "MAX_BYTES",
    "MISSING",
    "Missing",
    "check",
    "classes_of",
    "decode",
    "encode",
    "pack",
    "roundtrip",
    "unpack",
    "validate",
]

MAX_BYTES: Final = 50 * 1024 * 1024
_PACK_FROM: Final = 600
_CHUNK: Final = 64 * 1024
_SAFE_INT: Final = 1 << 63


def encode(value: object, *, step_key: str = "", annotation: object = MISSING, allowed: Collection[type] = ()) -> str:
    """Compact JSON text, valid UTF-8, from which `decode` with the same `annotation` and `allowed` gives back `value`.

    Raises `SerializationError` with the path inside the value if something in it cannot be written, or could not be
    read back (a class inside a function that no annotation names). Equal sets give equal text.
    """
    writer = Writer(Classes(annotation, allowed), step_key)
    try:
        if _is_plain(value, 0):
            text = dumps(value)
            if text.isascii() or is_utf8(text):
                return text
        text = dumps(writer.walk(value))
    except SerializationError:
        raise
    except RecursionError:
        writer.fail("is nested too deeply for the stack that is left here")
    except Exception as error:  # noqa: BLE001  a property's own code, or a dict that another thread changes meanwhile
        writer.fail(f"cannot be written: {type(error).__name__}: {error}", error)
    if not is_utf8(text):
        writer.fail("holds text that is not valid Unicode (a lone surrogate)")
    return text


def decode(
    text: str | bytes,
    annotation: object = MISSING,
    *,
    allowed: Collection[type] = (),
    step_key: str = "",
    foreign: bool = False,
) -> object:
    """The value of a text that `encode` wrote. Raises `SerializationError` for any other text, and nothing else.

    Classes that the text names are looked for among `allowed` and those that `annotation` names, then at the top level
    of application modules that are already imported (see `types`). Of a `foreign` text, which another program may have
    written (an event, a payload), objects whose class is not found are read as a dict of their fields, and enum members
    as their value; a result of this application's own must come back as what it was, or not at all (L2).
    """
    reader = Reader(Classes(annotation, allowed), step_key, foreign=foreign)
    try:
        if isinstance(text, bytes):
            text = text.decode()
        tree = _loads(text)
        if '"$"' not in text and "\\u0024" not in text:
            if text.count("[") + text.count("{") > MAX_DEPTH:
                _check_depth(tree, 0)
            return tree
        return reader.walk(tree)
    except RecursionError:
        reader.fail("is nested too deeply for the stack that is left here")
    except ValueError as error:
        reader.fail(f"is not what this version writes: {error}")


def check(text: str) -> None:
    """Raise `SerializationError` for what is no JSON as `encode` writes it, whatever the tags in it name."""
    try:
        _check_depth(_loads(text), 0)
    except RecursionError:
        raise SerializationError("The value is nested too deeply.") from None
    except ValueError as error:
        raise SerializationError(f"The value is not what this version writes: {error}") from None


def roundtrip(
    value: object, annotation: object = MISSING, allowed: Collection[type] = (), step_key: str = ""
) -> tuple[str, object]:
    """The text to record for a callable's result, and the value that it gives back, now and at every replay.

    Raises `SerializationError`, which says that the step's function did run if `step_key` names one.
    """
    try:
        text = encode(value, step_key=step_key, annotation=annotation, allowed=allowed)
        return text, decode(text, annotation, allowed=allowed, step_key=step_key)
    except SerializationError as error:
        if not step_key:
            raise
        message = f"{error.message} The function did run: what it did outside stands, only its result is not recorded."
        raise SerializationError(message, path=error.path, step_key=step_key) from error


def pack(text: str, *, what: str = "The value") -> str | bytes:
    """`text` itself if it is short or does not compress, else its zlib bytes.

    Raises `PayloadTooLargeError` naming `what` if its UTF-8 is over `MAX_BYTES`, which `unpack` would refuse.
    """
    data = text.encode()
    if len(data) > MAX_BYTES:
        raise PayloadTooLargeError(what, len(data), MAX_BYTES)
    if len(data) < _PACK_FROM:
        return text
    packed = zlib.compress(data)
    return packed if len(packed) < len(data) else text


def unpack(data: str | bytes, *, limit: int = MAX_BYTES) -> str:
    """The text that `pack` took. Stops with `PayloadTooLargeError` as soon as more than `limit` bytes come out."""
    if isinstance(data, str):
        if len(data) > limit:
            raise PayloadTooLargeError("The stored value", len(data), limit)
        return data
    chunks: list[bytes] = []
    size = 0
    stream = zlib.decompressobj()
    try:
        while not stream.eof:
            chunk = stream.decompress(data, min(_CHUNK, limit - size + 1))
            data = stream.unconsumed_tail
            if not chunk and not data and not stream.eof:
                raise SerializationError("The stored value is cut short.")
            size += len(chunk)
            if size > limit:
                raise PayloadTooLargeError("The stored value", size, limit)
            chunks.append(chunk)
        if stream.unused_data:
            raise SerializationError("The stored value has something after its end.")
        return b"".join(chunks).decode()
    except (zlib.error, UnicodeDecodeError) as error:
        raise SerializationError(f"The stored value is damaged: {error}.") from error


def _is_plain(value: object, depth: int) -> bool:
    """Whether `value` is JSON as it stands. Too deep is not plain: the writer then says where."""
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return True
    if kind is int:
        return -_SAFE_INT <= cast("int", value) < _SAFE_INT
    if kind is float:
        return cast("float", value) - cast("float", value) == 0.0
    if depth >= MAX_DEPTH:
        return False
    if kind is dict:
        for key, item in cast("dict[object, object]", value).items():
            if type(key) is not str or key == "$":
                return False
            if type(item) is not str and not _is_plain(item, depth + 1):
                return False
        return True
    if kind is list:
        for item in cast("list[object]", value):
            if type(item) is not str and not _is_plain(item, depth + 1):
                return False
        return True
    return False


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


_loads = json.JSONDecoder(parse_constant=_refuse_constant).decode


def _check_depth(tree: object, depth: int) -> None:
    if isinstance(tree, list | dict):
        if depth >= MAX_DEPTH:
            raise ValueError(f"it is nested over {MAX_DEPTH} levels deep")
        branch = cast("list[object] | dict[str, object]", tree)
        for item in branch.values() if isinstance(branch, dict) else branch:
            _check_depth(item, depth + 1)
