"""EventBridge event patterns: whether one is valid, and whether an event matches it. Pure.

On AWS it is EventBridge that matches; this is for the embedded backend and for tests, and to refuse at import what
PutRule would refuse at deployment. The facts come from the EventBridge User Guide, "Creating Amazon EventBridge event
patterns" and "Comparison operators for use in event patterns in Amazon EventBridge"
(https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html): each field of a pattern
must be in the event; the values of a field are alternatives; an array in the event matches if one of its elements does,
and two fields of objects in an array are looked for in the same element; numbers are compared as they are written, but
by `numeric`; a comparison looks at leaves, so an object does not `exist`.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, Final, cast

from polos.errors import WorkflowDefinitionError

ENVELOPE: Final = (
    "version", "id", "detail-type", "source", "account", "time", "region", "resources", "detail", "replay-name",
)  # fmt: skip
"""The fields of an event (EventBridge User Guide, "Events"), with that of replayed ones."""

LONGEST: Final = 4096
"""Characters of a pattern (API reference, "PutRule", EventPattern)."""

_OR: Final = "$or"
_LARGEST: Final = 5e9  # "-5.0e9 to 5.0e9 inclusive, with 15 digits of precision"
_COMPARISONS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "=": lambda value, bound: value == bound,
    "<": lambda value, bound: value < bound,
    "<=": lambda value, bound: value <= bound,
    ">": lambda value, bound: value > bound,
    ">=": lambda value, bound: value >= bound,
}
_MANY: Final = ("prefix", "suffix", "equals-ignore-case", "wildcard")
"""The operators that anything-but takes, each with a string or a list of strings."""

_CASELESS: Final = ("prefix", "suffix")


def matches(pattern: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    """Whether an event (its whole envelope) matches a valid pattern."""
    return _fields_match(pattern, [event])


def check(pattern: object) -> dict[str, Any]:
    """The pattern as a plain dict. Raises `WorkflowDefinitionError` that says where it is wrong."""
    if not isinstance(pattern, Mapping) or not pattern:
        raise _bad("", "must be a dict with at least one field")
    try:
        text = json.dumps(pattern, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise _bad("", f"is not JSON: {error}") from None
    if len(text) > LONGEST:
        raise _bad("", f"has {len(text)} characters as JSON; it must have at most {LONGEST}")
    plain = cast("dict[str, Any]", json.loads(text))
    for part in _alternatives(plain):
        for name in part:
            if name not in ENVELOPE and name != _OR:
                raise _bad(name, f"is no field of an EventBridge event; those are {', '.join(ENVELOPE)}")
    _check_fields(plain, "")
    return plain


# ---- matching


def _fields_match(pattern: Mapping[str, Any], found: list[Any]) -> bool:
    """Whether one of the objects has all fields. No object at all is an empty one, for `exists: false`."""
    objects = [cast("Mapping[str, Any]", one) for one in found if isinstance(one, Mapping)]
    return any(_object_matches(pattern, one) for one in objects or [{}])


def _object_matches(pattern: Mapping[str, Any], given: Mapping[str, Any]) -> bool:
    for name, wanted in pattern.items():
        if name == _OR and _is_or(wanted):
            if not any(_object_matches(one, given) for one in wanted):
                return False
            continue
        values = list(_elements(given[name])) if name in given else []
        if isinstance(wanted, Mapping):
            if not _fields_match(cast("Mapping[str, Any]", wanted), values):
                return False
        elif not _leaf_matches(wanted, [one for one in values if not isinstance(one, Mapping)]):
            return False
    return True


def _elements(value: Any) -> Iterator[Any]:
    """The value, or the elements of an array, and of those in it."""
    if isinstance(value, list):
        for one in cast("list[Any]", value):
            yield from _elements(one)
    else:
        yield value


def _leaf_matches(wanted: list[Any], leaves: list[Any]) -> bool:
    for one in wanted:
        if isinstance(one, dict) and "exists" in one:
            if bool(leaves) == one["exists"]:
                return True
        elif any(_value_matches(one, leaf) for leaf in leaves):
            return True
    return False


def _value_matches(wanted: Any, leaf: Any) -> bool:
    if not isinstance(wanted, dict):
        return _same(wanted, leaf)
    ((operator, argument),) = cast("dict[str, Any]", wanted).items()
    if operator == "anything-but":
        return not _is_excepted(argument, leaf)
    if operator == "numeric":
        return _is_number(leaf) and _compares(argument, leaf)
    return isinstance(leaf, str) and _text_matches(operator, argument, leaf)


def _same(wanted: Any, leaf: Any) -> bool:
    return type(wanted) is type(leaf) and json.dumps(wanted) == json.dumps(leaf)


def _is_excepted(argument: Any, leaf: Any) -> bool:
    if isinstance(argument, dict):
        ((operator, given),) = cast("dict[str, Any]", argument).items()
        return isinstance(leaf, str) and any(_text_matches(operator, one, leaf) for one in _listed(given))
    return any(_same(one, leaf) for one in _listed(argument))


def _compares(terms: list[Any], leaf: float) -> bool:
    return all(_COMPARISONS[terms[at]](leaf, terms[at + 1]) for at in range(0, len(terms), 2))


def _text_matches(operator: str, argument: Any, text: str) -> bool:
    if isinstance(argument, dict):
        argument, text = str(cast("dict[str, Any]", argument)["equals-ignore-case"]).casefold(), text.casefold()
    match operator:
        case "prefix":
            return text.startswith(argument)
        case "suffix":
            return text.endswith(argument)
        case "equals-ignore-case":
            return text.casefold() == argument.casefold()
        case "wildcard":
            return _wildcard_matches(_parts(argument), text)
        case _:
            return _is_address_in(argument, text)


@cache
def _parts(wildcard: str) -> tuple[str, ...]:
    """The texts between the stars."""
    texts = [""]
    for token in re.findall(r"\\[*\\]|\*|[^*]", wildcard, re.DOTALL):
        if token == "*":
            texts.append("")
        else:
            texts[-1] += token[-1]
    return tuple(texts)


def _wildcard_matches(parts: tuple[str, ...], text: str) -> bool:
    """Each part at the first place where it fits: as a regular expression, some texts would take years."""
    first, *rest = parts
    if not rest:
        return text == first
    *between, last = rest
    at, end = len(first), len(text) - len(last)
    if not (text.startswith(first) and text.endswith(last) and at <= end):
        return False
    for part in between:
        found = text.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


def _is_address_in(block: str, text: str) -> bool:
    try:
        return ipaddress.ip_address(text) in ipaddress.ip_network(block, strict=False)
    except ValueError:
        return False


# ---- checking


def _alternatives(pattern: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The pattern, and those in its `$or`, which name fields of the same level."""
    yield pattern
    if _is_or(pattern.get(_OR)):
        for one in pattern[_OR]:
            yield from _alternatives(one)


