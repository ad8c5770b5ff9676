"""Rules on the account's default bus."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from typing import Any

import pytest
from botocore.exceptions import ClientError

from polos.aws.default_bus import EventBridgeDefaultBus, rule_name
from polos.aws.records import message_of
from polos.engine import native
from polos.errors import BackendError, InvalidPayloadError
from polos.ports import PatternRule
from polos.testing.moto_account import MotoAccount

S3 = PatternRule("uploads", native.rule_text({"source": ["aws.s3"]}))


@pytest.fixture
def bus(account: MotoAccount) -> EventBridgeDefaultBus:
    return EventBridgeDefaultBus(account.runtime, account.settings)


def _rules(account: MotoAccount) -> list[dict[str, Any]]:
    return list(account.aws.events.list_rules()["Rules"])


def test_a_rule_sends_the_event_with_its_workflow_into_the_queue_of_native_events(
    account: MotoAccount, bus: EventBridgeDefaultBus, requests: Counter[str]
) -> None:
    bus.apply(S3)
    assert requests == {"DescribeRule": 1, "PutRule": 2, "PutTargets": 1}

    (rule,) = _rules(account)
    assert rule["Name"] == rule_name(account.stack, "uploads")
    assert rule["Name"].startswith(f"{account.stack}-")
    assert (rule["State"], rule["EventBusName"], rule["EventPattern"]) == ("ENABLED", "default", S3.pattern)
    (target,) = account.aws.events.list_targets_by_rule(Rule=rule["Name"])["Targets"]
    assert target["Arn"] == account.settings.native_events_queue_arn == account.arn("NativeEventsQueue")
    assert target["DeadLetterConfig"]["Arn"] == account.settings.dead_letters_arn
    template = target["InputTransformer"]["InputTemplate"]
    sent = json.loads(template.replace("<aws.events.event.json>", '{"id": "e"}'))
    assert sent == {"t": "native", "wf": "uploads", "event": {"id": "e"}}


def test_what_broke_off_is_listed_as_different_and_is_made_anew(
    account: MotoAccount, bus: EventBridgeDefaultBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "LimitExceededException", "Message": "too many"}}, "PutTargets")

    with monkeypatch.context() as patch:
        patch.setattr(account.runtime.events, "put_targets", refuse)
        with pytest.raises(BackendError, match="LimitExceededException"):
            bus.apply(S3)
    assert bus.list() == [PatternRule("uploads", "")]
    native.reconcile(bus, [S3])
    assert bus.list() == [S3]

    with monkeypatch.context() as patch:
        patch.setattr(account.runtime.events, "remove_targets", refuse)
        with pytest.raises(BackendError):
            bus.remove("uploads")
    assert bus.list() == [PatternRule("uploads", "")]
    native.reconcile(bus, [S3])
    assert bus.list() == [S3]
    (rule,) = _rules(account)
    assert len(account.aws.events.list_targets_by_rule(Rule=rule["Name"])["Targets"]) == 1


def test_rules_of_others_are_left_alone(account: MotoAccount, bus: EventBridgeDefaultBus) -> None:
    events = account.aws.events
    other = dataclasses.replace(account.settings, stack=f"{account.stack}-two")
    EventBridgeDefaultBus(account.aws, other).apply(S3)
    events.put_rule(Name=f"{account.stack}-by-hand", EventPattern=S3.pattern)
    assert bus.list() == []
    native.reconcile(bus, [])
    assert len(_rules(account)) == 2


def test_many_rules_are_listed_page_by_page(bus: EventBridgeDefaultBus) -> None:
    wanted = [PatternRule(f"flow-{number}", S3.pattern) for number in range(60)]
    for one in wanted:
        bus.apply(one)
    assert {*bus.list()} == {*wanted}


def test_a_name_of_a_stack_that_is_too_long_is_said_before_anything_is_made(account: MotoAccount) -> None:
    settings = dataclasses.replace(account.settings, stack="s" * 40)
    with pytest.raises(BackendError, match="at most 39 characters"):
        EventBridgeDefaultBus(account.runtime, settings).apply(S3)
    assert _rules(account) == []
    assert len(rule_name("s" * 39, "w" * 128)) == 64


def test_the_bus_makes_ids_itself(bus: EventBridgeDefaultBus) -> None:
    with pytest.raises(InvalidPayloadError, match="leave event_id out"):
        bus.put("shop", "Sold", "{}", "mine")


def test_a_bare_event_from_another_rule_is_a_native_event() -> None:
    envelope = {"id": "e", "source": "aws.s3", "detail-type": "x", "time": "2030-01-01T00:00:00Z", "detail": {}}
    assert message_of(json.dumps(envelope), "events") == {"t": "native", "event": envelope}
    with pytest.raises(InvalidPayloadError, match="not handled here"):
        message_of(json.dumps(envelope), "work")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"id": ""}, "no id"),
        ({"id": 5}, "no id"),
        ({"detail": "text"}, "detail-type or its detail"),
        ({"detail-type": None}, "detail-type or its detail"),
        ({"time": "yesterday"}, "RFC 3339"),
        ({"time": 5}, "RFC 3339"),
        ({"time": "2030-01-01T00:00:00"}, "RFC 3339"),
        ({"source": ""}, "no source"),
        ({"source": 5}, "no source"),
    ],
)
def test_a_native_event_that_is_none_is_refused(change: dict[str, Any], said: str) -> None:
    envelope = {"id": "e", "source": "aws.s3", "detail-type": "x", "time": "2030-01-01T00:00:00Z", "detail": {}}
    with pytest.raises(InvalidPayloadError, match=said):
        native.NativeEvent.of_message({"event": {**envelope, **change}})
