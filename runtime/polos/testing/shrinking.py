"""A failing run with many faults, made as small as it gets: the few faults that are enough, and the trace with them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

from polos.errors import UsageError
from polos.testing.faults import Fault, Faults

if TYPE_CHECKING:
    from polos.testing.environment import Environment

Test = Callable[[Faults], Awaitable[object]]
opened: ContextVar[list[Environment] | None] = ContextVar("opened", default=None)


@dataclass(frozen=True)
class Shrunk:
    """The smallest run that was found to fail: `faults` make it fail with `error`; `trace` is what happened.

    Its text is the whole report. `runs` is how often the test was run.
    """

    faults: Faults
    error: BaseException
    trace: str
    runs: int

    def __str__(self) -> str:
        said = f"{type(self.error).__name__}: {self.error}"
        faults = "".join(f"\n    {fault!r}," for fault in self.faults.given)
        shown = f"Faults({faults}\n)" if faults else "Faults()"
        return f"Fails with {said}\n\nafter {self.runs} runs these faults are enough:\n\n{shown}\n\n{self.trace}"


@dataclass(frozen=True)
class _Run:
    error: Exception
    struck: Sequence[Fault]
    trace: str


async def shrink(test: Test, faults: Faults) -> Shrunk:
    """Run a test that fails with these faults again and again, with ever fewer of them, until none can be left out.

    `test` is an async function that takes the `Faults`, opens one `Environment` with them, and raises if something is
    wrong. It is run at most once for each fault that can be left out, again after each that could. Raises `UsageError`
    if it does not fail.
    """
    run = await _run(test, faults)
    if run is None:
        raise UsageError(f"The test does not fail with {faults!r}: there is nothing to shrink.")
    runs, smallest = 1, faults
    again = await _run(test, Faults(*run.struck)) if run.struck or faults.seed is not None else None
    if again is not None:
        runs, run, smallest = runs + 1, again, Faults(*again.struck)
    position = 0
    while position < len(smallest.given):
        fewer = Faults(*smallest.given[:position], *smallest.given[position + 1 :])
        again = await _run(test, fewer)
        runs += 1
        if again is None:
            position += 1
        else:
            run, smallest = again, fewer
    return Shrunk(smallest, run.error, run.trace, runs)


async def _run(test: Test, faults: Faults) -> _Run | None:
    """What a failing run has come to; None: it does not fail."""
    environments: list[Environment] = []
    token = opened.set(environments)
    try:
        await test(faults)
    except Exception as error:
        used = [one for one in environments if one.faults is faults]
        if not used:
            raise UsageError("The test opened no Environment(faults=...) with the faults that it was given.") from error
        return _Run(error, used[0].struck, str(used[0].trace))
    finally:
        opened.reset(token)
    return None
