"""The sweep as a part of the chaos runs: every case, killed at every request; in the full run twice, and on moto."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from tests.chaos.corpus import CASES
from tests.chaos.report import Effort, Row
from tests.chaos.sweep.cancels import sweep_cancels
from tests.chaos.sweep.runs import Swept, sweep, sweep_pairs

_PAIRS_OF_A_CASE = 1200
_MOTO_SAMPLE = ("steps", "resumed", "nested children")
_MOTO_STRIDE = 7


def run(effort: Effort) -> Iterator[Row]:
    """Singles in memory, and a sample on moto; in full all singles on moto too, and pairs in memory."""
    with ProcessPoolExecutor(effort.cores, mp_context=multiprocessing.get_context("spawn")) as pool:

        def row(what: str, jobs: Iterable[Callable[[], Swept]]) -> Row:
            began = time.monotonic()
            swept = list(pool.map(_call, jobs))
            return _row(what, swept, time.monotonic() - began)

        names = list(CASES)
        yield row("killed at every request, memory", [partial(sweep, name, "memory") for name in names])
        yield row("cancelled at every request, memory", [partial(sweep_cancels, "memory")])
        if not effort.full:
            sample = [partial(sweep, name, "moto", stride=_MOTO_STRIDE) for name in _MOTO_SAMPLE]
            yield row("killed at a sample of requests, moto", sample)
            return
        pairs = partial(sweep_pairs, backend="memory", parts=effort.cores, most=_PAIRS_OF_A_CASE)
        jobs = [partial(pairs, name, part=part) for name in names for part in range(effort.cores)]
        yield row("killed at two requests, memory", jobs)
        share = partial(sweep_cancels, "memory", deaths=True, parts=effort.cores)
        yield row("cancelled and killed, memory", [partial(share, part=part) for part in range(effort.cores)])
        yield row("cancelled at every request, moto", [partial(sweep_cancels, "moto")])
        yield row("killed at every request, moto", [partial(sweep, name, "moto") for name in names])


def _call(job: Callable[[], Swept]) -> Swept:
    return job()


def _row(what: str, swept: Sequence[Swept], seconds: float) -> Row:
    requests = sum({one.case: one.requests for one in swept}.values())
    cases = len({one.case for one in swept})
    return Row(
        part="sweep",
        what=what,
        runs=sum(one.runs for one in swept),
        seconds=seconds,
        note=f"{cases} workflows, {requests} requests",
        failures=[failure for one in swept for failure in one.failures],
    )
