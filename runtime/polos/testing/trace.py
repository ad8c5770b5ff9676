"""What happened in a run: numbered lines that say who asked for what, what that changed, and what went wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from polos.core import items
from polos.core.conditions import Item
from polos.engine.commands import moment

_SHOWN = 60
_A_MOMENT = 10**12
_HIDDEN = frozenset(
    {
        items.PK, items.SK, items.LEASE_MESSAGE, items.SPENT, items.FINISHER, items.TTL, items.BUCKET,
        items.BUCKET_SORT, items.START, items.RAN, items.WRITER, items.PAUSE,
    }
)  # fmt: skip
_BOTH = {
    items.EPOCH: "epoch", items.FAILURE: "failure", items.WORKFLOW: "workflow", items.GENERATION: "generation",
}  # fmt: skip
_EXECUTION = _BOTH | {
    items.STATUS: "status", items.LEASE_TOKEN: "lease", items.LEASE_UNTIL: "until", items.WAKE: "wakes",
    items.STARTED: "started", items.CREATED: "created", items.PROGRESS: "progress", items.WAITING_FOR: "waits for",
    items.ENDED: "ended", items.RESULT: "result", items.INPUT: "input", items.CANCEL: "cancel",
    items.CANCEL_AT: "strikes at", items.NOT_BEFORE: "not before", items.RETRIES: "retries", items.NEXT: "successor",
    items.RERUN_AFTER: "taken up to", items.UNTAKEN: "but not by",
    items.FINAL_STATE: "state", items.PAUSED: "paused", items.DROPPED: "a retry drops", items.WAITING_SK: "in line",
    items.WAITING_MORE: "waits listed under",
}  # fmt: skip
_RECORD = _BOTH | {
    items.STATE: "", items.KIND: "kind", items.VALUE: "value", items.AT: "at", items.NOTED: "noted",
    items.BEGAN: "began",
    items.ATTEMPTS: "attempts", items.DUE: "due", items.CHILD: "child", items.TOPIC: "topic", items.EVENT_ID: "event",
}  # fmt: skip
_STATES = {items.DECIDED: "decided", items.ARMED: "armed", items.RETRYING: "between two attempts"}


@dataclass
class Line:
    """One request, message or fault. `before` and `after` are the item that a write was about (None: there is none)."""

    number: int
    at: timedelta
    who: str
    what: str
    before: Item | None = None
    after: Item | None = None
    faults: list[str] = field(default_factory=list[str])

    def __str__(self) -> str:
        seconds = self.at.total_seconds()
        shown = f"{self.number:4d}  {_span(seconds)}  {self.who:>4}  {self.what}"
        changed = _changes(self.before, self.after)
        if changed:
            shown += f"\n{'':29}{changed}"
        return shown + "".join(f"\n{'':22}  ✗ {fault}" for fault in self.faults)


class Trace:
    """The lines of one run, in order. Its text is what a failing test prints."""

    def __init__(self, begin: datetime) -> None:
        self._begin = begin
        self._lines: list[Line] = []

    def add(self, now: datetime, who: str, what: str) -> Line:
        line = Line(len(self._lines) + 1, now - self._begin, who, what)
        self._lines.append(line)
        return line

    def __iter__(self) -> Iterator[Line]:
        return iter(self._lines)

    def __len__(self) -> int:
        return len(self._lines)

    def __str__(self) -> str:
        return "\n".join(map(str, self._lines))


def _span(seconds: float) -> str:
    whole, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(whole), 60)
    return f"{hours:3d}:{minutes:02d}:{rest:06.3f}"


def _changes(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> str:
    """The attributes that differ, as `name: old → new`."""
    if before is None and after is None:
        return ""
    if after is None:
        return "removed"
    names = _EXECUTION if after.get(items.SK) == items.EXECUTION else _RECORD
    parts: list[str] = []
    for name in [*after, *(name for name in before or {} if name not in after)]:
        old, new = (before or {}).get(name), after.get(name)
        if name not in _HIDDEN and old != new:
            shown, value = names.get(name, name), _value(name, new)
            said = value if old is None else f"{_value(name, old)} → {value}"
            parts.append(f"{shown} {said}".strip())
    return ("new: " if before is None else "") + ", ".join(parts)


def _value(name: str, value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, int) and _A_MOMENT < value < 5 * _A_MOMENT:
        return f"{moment(value):%d %b %H:%M:%S}"
    text = _STATES.get(str(value), str(value)) if name == items.STATE else str(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
