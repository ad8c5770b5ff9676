"""What the lane measured: a line for each scenario."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import astuple, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.emulator.stack import Stack


@dataclass(frozen=True)
class Line:
    """`died` are invocations that ended in an error of the function: its process died, or ran out of time."""

    scenario: str
    place: str
    invocations: int
    died: int
    requests: int
    seconds: float

    def plain(self) -> tuple[Any, ...]:
        return astuple(self)

    @classmethod
    def of(cls, plain: tuple[Any, ...]) -> Line:
        return cls(*plain)


@dataclass
class Lap:
    """The time of a scenario where it is not that of the block: one that began in the background."""

    seconds: float | None = None


@dataclass
class Measured:
    lines: list[Line] = field(default_factory=list[Line])

    @contextlib.contextmanager
    def timed(self, name: str, place: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.lines.append(Line(name, place, 0, 0, 0, time.monotonic() - began))

    @contextlib.contextmanager
    def scenario(self, stack: Stack, name: str, *, since: int | None = None, tag: str = "") -> Iterator[Lap]:
        """Count what happens to a stack inside. What has another scenario's tag, as the background has, is not its."""
        emulator = stack.emulator
        position = len(emulator.entries()) if since is None else since
        began = time.monotonic()
        lap = Lap()
        yield lap
        seconds = time.monotonic() - began if lap.seconds is None else lap.seconds
        entries = [one for one in emulator.entries(position) if one["tag"] == tag and one["stack"] in ("", stack.name)]
        died = [bool(entry["failed"]) for entry in entries if entry["kind"] == "invocation"]
        requests = sum(entry["kind"] == "request" for entry in entries)
        self.lines.append(Line(name, str(stack.place), len(died), sum(died), requests, seconds))

    def report(self) -> Iterator[str]:
        width = max(len(line.scenario) for line in self.lines)
        place = max(len(line.place) for line in self.lines)
        yield f"{'scenario':{width}}  {'of':{place}}  invocations  died  requests  seconds"
        for line in sorted(self.lines, key=lambda line: line.place):
            yield (
                f"{line.scenario:{width}}  {line.place:{place}}  {line.invocations:11}  {line.died or '':>4}  "
                f"{line.requests:8}  {line.seconds:7.1f}"
            )
