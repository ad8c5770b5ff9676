"""Values without parts and how they are written as tags: dates and times, identifiers, numbers, bytes, addresses.

The tables are closed: a tag that is not in them is not read, and none of them names a class of the application.
Time zones are stored by key and come from the time zone database of the reading machine.

A value of a subclass of one of these types (or of a JSON type) that is not stored by its class comes back as the type
itself, if the two compare equal: a `numpy.float64` as a `float`, asyncpg's `UUID` as a `UUID`, a `defaultdict` as a
`dict`.
"""

from __future__ import annotations

import base64
import datetime
import decimal
import ipaddress
import math
import re
import uuid
import zoneinfo
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Final, TypeVar, cast

import pydantic

T = TypeVar("T")
Node = dict[str, object]
"""A tag: `"$"` names it, the other keys are its operands."""

LONG_INT_BITS: Final = 2000
"""Longer integers are written in hexadecimal, which Python reads without its limit on decimal digits (at least 640)."""

_ZONE_KEY: Final = re.compile(r"[A-Za-z0-9_+\-]+(?:/[A-Za-z0-9_+\-]+)*")


def operand(node: Mapping[str, object], key: str, kind: type[T]) -> T:
    """The operand `key` of a tag; `ValueError` if it is missing or not of exactly that type."""
    value = node.get(key)
    if type(value) is not kind:
        raise ValueError(f"{key!r} is missing or of the wrong type")
    return value


def _moment(value: datetime.datetime | datetime.time, tag: str) -> Node:
    zone = value.tzinfo
    node: Node = {"$": tag}
    if isinstance(zone, zoneinfo.ZoneInfo) and zone.key:
        node["v"], node["zone"] = value.replace(tzinfo=None).isoformat(), zone.key
    elif zone is None:
        node["v"] = value.isoformat()
    else:
        offset = value.utcoffset()
        if offset is None:
            raise ValueError("its time zone has neither a key nor a fixed offset")
        fixed = datetime.timezone(offset)
        node["v"] = value.replace(tzinfo=fixed).isoformat()
        if type(zone) is datetime.timezone and zone.tzname(None) != fixed.tzname(None):
            node["name"] = zone.tzname(None)
    if value.fold:
        node["fold"] = 1
    return node


M = TypeVar("M", datetime.datetime, datetime.time)


def _read_moment(node: Node, parse: Callable[[str], M]) -> M:
    value = parse(operand(node, "v", str))
    if "zone" in node:
        value = value.replace(tzinfo=_zone(operand(node, "zone", str)))
    elif "name" in node:
        offset = value.utcoffset()
        if offset is None:
            raise ValueError("a named offset without the offset")
        value = value.replace(tzinfo=datetime.timezone(offset, operand(node, "name", str)))
    return value.replace(fold=operand(node, "fold", int)) if "fold" in node else value


def _zone(key: str) -> zoneinfo.ZoneInfo:
    if not _ZONE_KEY.fullmatch(key):
        raise ValueError(f"{key!r} is no time zone")
    try:
        return zoneinfo.ZoneInfo(key)
    except (zoneinfo.ZoneInfoNotFoundError, OSError):
        raise ValueError(f"the time zone {key!r} is not known on this machine (install tzdata)") from None


def _timedelta(value: datetime.timedelta) -> Node:
    return {"$": "timedelta", "v": [value.days, value.seconds, value.microseconds]}


def _read_timedelta(node: Node) -> datetime.timedelta:
    parts = operand(node, "v", cast("type[list[object]]", list))
    if len(parts) != 3 or not all(type(part) is int for part in parts):
        raise ValueError("'v' is not three whole numbers")
    days, seconds, microseconds = cast("list[int]", parts)
    return datetime.timedelta(days, seconds, microseconds)


def _read_float(node: Node) -> float:
    text = operand(node, "v", str)
    if text not in ("nan", "inf", "-inf"):
        raise ValueError(f"{text!r} is no such number")
    return float(text)


def _bytes(node: Node) -> bytes:
    return base64.b64decode(operand(node, "v", str), validate=True)


def _by_text(tag: str) -> Callable[[Any], Node]:
    return lambda value: {"$": tag, "v": str(value)}


def _from_text(build: Callable[[str], object]) -> Callable[[Node], object]:
    return lambda node: build(operand(node, "v", str))


