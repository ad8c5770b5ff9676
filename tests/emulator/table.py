"""What the lane measured: a line for each scenario."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.emulator.server import Emulator


@dataclass(frozen=True)
class Line:
    scenario: str
    invocations: int
    failed: int
    requests: int
    seconds: float


@dataclass
class Lap:
    """The time of a scenario where it is not that of the block: one that began in the background."""

    seconds: float | None = None


@dataclass
class Measured:
    lines: list[Line] = field(default_factory=list[Line])

    @contextlib.contextmanager
    def scenario(self, emulator: Emulator, name: str, *, since: int | None = None, tag: str = "") -> Iterator[Lap]:
        """Count what happens inside. What carries another scenario's tag, as those in the background do, is not its."""
        position = len(emulator.entries()) if since is None else since
        began = time.monotonic()
        lap = Lap()
        yield lap
        seconds = time.monotonic() - began if lap.seconds is None else lap.seconds
        own = [entry for entry in emulator.entries(position) if entry["tag"] == tag]
        invocations = [entry for entry in own if entry["kind"] == "invocation"]
        failed = sum(bool(entry["failed"]) for entry in invocations)
        requests = sum(entry["kind"] == "request" for entry in own)
        self.lines.append(Line(name, len(invocations), failed, requests, seconds))

    def report(self) -> Iterator[str]:
        width = max((len(line.scenario) for line in self.lines), default=8)
        yield f"{'scenario':{width}}  invocations  died  requests  seconds"
        for line in self.lines:
            died = line.failed or ""
            yield (
                f"{line.scenario:{width}}  {line.invocations:11}  {died!s:>4}  {line.requests:8}  {line.seconds:7.1f}"
            )
