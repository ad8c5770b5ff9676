"""The options of a start that came in a message: each is of its type, or the message is refused.

They become a part of the execution item as they are, which everybody reads who runs, lists or describes it: one of a
wrong type would be found there, by all of them, for as long as the execution is kept (SPEC section 12). Names that
are not known here are left alone: a newer version may have written them. Changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from polos.core.identity import check_execution_id, check_queue, is_workflow_id
from polos.core.spans import seconds_of
from polos.engine.fields import LAST_MOMENT
from polos.errors import InvalidPayloadError

_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


def check(options: Mapping[str, Any], created_at: int) -> None:
    """Raises `InvalidPayloadError` that names the option."""
    for name, value in options.items():
        fits = _FITS.get(name)
        if fits is not None and not _holds(fits, value):
            raise InvalidPayloadError(f"A start message has an option {name!r} that no start can have.")
    if "limit" in options and "queue" not in options:
        raise InvalidPayloadError("A start message has a limit and names no queue.")
    if created_at + options.get("timeout", 0) * 1000 > LAST_MOMENT:
        raise InvalidPayloadError("A start message has a time limit that ends after the year 9999.")


def _holds(fits: Callable[[Any], bool], value: Any) -> bool:
    try:
        return fits(value)
    except (InvalidPayloadError, LookupError, ValueError, TypeError, AttributeError):
        return False


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63


def _is_name(value: Any) -> bool:
    return bool(check_queue(value))


def _is_span(value: Any) -> bool:
    return value is not None and seconds_of(value) is not None


def _are_tags(value: Any) -> bool:
    return isinstance(value, dict) and all(_is_text(one) for one in cast("dict[str, Any]", value).values())


def _is_document(value: Any) -> bool:
    return isinstance(value, dict)


def _is_execution(value: Any) -> bool:
    """An execution and its workflow."""
    return _is_document(value) and is_workflow_id(value["wf"]) and bool(check_execution_id(value["x"]))


def _is_parent(value: Any) -> bool:
    """The step of another execution that waits for it; of a batch, which place of how many."""
    place = [value[name] for name in ("i", "n") if name in value] if _is_document(value) else []
    whole = all(map(_is_count, place)) and len(place) != 1
    return _is_execution(value) and _is_name(value["k"]) and _is_count(value.get("g", 0)) and whole


def _is_link(value: Any) -> bool:
    """The first execution of a chain, and how many links after it."""
    first, number = value
    return isinstance(value, list) and bool(check_execution_id(first)) and _is_count(number)


def _is_trigger(value: Any) -> bool:
    """What started an execution: of a batch also the last sequence, and the ids, that its waits must not take."""
    return _is_document(value) and _is_count(value.get("last", 0)) and all(map(_is_text, value.get("events", [])))


def _are_taken(value: Any) -> bool:
    """What the executions before in a chain left of events: from when on, by topic and type, and which not."""
    since = value.get("since")
    typed = cast("dict[str, dict[str, Any]]", value.get("typed") or {})
    groups = [value.get("topics") or {}, *typed.values()]
    return (since is None or _is_count(since)) and all(
        _is_count(horizon)
        and isinstance(taken, list)
        and all(_is_count(at) and _is_text(one) for at, one in cast("list[tuple[Any, Any]]", taken))
        for group in cast("list[dict[str, tuple[Any, Any]]]", groups)
        for horizon, taken in group.values()
    )


def _is_traceparent(value: Any) -> bool:
    return _TRACEPARENT.fullmatch(value) is not None


_FITS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "parent": _is_parent,
    "root": _is_execution,
    "session": _is_text,
    "user": _is_text,
    "queue": _is_name,
    "ckey": _is_name,
    "limit": _is_count,
    "timeout": _is_span,
    "state": _is_text,
    "tags": _are_tags,
    "trigger": _is_trigger,
    "pd": _is_text,
    "pb": _is_count,
    "sq": _is_count,
    "chain": _is_link,
    "ev": lambda value: _is_document(value) and _are_taken(value),
    "tp": _is_traceparent,
    "forked": _is_text,
}