_URLS: Final = (
    *("AnyUrl", "AnyHttpUrl", "HttpUrl", "AnyWebsocketUrl", "WebsocketUrl", "FileUrl", "FtpUrl"),
    *("PostgresDsn", "MySQLDsn", "RedisDsn", "MongoDsn", "AmqpDsn", "KafkaDsn"),
)
"""Before pydantic 2.10 these are annotations of one class, not classes, and cannot be told apart."""

_TEXTUAL: Final[Mapping[str, type]] = {
    "uuid": uuid.UUID,
    "decimal": decimal.Decimal,
    "path": type(Path()),
    "posix_path": PurePosixPath,
    "windows_path": PureWindowsPath,
    **{
        cls.__name__: cls
        for cls in (
            ipaddress.IPv4Address,
            ipaddress.IPv4Interface,
            ipaddress.IPv4Network,
            ipaddress.IPv6Address,
            ipaddress.IPv6Interface,
            ipaddress.IPv6Network,
        )
    },
    **{name: cls for name in _URLS if isinstance(cls := getattr(pydantic, name), type)},
}

WRITERS: Final[Mapping[type, Callable[[Any], Node]]] = {
    datetime.datetime: lambda value: _moment(value, "datetime"),
    datetime.time: lambda value: _moment(value, "time"),
    datetime.date: lambda value: {"$": "date", "v": value.isoformat()},
    datetime.timedelta: _timedelta,
    zoneinfo.ZoneInfo: lambda value: {"$": "zone", "v": operand({"key": value.key}, "key", str)},
    bytes: lambda value: {"$": "bytes", "v": base64.b64encode(value).decode()},
    bytearray: lambda value: {"$": "bytearray", "v": base64.b64encode(value).decode()},
    **{cls: _by_text(tag) for tag, cls in _TEXTUAL.items()},
}
"""The tag of a value, by its exact type. A writer raises `ValueError` if the value has no text that comes back."""

READERS: Final[Mapping[str, Callable[[Node], object]]] = {
    "datetime": lambda node: _read_moment(node, datetime.datetime.fromisoformat),
    "time": lambda node: _read_moment(node, datetime.time.fromisoformat),
    "date": _from_text(datetime.date.fromisoformat),
    "timedelta": _read_timedelta,
    "zone": _from_text(_zone),
    "bytes": _bytes,
    "bytearray": lambda node: bytearray(_bytes(node)),
    "float": _read_float,
    "int": lambda node: int(operand(node, "v", str), 16),
    **{tag: _from_text(cls) for tag, cls in _TEXTUAL.items()},
}
"""The value of a tag. A reader raises `ValueError`, `TypeError` or `ArithmeticError` if the tag is malformed."""


def number(value: float) -> object:
    """A number as JSON holds it, or its tag: nan, the infinities, and integers of more than `LONG_INT_BITS` bits."""
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$": "float", "v": repr(value)}
    return value if value.bit_length() <= LONG_INT_BITS else {"$": "int", "v": hex(value)}


def _plain_time(value: datetime.time | datetime.datetime) -> datetime.time:
    return datetime.time(value.hour, value.minute, value.second, value.microsecond, value.tzinfo, fold=value.fold)


def _plain_datetime(value: datetime.datetime) -> datetime.datetime:
    return datetime.datetime.combine(datetime.date(value.year, value.month, value.day), _plain_time(value))


_BASES: Mapping[type, Callable[[Any], object]] = {
    str: str.__str__,
    int: int.__int__,
    float: float.__float__,
    dict: dict,
    list: list,
    tuple: tuple,
    set: set,
    frozenset: frozenset,
    bytes: bytes,
    bytearray: bytearray,
    datetime.datetime: _plain_datetime,
    datetime.date: lambda value: datetime.date(value.year, value.month, value.day),
    datetime.time: _plain_time,
    datetime.timedelta: lambda value: datetime.timedelta(value.days, value.seconds, value.microseconds),
    uuid.UUID: lambda value: uuid.UUID(int=value.int),
    decimal.Decimal: decimal.Decimal,
    Path: Path,
    PurePosixPath: PurePosixPath,
    PureWindowsPath: PureWindowsPath,
}


def plain(value: object) -> object | None:
    """The equal value of the built-in type that `value`'s class derives from; None if there is none."""
    for base, convert in _BASES.items():
        if isinstance(value, base):
            try:
                found = convert(value)
                same = type(found) is not type(value) and (found == value or (found != found and value != value))
                return found if same else None
            except Exception:  # noqa: BLE001  the subclass's own code: whatever it raises, it has no plain form
                return None
    return None
