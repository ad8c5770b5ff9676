"""The ways of messages in template.yaml: who sends, who takes, for how long a message stays away, where it ends."""

from __future__ import annotations

import fnmatch
from datetime import timedelta
from typing import Any

import pytest

from polos.aws.default_bus import EventBridgeDefaultBus, rule_name
from polos.aws.recurrences import SchedulerRecurrences
from polos.aws.timers import SchedulerTimers
from polos.engine import native
from polos.ports import PatternRule, Recurring
from polos.testing.moto_account import MotoAccount
from tests.aws.template import FUNCTIONS, QUEUES, RESOURCES, SOURCES, TEMPLATE, listed, named, of_type

RULES_OF_THE_CODE = "rules on the default bus"
FORTNIGHT = 14 * 86_400


def _value(value: Any, parameters: dict[str, int]) -> int:
    return parameters[value["Ref"]] if isinstance(value, dict) else int(value)


def _bounds(value: Any) -> tuple[int, int, int]:
    """The least, the default and the most that a number may be."""
    if not isinstance(value, dict):
        return value, value, value
    parameter = TEMPLATE["Parameters"][value["Ref"]]
    assert parameter["Type"] == "Number"
    return parameter["MinValue"], parameter["Default"], parameter["MaxValue"]


@pytest.mark.parametrize("timeout", [60, 900])
def test_the_visibility_of_a_queue_is_at_least_the_timeout_of_its_function(timeout: int) -> None:
    """Lambda refuses less ("Creating and configuring an Amazon SQS event source mapping")."""
    for function, event in SOURCES:
        queue = QUEUES[named(event["Queue"])]["Properties"]
        seconds = {"Timeout": timeout}
        assert _value(queue["VisibilityTimeout"], seconds) >= _value(function["Properties"]["Timeout"], seconds)


def test_every_source_reports_single_failures() -> None:
    for _, event in SOURCES:
        assert event["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


def test_every_source_takes_one_message_unless_asked_and_never_more_than_come_without_a_window() -> None:
    """More than ten need MaximumBatchingWindowInSeconds (Lambda API reference, "CreateEventSourceMapping")."""
    for _, event in SOURCES:
        least, default, most = _bounds(event["BatchSize"])
        assert (least, default) == (1, 1)
        assert most <= 10
        assert "MaximumBatchingWindowInSeconds" not in event


def test_the_concurrency_of_every_source_is_within_what_lambda_takes() -> None:
    for _, event in SOURCES:
        least, default, most = _bounds(event["ScalingConfig"]["MaximumConcurrency"])
        assert 2 <= least <= default <= most <= 1000


def test_the_default_concurrency_fits_into_an_account() -> None:
    """1,000 by default (Lambda Developer Guide, "Lambda quotas"), of which others want some, too."""
    assert sum(_bounds(event["ScalingConfig"]["MaximumConcurrency"])[1] for _, event in SOURCES) <= 500


def test_every_queue_gives_up_to_the_dead_letters_or_is_where_messages_end() -> None:
    ends = {name for name, one in QUEUES.items() if "RedrivePolicy" not in one["Properties"]}

    assert ends == {"DeadLetters", "KeptLetters"}
    for name in set(QUEUES) - ends:
        assert named(QUEUES[name]["Properties"]["RedrivePolicy"]["deadLetterTargetArn"]) == "DeadLetters"


def test_no_message_is_lost_by_being_received_or_by_moving_on() -> None:
    """The age of a message goes on in the dead-letter queue: one that keeps it for less would drop it at once."""
    for queue in QUEUES.values():
        assert queue["Properties"]["MessageRetentionPeriod"] == FORTNIGHT
        assert queue["Properties"].get("RedrivePolicy", {}).get("maxReceiveCount", 1000) >= 100


def test_every_queue_but_the_last_is_served() -> None:
    assert {named(event["Queue"]) for _, event in SOURCES} == set(QUEUES) - {"KeptLetters"}


def _allowed() -> set[tuple[str, str]]:
    """Which sender the resource policies let into which queue; fails for a statement that lets in anybody else."""
    found: set[tuple[str, str]] = set()
    for policy in of_type("AWS::SQS::QueuePolicy").values():
        of = {named(queue) for queue in policy["Properties"]["Queues"]}
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]:
            assert statement["Effect"] == "Allow"
            assert statement["Principal"] == {"Service": "events.amazonaws.com"}
            assert statement["Action"] == "sqs:SendMessage"
            ((operator, condition),) = statement["Condition"].items()
            ((key, source),) = condition.items()
            assert key == "aws:SourceArn"
            sender = named(source) if operator == "ArnEquals" else RULES_OF_THE_CODE
            if operator != "ArnEquals":
                assert (operator, _rules_like(source)) == ("ArnLike", "${AWS::StackName}-*")
            queues = {named(queue) for queue in listed(statement["Resource"])}
            assert queues <= of
            found |= {(queue, sender) for queue in queues}
    return found


