"""The simulator itself: a seed is a run, exactly; the laws hold; known bugs are seen; a failing run becomes small."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.chaos.sim.hunt import hunt
from tests.chaos.sim.mutants import MUTANTS
from tests.chaos.sim.shapes import SHAPES, plan_of
from tests.chaos.sim.shrink import report, shrink
from tests.chaos.sim.simulate import simulate

_QUICK = (
    "unconditional put", "parent told first", "copy taken for a wake", "order not kept", "cancel over completed",
    "slot released twice", "trigger id from time", "retries in memory", "payload after its record", "limit not armed",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level("CRITICAL", logger="polos"):
        yield


@pytest.mark.parametrize("shape", SHAPES)
def test_the_laws_hold_under_faults(shape: str) -> None:
    for seed in range(4):
        outcome = simulate(seed, shape=shape)
        assert outcome.violations == [], report(shrink(outcome))


def test_every_mutant_is_of_something_that_is_there() -> None:
    """A part that was renamed would be seen as late as the hunt begins, which is the last of a run."""
    for mutant in MUTANTS:
        with mutant.in_force():
            pass


@given(drawn=st.randoms(use_true_random=False), seed=st.integers(0, 1 << 30))
@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_the_laws_hold_for_workloads_that_hypothesis_generates(drawn: random.Random, seed: int) -> None:
    assert simulate(seed, plan=plan_of(drawn)).violations == []


def test_a_seed_is_the_same_run_every_time() -> None:
    for seed in range(20):
        assert simulate(seed, trace=True).lines == simulate(seed, trace=True).lines


@pytest.mark.process
def test_a_seed_is_the_same_run_in_another_process() -> None:
    """Whatever its strings hash to."""
    shown = [
        subprocess.run(
            [sys.executable, "-m", "tests.chaos.sim", "7"],
            env={**os.environ, "PYTHONHASHSEED": salt},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for salt in ("1", "2")
    ]
    assert shown[0] == shown[1]
    assert "every law holds" in shown[0]


@pytest.mark.parametrize("name", _QUICK)
def test_a_known_bug_is_seen(name: str) -> None:
    """The others take longer; `make chaos-quick` hunts all of them."""
    (index,) = [index for index, mutant in enumerate(MUTANTS) if mutant.name == name]
    found = hunt(index, budget=200)
    assert found is not None
    assert "TypeError" not in found[1].violations[0]


def test_a_failing_run_is_shrunk_to_a_readable_trace() -> None:
    (index,) = [index for index, mutant in enumerate(MUTANTS) if mutant.name == "timer not re-armed"]
    found = hunt(index, budget=1000)
    assert found is not None
    with MUTANTS[index].in_force():
        small = shrink(found[1])
    text = report(small)
    assert "is lost" in text
    assert len(small.struck) <= len(found[1].struck)
    assert len(small.lines) <= 30, text
    assert "   1 " in text
