"""The stacks of the lane. Each is deployed when a scenario first needs it, and what takes time is begun then."""

from __future__ import annotations

from pathlib import Path

import pytest

from polos import Polos, schedules
from tests.emulator.background import Background
from tests.emulator.driving import drive
from tests.emulator.packages import FIRST, Packages
from tests.emulator.places import ENFORCED, Place
from tests.emulator.server import Emulator
from tests.emulator.stack import ARTIFACTS, Stack, administrator, laptop
from tests.emulator.table import Measured


class Deployments:
    def __init__(self, workplace: Path, packages: Packages, measured: Measured) -> None:
        self.packages = packages
        self._workplace, self._measured = workplace, measured
        self._emulators: dict[str, Emulator] = {}
        self._stacks: dict[Place, Stack] = {}
        self._background: Background | None = None

    @property
    def background(self) -> Background:
        """What takes minutes, begun before everything else on the repository's stack."""
        assert self._background is not None, "it begins with the deployment"
        return self._background

    def at(self, place: Place) -> Stack:
        if place not in self._stacks:
            self._stacks[place] = self._deployed(place)
        return self._stacks[place]

    def end(self) -> None:
        if self._background is not None:
            self._background.end()
        for emulator in self._emulators.values():
            emulator.stop()

    def _deployed(self, place: Place) -> Stack:
        package = self.packages.built(place.source, FIRST)
        stack = Stack(self._emulator(place), place, self._workplace)
        with self._measured.scenario(stack, "sam deploy"):
            stack.deploy(package)
        if place.enforced:
            stack.credentials = laptop(stack)
        with pytest.MonkeyPatch.context() as monkeypatch:
            for name, value in stack.credentials.items():
                monkeypatch.setenv(name, value)
            if place == ENFORCED:
                self._background = Background(stack, self._workplace / "background")
                self._background.begin()
            drive(stack, _tick)
        return stack

    def _emulator(self, place: Place) -> Emulator:
        if place.emulator not in self._emulators:
            made = Emulator(self._workplace / f"{place.emulator}.log", auth=place.enforced)
            self._emulators[place.emulator] = made
            made.start()
            administrator(made, "s3").create_bucket(Bucket=ARTIFACTS)
        return self._emulators[place.emulator]


async def _tick(polos: Polos) -> None:
    """A tick comes with the minute: the scenario that wants one looks when others have had their turn."""
    import lane

    await schedules.create(polos, lane.each_minute, "* * * * *")