def _is_or(wanted: Any) -> bool:
    """`$or` is an operator where it has two objects or more; elsewhere it is a field of that name."""
    if not isinstance(wanted, list) or len(cast("list[Any]", wanted)) < 2:
        return False
    return all(isinstance(one, Mapping) and not _is_operator(one) for one in cast("list[Any]", wanted))


def _is_operator(one: Any) -> bool:
    return len(one) == 1 and next(iter(one)) in {*_MANY, "anything-but", "numeric", "exists", "cidr"}


def _check_fields(pattern: Mapping[str, Any], path: str) -> None:
    if not pattern:
        raise _bad(path, "is an empty object; name at least one field")
    for name, wanted in pattern.items():
        where = f"{path}.{name}" if path else name
        if name == _OR:
            if not _is_or(wanted):
                raise _bad(where, "must be a list of two or more objects")
            for one in wanted:
                _check_fields(one, where)
        elif isinstance(wanted, dict):
            _check_fields(cast("dict[str, Any]", wanted), where)
        elif isinstance(wanted, list) and wanted:
            for one in cast("list[Any]", wanted):
                _check_value(one, where)
        else:
            raise _bad(where, f"must be a list of values or an object, not {json.dumps(wanted)}")


def _check_value(one: Any, where: str) -> None:
    if isinstance(one, list):
        raise _bad(where, "has a list in its list of values")
    if not isinstance(one, dict):
        return
    given = cast("dict[str, Any]", one)
    if len(given) != 1:
        raise _bad(where, f"has {json.dumps(given)}, which must have one operator")
    ((operator, argument),) = given.items()
    problem = _problem(operator, argument)
    if problem:
        raise _bad(where, f"has {json.dumps(given)}: {problem}")


