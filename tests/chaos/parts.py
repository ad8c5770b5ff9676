"""The parts of a chaos run, in the order in which they run: name → module with `run(effort) -> Iterable[Row]`."""

from __future__ import annotations

from typing import Final

PARTS: Final[dict[str, str]] = {
    "sweep": "tests.chaos.sweep.part",
    "processes": "tests.chaos.processes.part",
    "simulation": "tests.chaos.sim.seeds",
    "mutants": "tests.chaos.sim.hunt",
}
