"""Runs of one case: calm, killed once at each request, killed twice."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from polos.testing import Environment, Fault, Faults, Kill
from tests.chaos.corpus import CASES, Case
from tests.chaos.sweep.observed import Observed, differences, observe

Backend = Literal["memory", "moto"]


@dataclass(frozen=True)
class Ended:
    """One run. `requests` is how many its invocations made."""

    observed: Observed
    requests: int
    unstruck: Sequence[Fault]
    trace: str


async def run(case: Case, backend: Backend, *faults: Fault, traced: bool = False) -> Ended:
    """Drive a case to its end, and until nothing moves any more."""
    outside, program = case.program()
    async with Environment(backend, workflows=program.workflows, faults=Faults(*faults)) as env:
        outside.begin(env)
        if not traced:
            env.leave_no_trace()
        result = await program.drive(env)
        await env.advance(days=360)
        observed = observe(env, outside, result)
        return Ended(observed, env.request_count, env.unstruck, str(env.trace) if traced else "")


def kill(at: int, *, late: bool) -> Kill:
    """Death at a request of the run, counted from 1."""
    return Kill(after="", nth=at) if late else Kill(before="", nth=at)


def singles(requests: int) -> Iterator[tuple[Kill, ...]]:
    for at in range(1, requests + 1):
        yield (kill(at, late=False),)
        yield (kill(at, late=True),)


@dataclass(frozen=True)
class Swept:
    """What came out of the runs of one case."""

    case: str
    runs: int
    requests: int
    failures: tuple[str, ...]


def sweep(name: str, backend: Backend, *, stride: int = 1) -> Swept:
    """Kill a case at every request (every `stride`th), before and after it."""
    return asyncio.run(_sweep(CASES[name], backend, stride))


async def _sweep(case: Case, backend: Backend, stride: int) -> Swept:
    calm = await run(case, backend)
    failures = [f"{case.name}, undisturbed: {one}" for one in calm.observed.wrong]
    count = 0
    for faults in list(singles(calm.requests))[::stride]:
        count += 1
        failures += await _compare(case, backend, calm, faults)
    return Swept(case.name, count + 1, calm.requests, tuple(failures))


def sweep_pairs(name: str, backend: Backend, *, part: int, parts: int, most: int) -> Swept:
    """Kill a case twice, at all pairs of requests (or `most` of them, evenly spread); one of `parts` parts of it."""
    return asyncio.run(_sweep_pairs(CASES[name], backend, part, parts, most))


def pairs(requests: int) -> Iterator[tuple[Kill, ...]]:
    """The second death comes up to ten requests after where the calm run ended: the first makes a run longer."""
    for first in range(1, requests + 1):
        for late in (False, True):
            for second in range(first + 1, requests + 11):
                yield (kill(first, late=late), kill(second, late=False))
                yield (kill(first, late=late), kill(second, late=True))


async def _sweep_pairs(case: Case, backend: Backend, part: int, parts: int, most: int) -> Swept:
    calm = await run(case, backend)
    every: Sequence[tuple[Kill, ...]] = list(pairs(calm.requests))
    stride = max(1, -(-len(every) // most))
    chosen: Iterable[tuple[Kill, ...]] = every[::stride][part::parts]
    failures: list[str] = []
    count = 0
    for faults in chosen:
        count += 1
        failures += await _compare(case, backend, calm, faults)
    return Swept(case.name, count, calm.requests, tuple(failures))


async def _compare(case: Case, backend: Backend, calm: Ended, faults: tuple[Kill, ...]) -> list[str]:
    try:
        seen = await run(case, backend, *faults)
    except Exception as error:  # noqa: BLE001 - a run that can't end is a finding like any other
        return [f"{case.name} on {backend}, {_told(faults)}: {type(error).__name__}: {error}"]
    found = differences(case, calm.observed, seen.observed, len(faults))
    return [f"{case.name} on {backend}, {_told(faults)}: {'; '.join(found)}"] if found else []


def _told(faults: tuple[Kill, ...]) -> str:
    return " and ".join(f"killed {'after' if one.late else 'before'} request {one.nth}" for one in faults)
