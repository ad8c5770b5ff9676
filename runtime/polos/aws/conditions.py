"""Conditions and changes as DynamoDB expressions. Pure: means what `polos.core.conditions` says, and nothing else.

Every name is a placeholder, for many storage names are reserved words (Developer Guide, "Reserved words in DynamoDB").
"""

from __future__ import annotations

from typing import Any

from polos.aws.values import Attribute, to_attribute
from polos.core import items
from polos.core.conditions import (
    Absent,
    AllOf,
    AnyOf,
    AtMost,
    Change,
    Condition,
    Contains,
    Equals,
    Exists,
    Has,
    Less,
    Not,
    Value,
)


class Expressions:
    """The expressions of one request, with the names and values that they refer to."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._values: dict[str, Attribute] = {}

    def name(self, attribute: str) -> str:
        return self._names.setdefault(attribute, f"#{len(self._names)}")

    def value(self, value: Value) -> str:
        placeholder = f":{len(self._values)}"
        self._values[placeholder] = to_attribute(value)
        return placeholder

    def parameters(self, **expressions: str) -> dict[str, Any]:
        """The request's parameters: the given expressions that are not empty, and what they refer to."""
        given: dict[str, Any] = {name: text for name, text in expressions.items() if text}
        if self._names:
            given["ExpressionAttributeNames"] = {short: name for name, short in self._names.items()}
        if self._values:
            given["ExpressionAttributeValues"] = self._values
        return given

    def condition(self, condition: Condition) -> str:
        """A ConditionExpression ("Comparison operator and function reference")."""
        match condition:
            case Absent():
                return f"attribute_not_exists({self.name(items.PK)})"
            case Exists():
                return f"attribute_exists({self.name(items.PK)})"
            case Has(name):
                return f"attribute_exists({self.name(name)})"
            case Equals(name, value):
                return f"{self.name(name)} = {self.value(value)}"
            case Less(name, value):
                return f"{self.name(name)} < {self.value(value)}"
            case AtMost(name, value):
                return f"{self.name(name)} <= {self.value(value)}"
            case Contains(name, value):
                return f"contains({self.name(name)}, {self.value(value)})"
            case Not(term):
                return f"(NOT {self.condition(term)})"
            case AllOf(terms):
                return self._joined(terms, " AND ", empty=AnyOf(Exists(), Absent()))
            case AnyOf(terms):
                return self._joined(terms, " OR ", empty=AllOf(Exists(), Absent()))

    def _joined(self, terms: tuple[Condition, ...], word: str, *, empty: Condition) -> str:
        """Terms in parentheses; DynamoDB refuses redundant ones, so a single term has none of its own."""
        if len(terms) < 2:
            return self.condition(terms[0] if terms else empty)
        return f"({word.join(self.condition(term) for term in terms)})"

    def change(self, change: Change) -> str:
        """An UpdateExpression ("Using update expressions in DynamoDB"), which may name an attribute only once.

        The order of `Change.apply` holds: default, set, add, append, union, remove.
        """
        removed = set(change.remove)
        starting: dict[str, str] = {}  # what an attribute is before something is added to it
        for name, value in change.default.items():
            if name not in removed and name not in change.set:
                starting[name] = f"if_not_exists({self.name(name)}, {self.value(value)})"
        for name, value in change.set.items():
            if name not in removed:
                starting[name] = self.value(value)
        for name, number in change.add.items():
            if name not in removed:
                old = starting.get(name) or f"if_not_exists({self.name(name)}, {self.value(0)})"
                starting[name] = f"{old} + {self.value(number)}"
        for name, tail in change.append.items():
            if name not in removed:
                old = starting.get(name) or f"if_not_exists({self.name(name)}, {self.value([])})"
                starting[name] = f"list_append({old}, {self.value(tail)})"
        united = [
            f"{self.name(name)} {self.value(members)}"
            for name, members in change.union.items()
            if members and name not in removed
        ]
        clauses = {
            "SET": [f"{self.name(name)} = {text}" for name, text in starting.items()],
            "ADD": united,
            "REMOVE": [self.name(name) for name in dict.fromkeys(change.remove)],
        }
        return " ".join(f"{word} {', '.join(parts)}" for word, parts in clauses.items() if parts)