def _rules_like(source: dict[str, str]) -> str:
    return source["Fn::Sub"].rpartition(":rule/")[2]


def test_queues_let_in_the_rules_that_send_to_them_and_nobody_else(account: MotoAccount) -> None:
    sending: set[tuple[str, str]] = set()
    for name, rule in of_type("AWS::Events::Rule").items():
        for target in rule["Properties"]["Targets"]:
            sending |= {(named(target["Arn"]), name), (named(target["DeadLetterConfig"]["Arn"]), name)}
    bus = EventBridgeDefaultBus(account.runtime, account.settings)
    bus.apply(PatternRule("uploads", native.rule_text({"source": ["aws.s3"]})))
    (made,) = account.aws.events.list_targets_by_rule(Rule=rule_name(account.stack, "uploads"))["Targets"]
    arns = {account.arn(name): name for name in QUEUES}
    sending |= {(arns[arn], RULES_OF_THE_CODE) for arn in (made["Arn"], made["DeadLetterConfig"]["Arn"])}

    assert _allowed() == sending


def test_the_names_of_rules_that_the_code_makes_are_those_that_are_let_in() -> None:
    pattern = "${AWS::StackName}-*".replace("${AWS::StackName}", "shop")

    assert fnmatch.fnmatchcase(rule_name("shop", "uploads"), pattern)
    assert not fnmatch.fnmatchcase(rule_name("shopping", "uploads"), pattern)


def test_scheduler_may_send_where_timers_and_schedules_of_the_code_send_and_nowhere_else(account: MotoAccount) -> None:
    due = account.clock.now() + timedelta(days=1)
    SchedulerTimers(account.runtime, account.settings).schedule("e#k", due, {"t": "wake"})
    SchedulerRecurrences(account.runtime, account.settings).apply(Recurring("report", "global", "0 8 * * *", "UTC"))
    sending: set[str] = set()
    scheduler = account.aws.scheduler
    for one in scheduler.list_schedules(GroupName=account.stack)["Schedules"]:
        target = scheduler.get_schedule(GroupName=account.stack, Name=one["Name"])["Target"]
        sending |= {target["Arn"], target["DeadLetterConfig"]["Arn"]}

    (policy,) = RESOURCES["SchedulerRole"]["Properties"]["Policies"]
    statement = next(one for one in policy["PolicyDocument"]["Statement"] if "Action" in one)
    assert statement["Action"] == "sqs:SendMessage"
    assert {account.arn(named(queue)) for queue in statement["Resource"]} == sending


def test_every_function_that_takes_messages_has_a_source_of_its_own() -> None:
    handlers = [function["Properties"]["Handler"] for function, _ in SOURCES]

    assert {handler.split(".")[1] for handler in handlers} == {"work", "events", "dead_letters"}
    assert len(FUNCTIONS) == len({one["Properties"]["Handler"] for one in FUNCTIONS.values()})
