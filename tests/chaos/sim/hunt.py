"""The part `mutants` of a chaos run: every deliberate bug, and the number of seeds until the simulator sees it."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterable

from tests.chaos.report import Effort, Row
from tests.chaos.sim.mutants import MUTANTS
from tests.chaos.sim.seeds import be_quiet
from tests.chaos.sim.simulate import Outcome, simulate

BUDGET = 4000
_NO_LAW = "raised TypeError"
"""A mutant that does not fit what it stands for breaks nothing but itself."""


def run(effort: Effort) -> Iterable[Row]:
    """One row a mutant. One that is not seen within 4,000 seeds is a failure of the simulator."""
    with multiprocessing.Pool(effort.cores, be_quiet) as pool:
        for name, seeds, seconds, law in pool.imap(_hunted, range(len(MUTANTS))):
            failures = [] if law else [f"the simulator has not seen this bug in {BUDGET:,} seeds"]
            failures += [f"the mutant does not fit what it replaces: {law}"] if _NO_LAW in law else []
            yield Row("mutants", name, seeds, seconds, f"seen: {law}" if law else "not seen", failures)


def _hunted(index: int) -> tuple[str, int, float, str]:
    mutant, began = MUTANTS[index], time.perf_counter()
    found = hunt(index)
    seeds = BUDGET if found is None else found[0]
    law = "" if found is None else found[1].violations[0][:70]
    return mutant.name, seeds, time.perf_counter() - began, law


def hunt(index: int, budget: int = BUDGET) -> tuple[int, Outcome] | None:
    """How many seeds it took, and the run in which it was seen."""
    mutant = MUTANTS[index]
    with mutant.in_force():
        for number in range(budget):
            outcome = simulate(number, shape=mutant.shapes[number % len(mutant.shapes)])
            if outcome.violations:
                return number + 1, outcome
    return None