def _problem(operator: str, argument: Any) -> str:
    """What is wrong with an operator's argument; "" for nothing."""
    match operator:
        case "exists":
            return "" if isinstance(argument, bool) else "exists takes true or false"
        case "numeric":
            return _problem_of_numeric(argument)
        case "anything-but":
            return _problem_of_anything_but(argument)
        case "cidr":
            return _problem_of_cidr(argument)
        case "prefix" | "suffix" | "equals-ignore-case" | "wildcard":
            return _problem_of_text(operator, argument)
        case _:
            return f"there is no operator {operator!r}"


def _problem_of_text(operator: str, argument: Any) -> str:
    if operator in _CASELESS and isinstance(argument, dict):
        given = cast("dict[str, Any]", argument)
        if list(given) == ["equals-ignore-case"] and isinstance(given["equals-ignore-case"], str):
            return ""
    if not isinstance(argument, str):
        return f"{operator} takes a string"
    if operator == "wildcard" and "**" in re.sub(r"\\[*\\]", "", argument):
        return "wildcard takes no two stars in a row"
    if operator == "wildcard" and re.search(r"\\(?![*\\])", re.sub(r"\\[*\\]", "", argument)):
        return "a backslash in a wildcard must stand before a star or a backslash"
    return ""


def _problem_of_anything_but(argument: Any) -> str:
    if isinstance(argument, dict):
        given = cast("dict[str, Any]", argument)
        operator = next(iter(given)) if len(given) == 1 else ""
        if operator not in _MANY:
            return f"anything-but takes a value, a list of values, or one of {', '.join(_MANY)}"
        values = _listed(given[operator])
        return next(filter(None, (_problem_of_text(operator, one) for one in values)), "" if values else "it is empty")
    values = _listed(argument)
    if not values:
        return "it is empty"
    if not (all(isinstance(one, str) for one in values) or all(_is_number(one) for one in values)):
        return "anything-but takes strings or numbers, not both"
    return ""


def _problem_of_numeric(argument: Any) -> str:
    said = 'numeric takes a comparison and a number, or a range as in [">", 0, "<=", 5]'
    if not isinstance(argument, list):
        return said
    terms = cast("list[Any]", argument)
    operators, bounds = terms[0::2], terms[1::2]
    if len(terms) not in (2, 4) or any(one not in _COMPARISONS for one in operators):
        return said
    if not all(_is_number(one) and abs(one) <= _LARGEST for one in bounds):
        return "the numbers of numeric must be from -5e9 to 5e9"
    if len(terms) == 4 and not (operators[0] in (">", ">=") and operators[1] in ("<", "<=") and bounds[0] < bounds[1]):
        return said
    return ""


def _problem_of_cidr(argument: Any) -> str:
    try:
        ipaddress.ip_network(argument if isinstance(argument, str) else "", strict=False)
    except ValueError:
        return 'cidr takes a block of addresses, as in "10.0.0.0/24"'
    return ""


def _listed(argument: Any) -> list[Any]:
    return cast("list[Any]", argument) if isinstance(argument, list) else [argument]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _bad(where: str, problem: str) -> WorkflowDefinitionError:
    return WorkflowDefinitionError(f"The event pattern{f' at {where!r}' if where else ''} {problem}.")
