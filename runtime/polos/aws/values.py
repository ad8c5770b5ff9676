"""Items as DynamoDB's attribute values, and back. Pure; one attribute a value, no nesting but lists.

    str S   int N   bytes B   bool BOOL   list[str], list[int] L   frozenset[int] NS

DynamoDB has no empty set (Developer Guide, "Supported data types and naming rules", Sets): an empty one is left out
of a put, and reads as missing, which means the same to everybody who unites or looks for a member.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from polos.core.conditions import Item, Value

Attribute: TypeAlias = "dict[str, Any]"


def to_attribute(value: Value) -> Attribute:
    """One value. Raises `TypeError` for what no item may hold."""
    match value:
        case str():
            return {"S": value}
        case bool():
            return {"BOOL": value}
        case int():
            return {"N": str(value)}
        case bytes():
            return {"B": value}
        case list():
            return {"L": [to_attribute(member) for member in value]}
        case frozenset():
            return {"NS": [str(member) for member in sorted(value)]}
    raise TypeError(f"{type(value).__name__} cannot be stored")


def to_item(item: Mapping[str, Value]) -> dict[str, Attribute]:
    """A whole item."""
    return {name: to_attribute(value) for name, value in item.items() if value != frozenset()}


def of_attribute(attribute: Mapping[str, Any]) -> Value:
    """One attribute. Raises `TypeError` for a type that this version does not write."""
    for kind, value in attribute.items():
        match kind:
            case "S" | "BOOL":
                return value
            case "N":
                return int(value)
            case "B":
                return bytes(value)
            case "L":
                return [of_attribute(member) for member in value]  # type: ignore[return-value]
            case "NS":
                return frozenset(int(member) for member in value)
            case _:
                break
    raise TypeError(f"an attribute of the unknown type {next(iter(attribute), None)!r} was read")


def of_item(item: Mapping[str, Mapping[str, Any]]) -> Item:
    """A whole item."""
    return {name: of_attribute(attribute) for name, attribute in item.items()}
