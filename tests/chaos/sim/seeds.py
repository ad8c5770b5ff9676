"""The part `simulation` of a chaos run: so many seeds, on every core, each a workload with its faults and its laws."""

from __future__ import annotations

import logging
import multiprocessing
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass

from tests.chaos.report import Effort, Row
from tests.chaos.sim.shapes import SHAPES
from tests.chaos.sim.shrink import report, shrink
from tests.chaos.sim.simulate import simulate

_CHUNK = 250
_SHRUNK = 5


@dataclass(frozen=True)
class Tally:
    """What a chunk of seeds came to."""

    seeds: int
    requests: int
    invocations: int
    faults: int
    failures: list[int]


def run(effort: Effort) -> Iterable[Row]:
    """20,000 seeds; in the full run 500,000, or as many as fit into 15 minutes. CHAOS_SEED says where they begin."""
    first = int(os.environ.get("CHAOS_SEED", "1000000" if effort.full else "0"))
    wanted, limit = (500_000, 900.0) if effort.full else (20_000, 3600.0)
    chunks = [(lo, min(lo + _CHUNK, first + wanted)) for lo in range(first, first + wanted, _CHUNK)]
    began, tallies = time.perf_counter(), list[Tally]()
    with multiprocessing.Pool(effort.cores, be_quiet) as pool:
        for tally in pool.imap_unordered(tally_of, chunks):
            tallies.append(tally)
            if time.perf_counter() - began > limit:
                break
    seconds = time.perf_counter() - began
    seeds = sum(one.seeds for one in tallies)
    failed = sorted(seed for one in tallies for seed in one.failures)
    requests, faults = sum(one.requests for one in tallies), sum(one.faults for one in tallies)
    invocations = sum(one.invocations for one in tallies)
    yield Row(
        "simulation",
        f"seeds {first:,} and up, {len(SHAPES)} kinds of workload",
        seeds,
        seconds,
        f"{seeds / seconds / effort.cores:.0f} seeds/s a core; {requests:,} requests, {invocations:,} invocations, "
        f"{faults:,} faults",
        [_described(seed, number) for number, seed in enumerate(failed)],
    )


def _described(seed: int, number: int) -> str:
    if number >= _SHRUNK:
        return f"seed {seed}"
    return report(shrink(simulate(seed)))


def tally_of(bounds: tuple[int, int]) -> Tally:
    """Run the seeds from the first up to the second."""
    requests = invocations = faults = 0
    failures: list[int] = []
    for seed in range(*bounds):
        outcome = simulate(seed)
        requests += outcome.requests
        invocations += outcome.invocations
        faults += len(outcome.struck)
        if outcome.violations:
            failures.append(seed)
    return Tally(bounds[1] - bounds[0], requests, invocations, faults, failures)


def be_quiet() -> None:
    """Bodies that fail are the workload, and nothing to tell about."""
    logging.getLogger("polos").setLevel(logging.CRITICAL)
