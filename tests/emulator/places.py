"""Where a scenario runs: this repository or a project of `polos init`, on an emulator that enforces policies or not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pytest

Source = Literal["repository", "project"]
STACKS: dict[Source, str] = {"repository": "lane", "project": "shop"}


@dataclass(frozen=True)
class Place:
    source: Source
    enforced: bool

    def __str__(self) -> str:
        return f"{self.source}, AUTH" if self.enforced else self.source

    @property
    def emulator(self) -> str:
        """The name of the emulator. Each has a process of pytest to itself, so that two scenarios run at a time."""
        return "enforcing" if self.enforced else "plain"


ENFORCED, PROJECT_ENFORCED = Place("repository", enforced=True), Place("project", enforced=True)
PLAIN, PROJECT_PLAIN = Place("repository", enforced=False), Place("project", enforced=False)
EVERYWHERE = (ENFORCED, PROJECT_ENFORCED, PROJECT_PLAIN, PLAIN)


def on(*places: Place) -> pytest.MarkDecorator:
    """The tests of a module, or a test, run on the stacks at these places: the fixture `stack`."""
    return pytest.mark.parametrize("stack", places, indirect=True, ids=str)
