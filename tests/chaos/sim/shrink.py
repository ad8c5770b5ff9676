"""Making a failing run small: fewer faults, fewer acts and executions, shorter programs, as long as it fails alike."""

from __future__ import annotations

import re

from tests.chaos.sim.programs import Plan
from tests.chaos.sim.simulate import Outcome, simulate

_TRIES = 600
_SHOWN = 200


def shrink(failed: Outcome) -> Outcome:
    """The smallest run found that breaks the same law, with its trace. At most 600 runs."""
    return _Shrinking(failed).smallest()


def report(small: Outcome) -> str:
    """A shrunk run for people: what it did, and the numbered lines of what happened."""
    program = [
        f"  {root.id} at {root.at:g} s: {list(root.program)} {dict(root.options) or ''}" for root in small.plan.roots
    ]
    acts = [f"  at {act.at:.1f} s: {act.kind} {act.target or act.topic} {act.step}" for act in small.plan.acts]
    head = f"seed {small.seed}, {small.plan.shape}: {small.violations[0]}"
    lines = small.lines
    if len(lines) > _SHOWN:
        lines = [*lines[: _SHOWN - 20], "  ...", *lines[-20:]]
    return "\n".join([head, *program, *acts, f"  faults that are needed: {len(small.struck)}", *lines])


class _Shrinking:
    def __init__(self, failed: Outcome) -> None:
        self._seed, self._law = failed.seed, _alike(failed)
        self._plan: Plan = failed.plan
        self._struck = failed.struck
        self._skip: set[int] = set()
        self._left = _TRIES

    def smallest(self) -> Outcome:
        while self._left > 0 and (self._fewer_faults() or self._less_to_do()):
            continue
        return self._run(self._plan, self._skip, trace=True)

    def _run(self, plan: Plan, skip: set[int], *, trace: bool = False) -> Outcome:
        self._left -= 1
        return simulate(self._seed, plan=plan, skip=skip, trace=trace)

    def _fewer_faults(self) -> bool:
        shrunk = False
        for number in reversed(self._struck):
            outcome = self._run(self._plan, self._skip | {number})
            if self._fails(outcome):
                self._skip, self._struck, shrunk = self._skip | {number}, outcome.struck, True
        return shrunk

    def _less_to_do(self) -> bool:
        for plan in self._plan.smaller():
            if self._left <= 0:
                return False
            outcome = self._run(plan, self._skip)
            if self._fails(outcome):
                self._plan, self._struck = plan, outcome.struck
                return True
        return False

    def _fails(self, outcome: Outcome) -> bool:
        return bool(outcome.violations) and _alike(outcome) == self._law


def _alike(outcome: Outcome) -> str:
    """What was broken, without names and numbers."""
    return " ".join(re.sub(r"[^a-z ]*\d[^ ]*|\{.*", "#", outcome.violations[0]).split()[:8])
