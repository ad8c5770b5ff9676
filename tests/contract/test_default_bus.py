"""The laws of the DefaultBus port: what is applied is listed, and gets the events that match until it is removed."""

from __future__ import annotations

from typing import Any

from polos.engine import native
from polos.engine.native import rule_text
from polos.ports import PatternRule
from tests.contract.backends import Side

S3 = PatternRule("flow", rule_text({"source": ["aws.s3"], "detail": {"size": [{"numeric": [">", 1]}]}}))
EC2 = PatternRule("other", rule_text({"source": ["aws.ec2"]}))
BOTH = PatternRule("other", rule_text({"source": [{"prefix": "aws."}]}))


def put(side: Side, source: str, **detail: Any) -> str:
    return side.default_bus.put(source, "Something Happened", native.detail_text(source, "x", detail))


def triggered(side: Side) -> list[tuple[str | None, str]]:
    """The workflow and the event's id of each message that came."""
    events = [native.NativeEvent.of_message(body) for body in side.bodies()]
    return sorted((one.workflow_id or "", one.id) for one in events)


def test_what_was_applied_is_listed(side: Side) -> None:
    assert side.default_bus.list() == []
    for one in (S3, EC2, S3):
        side.default_bus.apply(one)
    assert {*side.default_bus.list()} == {S3, EC2}
    assert {*side.peer().default_bus.list()} == {S3, EC2}


def test_an_event_comes_once_for_each_rule_that_it_matches(side: Side) -> None:
    side.default_bus.apply(S3)
    side.default_bus.apply(BOTH)
    first, second = put(side, "aws.s3", size=2), put(side, "aws.s3", size=1)
    third = put(side, "aws.ec2")
    put(side, "shop")
    assert triggered(side) == sorted([("flow", first), ("other", first), ("other", second), ("other", third)])


def test_an_event_comes_in_its_envelope(side: Side) -> None:
    side.default_bus.apply(S3)
    event_id = put(side, "aws.s3", size=2, names=["a", "ä\n"], deep={"x": None})
    (body,) = side.bodies()
    found = native.NativeEvent.of_message(body)
    assert (found.id, found.source, found.detail_type) == (event_id, "aws.s3", "Something Happened")
    assert found.at == int(side.clock.now().timestamp()) * 1000
    assert found.envelope["detail"] == {"size": 2, "names": ["a", "ä\n"], "deep": {"x": None}}
    assert {"version", "account", "region", "resources"} <= set(found.envelope)


def test_applying_again_replaces(side: Side) -> None:
    side.default_bus.apply(EC2)
    side.default_bus.apply(BOTH)
    assert side.default_bus.list() == [BOTH]
    event_id = put(side, "aws.s3")
    assert triggered(side) == [("other", event_id)]


def test_a_removed_one_gets_nothing(side: Side) -> None:
    side.default_bus.apply(S3)
    side.default_bus.apply(BOTH)
    for _ in range(2):
        side.default_bus.remove("flow")
    event_id = put(side, "aws.s3", size=2)
    assert triggered(side) == [("other", event_id)]
    assert side.default_bus.list() == [BOTH]


def test_reconciling_makes_what_is_declared_and_nothing_else(side: Side) -> None:
    side.default_bus.apply(EC2)
    side.default_bus.apply(PatternRule("gone", EC2.pattern))
    for _ in range(2):
        native.reconcile(side.default_bus, [S3, BOTH])
        assert {*side.default_bus.list()} == {S3, BOTH}


def test_reconciling_leaves_what_another_application_declared(side: Side) -> None:
    native.reconcile(side.default_bus, [S3], ["flow"])
    native.reconcile(side.default_bus, [EC2], ["other"])
    assert {*side.default_bus.list()} == {S3, EC2}
