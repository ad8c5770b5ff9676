"""The sweep itself: it finds nothing in a few cases of the corpus, and it finds a bug that was planted."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from polos.core.history import History
from polos.engine import steps
from tests.chaos.corpus import CASES
from tests.chaos.sim.mutants import MUTANTS
from tests.chaos.sweep.cancels import sweep_cancels
from tests.chaos.sweep.observed import Observed, differences
from tests.chaos.sweep.runs import run, sweep


@pytest.fixture(autouse=True)
def quiet() -> Any:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def test_l11_a_run_that_dies_at_any_request_ends_as_if_it_had_not() -> None:
    swept = sweep("steps", "memory")
    assert swept.failures == ()
    assert swept.runs == 2 * swept.requests + 1


@pytest.mark.parametrize("name", ["paused workflow", "native events", "overlapping ticks"])
def test_l11_what_comes_from_outside_survives_any_death(name: str) -> None:
    assert sweep(name, "memory").failures == ()


def test_4_a_cancel_at_any_request_undoes_what_was_done() -> None:
    assert sweep_cancels("memory").failures == ()


@pytest.mark.parametrize(
    ("mutant", "case", "said"),
    [
        ("fan-in only if new", "batch", "still waiting"),
        ("once without a mark", "at most once", "happened 2 times"),
        ("limit not armed", "time limit", "instead of"),
    ],
)
def test_a_planted_bug_of_the_protocol_is_found(mutant: str, case: str, said: str) -> None:
    (planted,) = [one for one in MUTANTS if one.name == mutant]
    with planted.in_force():
        swept = sweep(case, "memory")
    assert any(said in failure for failure in swept.failures)


def test_a_planted_second_run_of_a_recorded_step_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    decided = History.decided
    monkeypatch.setattr(History, "decided", lambda self, key: None if key == "first" else decided(self, key))
    assert any("ran after it was recorded" in failure for failure in sweep("steps", "memory").failures)


def test_a_planted_message_that_is_deleted_before_its_work_is_done_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from polos.local import worker as local

    handle = local.handle

    def delete_first(backend: Any, worker: Any, received: Any, remaining: Any) -> Any:
        backend.inbox.delete(received.row)
        return handle(backend, worker, received, remaining)

    monkeypatch.setattr("polos.testing.memory_harness.handle", delete_first)
    assert any("still running" in failure for failure in sweep("steps", "memory").failures)


def test_a_planted_key_that_changes_between_attempts_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = iter(range(1_000_000))
    monkeypatch.setattr(steps, "idempotency_key", lambda *_: f"key {next(counted)}")
    assert any("idempotency keys" in failure for failure in sweep("durable backoff", "memory").failures)


def compared(**changes: Any) -> list[str]:
    """What is found where a run differs so from the calm one."""
    calm = asyncio.run(run(CASES["steps"], "memory")).observed
    seen = Observed(**{**vars(calm), **changes})
    return differences(CASES["steps"], calm, seen, 1)


def test_the_comparison_sees_results_records_effects_and_keys() -> None:
    assert compared() == []
    assert "the result is" in compared(result=1)[0]
    assert "record of run r#first" in compared(records={})[1]
    assert "status of run" in compared(statuses={"run": "failed"})[0]
    assert "happened 0 times" in compared(effects={})[0]
    assert "happened 3 times" in compared(effects={"run: first": 3, "run: place": 1, "run: days": 1})[0]
    assert "instead of" in compared(keys={"run: first": ["other"]})[0]
