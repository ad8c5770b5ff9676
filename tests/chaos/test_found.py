"""What the simulator found, each as the smallest workload that shows it."""

from __future__ import annotations

import random

from tests.chaos.sim import faults
from tests.chaos.sim.programs import Act, Op, Plan, Root
from tests.chaos.sim.shapes import plan_of
from tests.chaos.sim.simulate import simulate


def test_a_paused_turn_whose_next_attempt_is_due_does_not_spin() -> None:
    """It waits for the step that still runs; it had asked at once, again and again, whether the attempt may begin."""
    program = (
        Op("gather", parts=((Op("step", "s1", seconds=8.0, fails=1, delay=10.0),), (Op("step", "s2", seconds=40.0),))),
    )
    acts = (Act("pause", 1.0, "x0"), Act("unpause", 100.0, "x0"))
    outcome = simulate(1, plan=Plan("pause", (Root("x0", "sim-main", program),), acts), faults=False)
    assert outcome.violations == []
    assert outcome.events < 400


def test_a_turn_near_its_limit_whose_next_attempt_is_due_does_not_spin() -> None:
    program = (Op("gather", parts=((Op("step", "s1", fails=1, delay=11.0),), (Op("step", "s2", seconds=14.0),))),)
    plan = Plan("limit", (Root("x0", "sim-main", program),))
    outcome = simulate(1, plan=plan, faults=False, invocation_seconds=20.0)
    assert outcome.violations == []
    assert outcome.events < 400


def test_two_that_never_fit_into_an_invocation_do_not_pass_a_slot_to_and_fro_for_ever() -> None:
    """Waiting in line between two cut-off attempts counted as progress, so that neither was ever a crash loop."""
    step = Op("step", "s1", seconds=47.0)
    roots = tuple(Root(f"x{n}", "sim-main", (step,), 0.0, (("queue", "q1"),)) for n in range(2))
    outcome = simulate(1, plan=Plan("slots", roots), faults=False, invocation_seconds=25.0)
    assert outcome.violations == []
    assert outcome.invocations < 60


def test_a_late_message_for_the_first_of_a_chain_does_not_start_its_last_link() -> None:
    """The first leads to it by then; it would begin with a payload of long ago, and end as its own next."""
    program = (Op("again", fails=2), Op("wait", "w1", seconds=31.0))
    acts = tuple(Act("cancel", at, "x0") for at in (0.2, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0))
    plan = Plan("chain", (Root("x0", "sim-main", program),), acts)
    for seed in range(60):
        assert simulate(seed, plan=plan, faults=False).violations == []
    assert simulate(30264, shape="chain").violations == []


def test_a_further_attempt_of_a_step_binds_no_order() -> None:
    """The body asked for it before it was handed anything: the order, of which nothing follows, may change later."""
    parts = (
        (Op("step", "s1"),),
        (Op("spawn", "c1", parts=((),)),),
        (Op("step", "s2", fails=1, delay=0.1, once=True),),
        (Op("step", "s3", seconds=0.5, fails=1, delay=0.1, once=True),),
    )
    plan = Plan("once", (Root("x0", "sim-main", (Op("gather", parts=parts),)),))
    for seed in range(20):
        assert simulate(seed, plan=plan, faults=False).violations == []


def test_a_cancel_may_strike_before_what_only_a_failed_run_of_the_body_was_handed() -> None:
    parts = (
        (Op("try", parts=((Op("step", "s1", seconds=0.1),), (Op("step", "s2", seconds=0.5),))),),
        (Op("boom", fails=1),),
        (Op("step", "s3", seconds=40.0),),
    )
    root = Root("x0", "sim-main", (Op("gather", parts=parts),))
    for seed in range(30):
        plan = Plan("mixed", (root,), (Act("cancel", 1.0 + 0.1 * seed, "x0"),))
        assert simulate(seed, plan=plan, faults=False).violations == []


def test_who_wins_a_race_may_be_cancelled_in_it_if_its_owner_died_before_the_order_was_written() -> None:
    racers = tuple((Op("step", key, seconds=0.5),) for key in ("s2", "s3", "s4"))
    program = (Op("try", parts=((Op("step", "s1", seconds=40.0),), (Op("first", parts=racers),))),)
    plan = Plan("mixed", (Root("x0", "sim-main", program),), (Act("cancel", 3.1, "x0"),))
    assert simulate(141, plan=plan).violations == []


def test_what_waits_for_a_kept_letter_goes_on_when_a_person_sends_it_back() -> None:
    """A child has ended, and the message that would have it tell its parent was given up as often as can be."""
    root = Root("x0", "sim-main", (Op("child", "c1", parts=((),)),))
    plan = Plan("letters", (root,), receives=1, strikes=(("send wake", faults.THROTTLED),))
    for seed in range(60):
        assert simulate(seed, plan=plan).violations == []


def test_a_run_whose_end_takes_months_is_swept_until_it_is_over() -> None:
    """Each suspend is resumed ten days later; the sweep went by whether anything else was still to happen."""
    program = tuple(Op("suspend", f"u{number}") for number in range(9))
    plan = Plan("expiry", (Root("x0", "sim-main", program),), horizon=74 * 86_400.0)
    assert simulate(1, plan=plan, faults=False).violations == []


def test_a_collector_that_is_left_with_a_batch_whose_events_are_all_gone_is_no_loss() -> None:
    """Its owner was throttled before it advanced; a stalled one found nothing left, and its message's work done."""
    draw = random.Random(3123733)
    draw.choice(range(35))  # the kind of workload, when there were so many
    assert simulate(3123733, plan=plan_of(draw, "triggers")).violations == []
