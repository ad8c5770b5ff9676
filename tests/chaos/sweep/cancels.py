"""A cancel that comes at every request that a run makes, alone or with a death on top of it.

The case is one that undoes what it did. Where a cancel strikes cannot be compared with a calm run; what must hold is
this: the run ends, completed or cancelled, and so do its children; each thing that was done in a run that was
cancelled was undone; nothing was undone in one that completed; nothing is left behind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import polos
from polos.client import Polos
from polos.testing import Fault, Kill, Meanwhile
from tests.chaos.corpus import CASES
from tests.chaos.sweep.observed import Observed
from tests.chaos.sweep.runs import Backend, Ended, Swept, kill, run

CASE = "cancelled anywhere"
DONE = ("reserve", "charge", "pack")


async def _cancel(client: Polos) -> None:
    try:
        await client.cancel_execution("run")
    except polos.ExecutionStateError:
        return  # it has ended
    except polos.ExecutionNotFoundError:
        return  # its start has not been handled, and its client has not written it yet


def cancel(at: int, *, late: bool) -> Meanwhile:
    """A cancel at a request of the run, counted from 1."""
    return Meanwhile(do=_cancel, after="", nth=at) if late else Meanwhile(do=_cancel, before="", nth=at)


def cancels(requests: int, stride: int) -> Iterator[tuple[Fault, ...]]:
    for at in range(1, requests + 1, stride):
        yield (cancel(at, late=False),)
    yield (cancel(requests, late=True),)


def cancels_and_deaths(requests: int, part: int, parts: int, stride: int) -> Iterator[tuple[Fault, ...]]:
    """The death comes at up to ten requests after where the calm run ended: a cleanup makes a run longer."""
    both = [(at, death) for at in range(1, requests + 1) for death in range(1, requests + 11)]
    for at, death in both[part::parts][::stride]:
        yield (cancel(at, late=False), kill(death, late=False))
        yield (cancel(at, late=False), kill(death, late=True))


def sweep_cancels(backend: Backend, *, deaths: bool = False, part: int = 0, parts: int = 1, stride: int = 1) -> Swept:
    """Cancel the case at every request (every `stride`th); with `deaths`, and kill it at every request, too."""
    return asyncio.run(_sweep(backend, deaths, part, parts, stride))


async def _sweep(backend: Backend, deaths: bool, part: int, parts: int, stride: int) -> Swept:
    case = CASES[CASE]
    calm = await run(case, backend)
    chosen = cancels_and_deaths(calm.requests, part, parts, stride) if deaths else cancels(calm.requests, stride)
    failures: list[str] = []
    struck: set[str] = set()
    count = 0
    for faults in chosen:
        count += 1
        try:
            seen = await run(case, backend, *faults)
        except Exception as error:  # noqa: BLE001 - a run that can't end is a finding like any other
            found = [f"{type(error).__name__}: {error}"]
        else:
            struck.add(seen.observed.statuses.get("run", "gone"))
            found = wrong(seen)
        if found:
            failures.append(f"{CASE} on {backend}, {_told(faults)}: {'; '.join(found)}")
    if not deaths and struck != {"cancelled", "completed"}:
        failures.append(f"{CASE} on {backend}: the runs ended as {sorted(struck)}, which tests nothing")
    return Swept(f"{CASE}, cancelled", count, calm.requests, tuple(failures))


def wrong(ended: Ended) -> list[str]:
    """What does not hold in a run of the case."""
    seen = ended.observed
    status = seen.statuses.get("run")
    found = list(seen.wrong)
    if status not in ("completed", "cancelled"):
        found.append(f"the run is {status}")
    undone = [name for name in DONE if _recorded(seen, f"undo {name}")]
    done = [name for name in DONE if _recorded(seen, name)]
    if status == "completed" and (undone or done != list(DONE)):
        found.append(f"it has completed, did {done} and undid {undone}")
    if status == "cancelled" and not set(done) <= set(undone):  # what was only about to be done is undone, too
        found.append(f"it was cancelled, did {done} and undid {undone}")
    return found


def _recorded(seen: Observed, key: str) -> bool:
    return f"run r#{key}" in seen.records


def _told(faults: tuple[Fault, ...]) -> str:
    return " and ".join(
        f"{'killed' if isinstance(one, Kill) else 'cancelled'} {'after' if one.late else 'before'} request {one.nth}"
        for one in faults
    )
