"""What happened in a run: numbered lines that say who asked for what, what that changed, and what went wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from polos.core.conditions import Item

_SHOWN = 60
_HIDDEN = frozenset({"pk", "sk"})


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
    parts: list[str] = []
    for name in [*after, *(name for name in before or {} if name not in after)]:
        old, new = (before or {}).get(name), after.get(name)
        if name not in _HIDDEN and old != new:
            parts.append(f"{name}={_value(new)}" if before is None else f"{name}: {_value(old)} → {_value(new)}")
    return ("new: " if before is None else "") + ", ".join(parts)


def _value(value: Any) -> str:
    if value is None:
        return "–"
    text = str(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
