"""The part `simulation` of a chaos run: so many seeds, on every core, each a workload with its faults and its laws."""

from __future__ import annotations

import logging
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from tests.chaos.report import Effort, Row
from tests.chaos.sim.programs import Op, Plan, Root
from tests.chaos.sim.shapes import SHAPES
from tests.chaos.sim.shrink import report, shrink
from tests.chaos.sim.simulate import simulate

_CHUNK = 250
_CHUNKS_OF_A_PROCESS = 8
"""A run leaves some 30 KB behind, in greenlets that nothing collects: so a process is replaced after so many chunks."""

_SHRUNK = 5


_SMALL: Final = Plan("small", (Root("x0", "sim-main", (Op("step", "s1"),)),))
_SMALL_SEEDS: Final = 2000


@dataclass(frozen=True)
class Tally:
    """What a chunk of seeds came to. `seconds` are those of the CPU: others may use the machine, too."""

    seeds: int
    seconds: float
    requests: int
    invocations: int
    faults: int
    failures: list[int]


def run(effort: Effort) -> Iterable[Row]:
    """20,000 seeds; in the full run 500,000, or as many as fit into 15 minutes. CHAOS_SEED says where they begin.

    Then a small workflow, of one step, under the faults of 2,000 seeds: how fast the simulator is at its fastest.
    """
    first = int(os.environ.get("CHAOS_SEED", "1000000" if effort.full else "0"))
    wanted, limit = (500_000, 900.0) if effort.full else (20_000, 3600.0)
    what = f"seeds {first:,} and up, {len(SHAPES)} kinds of workload"
    yield _row(effort, what, tally_of, first, wanted, limit, _described)
    yield _row(effort, "a workflow of one step", tally_of_small, first, _SMALL_SEEDS, limit, _described_small)


def _row(
    effort: Effort,
    what: str,
    run_chunk: Callable[[tuple[int, int]], Tally],
    first: int,
    wanted: int,
    limit: float,
    describe: Callable[[int, int], str],
) -> Row:
    chunks = [(lo, min(lo + _CHUNK, first + wanted)) for lo in range(first, first + wanted, _CHUNK)]
    began, tallies = time.perf_counter(), list[Tally]()
    with multiprocessing.Pool(effort.cores, be_quiet, maxtasksperchild=_CHUNKS_OF_A_PROCESS) as pool:
        for tally in pool.imap_unordered(run_chunk, chunks):
            tallies.append(tally)
            if time.perf_counter() - began > limit:
                break
    seconds = time.perf_counter() - began
    seeds, burnt = sum(one.seeds for one in tallies), sum(one.seconds for one in tallies)
    failed = sorted(seed for one in tallies for seed in one.failures)
    requests, faults = sum(one.requests for one in tallies), sum(one.faults for one in tallies)
    invocations = sum(one.invocations for one in tallies)
    note = f"{seeds / burnt:.0f} seeds/s of CPU; {requests:,} requests, {invocations:,} invocations, {faults:,} faults"
    return Row("simulation", what, seeds, seconds, note, [describe(*one) for one in enumerate(failed)])


def _described(number: int, seed: int) -> str:
    if number >= _SHRUNK:
        return f"seed {seed}"
    return report(shrink(simulate(seed)))


def _described_small(_: int, seed: int) -> str:
    return report(shrink(simulate(seed, plan=_SMALL)))


def tally_of(bounds: tuple[int, int], plan: Plan | None = None) -> Tally:
    """Run the seeds from the first up to the second."""
    requests = invocations = faults = 0
    failures: list[int] = []
    began = time.process_time()
    for seed in range(*bounds):
        outcome = simulate(seed, plan=plan)
        requests += outcome.requests
        invocations += outcome.invocations
        faults += len(outcome.struck)
        if outcome.violations:
            failures.append(seed)
    return Tally(bounds[1] - bounds[0], time.process_time() - began, requests, invocations, faults, failures)


def tally_of_small(bounds: tuple[int, int]) -> Tally:
    """The same with the small workflow."""
    return tally_of(bounds, _SMALL)


def be_quiet() -> None:
    """Bodies that fail are the workload, and nothing to tell about."""
    logging.getLogger("polos").setLevel(logging.CRITICAL)
