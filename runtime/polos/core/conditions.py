"""Single-item conditions and changes as data, so that each is written once and every backend means the same by it.

Owns: the vocabulary of conditional writes and its meaning on one item. Pure. An attribute is a top-level name; a
comparison with a missing attribute is false, as in DynamoDB (Amazon DynamoDB Developer Guide, "Comparison operator and
function reference").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

Value: TypeAlias = "str | int | bytes | bool | list[str] | list[int] | frozenset[int]"
Item: TypeAlias = "dict[str, Value]"


@dataclass(frozen=True, slots=True)
class Absent:
    """The item does not exist."""


@dataclass(frozen=True, slots=True)
class Exists:
    """The item exists."""


@dataclass(frozen=True, slots=True)
class Has:
    """The item has the attribute."""

    name: str


@dataclass(frozen=True, slots=True)
class Equals:
    name: str
    value: Value


@dataclass(frozen=True, slots=True)
class Less:
    """The attribute is less than the value (both numbers or both strings)."""

    name: str
    value: str | int


@dataclass(frozen=True, slots=True)
class AtMost:
    name: str
    value: str | int


@dataclass(frozen=True, slots=True)
class Contains:
    """The attribute is a list that holds the value."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Not:
    term: Condition


@dataclass(frozen=True, slots=True, init=False)
class AllOf:
    terms: tuple[Condition, ...]

    def __init__(self, *terms: Condition) -> None:
        object.__setattr__(self, "terms", terms)


@dataclass(frozen=True, slots=True, init=False)
class AnyOf:
    terms: tuple[Condition, ...]

    def __init__(self, *terms: Condition) -> None:
        object.__setattr__(self, "terms", terms)


Condition: TypeAlias = "Absent | Exists | Has | Equals | Less | AtMost | Contains | Not | AllOf | AnyOf"


def holds(condition: Condition, item: Mapping[str, Value] | None) -> bool:
    """Whether the condition is true of the item (None: there is no item)."""
    match condition:
        case Absent():
            return item is None
        case Exists():
            return item is not None
        case Has(name):
            return item is not None and name in item
        case Equals(name, value):
            return item is not None and name in item and item[name] == value
        case Less(name, value):
            stored = None if item is None else item.get(name)
            return type(stored) is type(value) and stored < value  # type: ignore[operator]
        case AtMost(name, value):
            stored = None if item is None else item.get(name)
            return type(stored) is type(value) and stored <= value  # type: ignore[operator]
        case Contains(name, value):
            stored = None if item is None else item.get(name)
            return isinstance(stored, list) and value in stored
        case Not(term):
            return not holds(term, item)
        case AllOf(terms):
            return all(holds(term, item) for term in terms)
        case AnyOf(terms):
            return any(holds(term, item) for term in terms)


@dataclass(frozen=True, slots=True)
class Change:
    """What one update does to one item, which is created if it does not exist.

    `set` overwrites, `default` sets where the attribute is missing, `add` adds to a number (0 if missing), `append`
    extends a list (empty if missing), `union` adds members to a set of numbers, `remove` drops attributes.
    """

    set: Mapping[str, Value] = field(default_factory=dict[str, Value])
    default: Mapping[str, Value] = field(default_factory=dict[str, Value])
    add: Mapping[str, int] = field(default_factory=dict[str, int])
    append: Mapping[str, list[str]] = field(default_factory=dict[str, "list[str]"])
    union: Mapping[str, frozenset[int]] = field(default_factory=dict[str, "frozenset[int]"])
    remove: Sequence[str] = ()

    def apply(self, item: Mapping[str, Value]) -> Item:
        """The item after the change; the given one is left as it is."""
        new: Item = dict(item)
        for name, value in self.default.items():
            new.setdefault(name, value)
        new.update(self.set)
        for name, number in self.add.items():
            old = new.get(name, 0)
            if not isinstance(old, int):
                raise TypeError(f"{name} is not a number")
            new[name] = old + number
        for name, tail in self.append.items():
            head = new.get(name, [])
            new[name] = [*head, *tail]  # type: ignore[misc,list-item]
        for name, members in self.union.items():
            have = new.get(name, frozenset())
            new[name] = frozenset(have) | members  # type: ignore[arg-type]
        for name in self.remove:
            new.pop(name, None)
        return new
