"""The time of a turn, where what it asks for takes time itself. L15."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from polos.engine.pace import Pace
from polos.limits import Limits


class SlowControls:
    """What is paused (nothing), which takes two of the seconds that are left to find out."""

    def __init__(self, left: float) -> None:
        self.left = left

    def may_begin(self, execution: Any) -> bool:
        self.left -= 2
        return True


def late(left: float) -> bool:
    controls = SlowControls(left)
    engine = SimpleNamespace(limits=Limits(), controls=controls)
    turn: Any = SimpleNamespace(engine=engine, cancel="", paused=False, execution={}, remaining=lambda: controls.left)
    return Pace(turn).too_late()


def test_no_step_begins_near_the_limit_because_what_is_paused_was_read_before_it() -> None:
    assert late(11.5)
    assert not late(12.5)
