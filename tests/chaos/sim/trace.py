"""A run as numbered lines: at what time, who, what, and the item before and after."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from polos.core import items
from polos.core.conditions import Item
from polos.ports import ConditionFailed

if TYPE_CHECKING:
    from tests.chaos.sim.strands import Invocation
    from tests.chaos.sim.world import World

_HIDDEN = frozenset({items.PK, items.SK, items.START, items.BUCKET, items.BUCKET_SORT, items.CREATED})


class Trace:
    """Collects the lines of one run."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._world: World | None = None
        self._written: str = ""

    def of(self, world: World) -> None:
        self._world = world

    def line(self, text: str, *, fault: bool = False) -> None:
        at = self._world.t if self._world is not None else 0.0
        self.lines.append(f"{len(self.lines) + 1:4}  {at:9.3f}  {'!! ' if fault else '   '}{text}")

    def error(self, error: Exception) -> None:
        for text in traceback.format_exception(error)[-3:]:
            self.line(text.rstrip().replace("\n", " | "))

    def wrote(self, before: Item | None, after: Item | None) -> None:
        """A write took effect: shown with the request that is being made."""
        self._written = f"  {_difference(before, after)}"

    def request(self, world: World, invocation: Invocation, name: str, about: str, effect: Callable[[], Any]) -> Any:
        self._written = ""
        who = f"{invocation.name} {name} {about}"
        try:
            value = effect()
        except ConditionFailed as failed:
            self.line(f"{who}  refused: {_shown(failed.item)}")
            raise
        page = value[0] if isinstance(value, tuple) else value
        found = f"  {len(page)} found" if isinstance(page, list) else ""
        self.line(f"{who}{found}{self._written}")
        return value


def _shown(item: Item | None) -> str:
    if item is None:
        return "(nothing)"
    return " ".join(f"{name}={_short(value)}" for name, value in item.items() if name not in _HIDDEN)


def _difference(before: Item | None, after: Item | None) -> str:
    if before is None or after is None:
        return f"{_shown(before)} -> {_shown(after)}"
    names = [name for name in {**before, **after} if before.get(name) != after.get(name) and name not in _HIDDEN]
    return ", ".join(f"{name}: {_short(before.get(name))} -> {_short(after.get(name))}" for name in names) or "(same)"


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
