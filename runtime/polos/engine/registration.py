"""What the code declares and a backend must be told once a deployment: schedules, rules, and making the backend agree.

A change that fails half way is put back as far as the backend lets us; what is left is a difference that the next
registration finds and mends, for it compares with what is there and not with what it did. Laws: L10.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from polos.engine import native, schedules
from polos.ports import DefaultBus, PatternRule, Recurrences, Recurring
from polos.workflow import Workflow

_log = logging.getLogger("polos.engine")


@dataclass(frozen=True, slots=True)
class Declarations:
    """All that the workflows of an application declare. Survives the way through JSON."""

    schedules: tuple[Recurring, ...] = ()
    rules: tuple[PatternRule, ...] = ()

    @classmethod
    def of(cls, workflows: Iterable[Workflow[Any, Any]]) -> Declarations:
        every = list(workflows)
        return cls(tuple(schedules.declared(every)), tuple(native.declared(every)))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of_json(cls, found: Mapping[str, Any]) -> Declarations:
        return cls(
            tuple(Recurring(**one) for one in found["schedules"]), tuple(PatternRule(**one) for one in found["rules"])
        )


@dataclass(frozen=True, slots=True)
class Targets:
    """Where declarations go."""

    recurrences: Recurrences
    default_bus: DefaultBus


def register(targets: Targets, wanted: Declarations) -> None:
    """Make the backend what is declared: create, change, and remove what no longer is. Repeatable.

    What was made at run time stays. Raises what the backend raised, after an attempt to put everything back.
    """
    recurrences, bus = targets.recurrences, targets.default_bus
    schedules_before, rules_before = recurrences.list(), bus.list()
    try:
        schedules.reconcile(recurrences, wanted.schedules)
        native.reconcile(bus, wanted.rules)
    except BaseException:
        _log.warning("the declarations could not be registered; what was there before is put back")
        try:
            _put_schedules_back(recurrences, schedules_before)
            native.reconcile(bus, [one for one in rules_before if one.pattern])
        except Exception as error:  # noqa: BLE001 - the first error is what the caller must see
            _log.error("what was there before could not be put back: %s", error)
        raise


def _put_schedules_back(recurrences: Recurrences, before: Iterable[Recurring]) -> None:
    """Make the schedules what they were. One that was found broken stays broken, for nobody knows what it was."""
    wanted = {(one.workflow_id, one.key): one for one in before}
    there = {(one.workflow_id, one.key): one for one in recurrences.list()}
    for name, one in wanted.items():
        if there.get(name) != one and one.cron:
            recurrences.apply(one)
    for name in there.keys() - wanted.keys():
        recurrences.remove(*name)
