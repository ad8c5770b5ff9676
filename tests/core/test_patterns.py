"""SPEC 8.5: event patterns as EventBridge reads them, against its User Guide's examples and moto's matcher."""

from __future__ import annotations

import json
from typing import Any

import pytest
from moto.events.models import EventPattern as MotoPattern

from polos.core.patterns import check, matches
from polos.errors import WorkflowDefinitionError


def detail(**fields: Any) -> dict[str, Any]:
    return {"detail": fields}


S3 = {
    "version": "0",
    "id": "17793124-05d4-b198-2fde-7ededc63b103",
    "detail-type": "Object Created",
    "source": "aws.s3",
    "account": "111122223333",
    "time": "2021-11-12T00:00:00Z",
    "region": "ca-central-1",
    "resources": ["arn:aws:s3:::amzn-s3-demo-bucket1"],
    "detail": {"bucket": {"name": "uploads"}, "object": {"key": "in/cat.png", "size": 5}, "request-id": None},
}

CASES: list[tuple[dict[str, Any], dict[str, Any], bool]] = [
    ({"source": ["aws.s3"]}, S3, True),
    ({"source": ["aws.ec2", "aws.s3"]}, S3, True),
    ({"source": ["aws.ec2"]}, S3, False),
    ({"source": ["aws.s3"], "detail": {"bucket": {"name": ["uploads"]}}}, S3, True),
    ({"source": ["aws.s3"], "detail": {"bucket": {"name": ["downloads"]}}}, S3, False),
    ({"resources": [{"prefix": "arn:aws:s3:"}]}, S3, True),
    ({"detail": {"request-id": [None]}}, S3, True),
    ({"detail": {"missing": [None]}}, S3, False),
    (detail(on=[True]), detail(on=True), True),
    (detail(n=[300]), detail(n=300), True),
    (detail(n=["300"]), detail(n=300), False),
    (detail(name=[""]), detail(name=""), True),
    (detail(name=[""]), detail(name="x"), False),
    # prefix, suffix, whatever the case
    (detail(t=[{"prefix": "2017-10-02"}]), detail(t="2017-10-02T18:43:48Z"), True),
    (detail(t=[{"prefix": "2017-10-02"}]), detail(t="2017-10-03T18:43:48Z"), False),
    (detail(t=[{"prefix": "1"}]), detail(t=1), False),
    (detail(f=[{"suffix": ".png"}]), detail(f="a.png"), True),
    (detail(f=[{"suffix": ".png"}]), detail(f="a.PNG"), False),
    (detail(f=[{"suffix": {"equals-ignore-case": ".png"}}]), detail(f="a.PNG"), True),
    (detail(f=[{"prefix": {"equals-ignore-case": "EventB"}}]), detail(f="eventbridge"), True),
    (detail(f=[{"prefix": {"equals-ignore-case": "EventB"}}]), detail(f="bridge"), False),
    (detail(f=[{"equals-ignore-case": "alice"}]), detail(f="ALICE"), True),
    (detail(f=[{"equals-ignore-case": "alice"}]), detail(f="alice b"), False),
    # anything-but
    (detail(s=[{"anything-but": "initializing"}]), detail(s="running"), True),
    (detail(s=[{"anything-but": "initializing"}]), detail(s="initializing"), False),
    (detail(s=[{"anything-but": "initializing"}]), detail(s=None), True),
    (detail(s=[{"anything-but": "initializing"}]), detail(other=1), False),
    (detail(s=[{"anything-but": 123}]), detail(s=123), False),
    (detail(s=[{"anything-but": 123}]), detail(s="123"), True),
    (detail(s=[{"anything-but": ["stopped", "overloaded"]}]), detail(s="stopped"), False),
    (detail(s=[{"anything-but": ["stopped", "overloaded"]}]), detail(s="running"), True),
    (detail(s=[{"anything-but": [100, 200]}]), detail(s=200), False),
    (detail(s=[{"anything-but": {"prefix": "init"}}]), detail(s="initializing"), False),
    (detail(s=[{"anything-but": {"prefix": "init"}}]), detail(s="running"), True),
    (detail(s=[{"anything-but": {"prefix": ["init", "run"]}}]), detail(s="running"), False),
    (detail(s=[{"anything-but": {"suffix": ".txt"}}]), detail(s="a.txt"), False),
    (detail(s=[{"anything-but": {"suffix": [".txt", ".rtf"]}}]), detail(s="a.rtf"), False),
    (detail(s=[{"anything-but": {"suffix": [".txt", ".rtf"]}}]), detail(s="a.png"), True),
    (detail(s=[{"anything-but": {"equals-ignore-case": "Init"}}]), detail(s="INIT"), False),
    (detail(s=[{"anything-but": {"equals-ignore-case": ["init", "stop"]}}]), detail(s="Stop"), False),
    (detail(s=[{"anything-but": {"wildcard": "*/lib/*"}}]), detail(s="/usr/lib/x"), False),
    (detail(s=[{"anything-but": {"wildcard": ["*/lib/*", "*/bin/*"]}}]), detail(s="/usr/bin/x"), False),
    (detail(s=[{"anything-but": {"wildcard": ["*/lib/*", "*/bin/*"]}}]), detail(s="/usr/share/x"), True),
    # numeric
    (detail(n=[{"numeric": ["=", 3.5]}]), detail(n=3.5), True),
    (detail(n=[{"numeric": ["=", 300]}]), detail(n=300.0), True),
    (detail(n=[{"numeric": [">", 0, "<=", 5]}]), detail(n=5), True),
    (detail(n=[{"numeric": [">", 0, "<=", 5]}]), detail(n=0), False),
    (detail(n=[{"numeric": ["<", 10]}]), detail(n=10), False),
    (detail(n=[{"numeric": [">=", 10]}]), detail(n=10), True),
    (detail(n=[{"numeric": [">", 0]}]), detail(n="1"), False),
    # exists
    (detail(c=[{"exists": True}]), detail(c=None), True),
    (detail(c=[{"exists": True}]), detail(d=1), False),
    (detail(c=[{"exists": False}]), detail(d=1), True),
    (detail(c=[{"exists": False}]), detail(c=1), False),
    (detail(c=["x", {"exists": False}]), detail(d=1), True),
    (detail(c={"d": [{"exists": False}]}), detail(e=1), True),
    # addresses
    (detail(ip=[{"cidr": "10.0.0.0/24"}]), detail(ip="10.0.0.200"), True),
    (detail(ip=[{"cidr": "10.0.0.0/24"}]), detail(ip="10.0.1.1"), False),
    (detail(ip=[{"cidr": "10.0.0.0/24"}]), detail(ip="no address"), False),
    # wildcard
    (detail(f=[{"wildcard": "dir/*.png"}]), detail(f="dir/a/b.png"), True),
    (detail(f=[{"wildcard": "dir/*.png"}]), detail(f="dir/.png"), True),
    (detail(f=[{"wildcard": "dir/*.png"}]), detail(f="dir/a.jpg"), False),
    (detail(f=[{"wildcard": "a\\*b*"}]), detail(f="a*bc"), True),
    (detail(f=[{"wildcard": "a\\*b*"}]), detail(f="axbc"), False),
    # or
    ({"$or": [{"source": ["aws.ec2"]}, {"detail": {"object": {"size": [5]}}}]}, S3, True),
    ({"$or": [{"source": ["aws.ec2"]}, {"region": ["eu-west-1"]}]}, S3, False),
    ({"source": ["aws.ec2"], "$or": [{"region": ["ca-central-1"]}, {"region": ["eu-west-1"]}]}, S3, False),
    (
        {"detail": {"$or": [{"c": [{"numeric": [">", 0, "<=", 5]}]}, {"d": [{"prefix": "a"}]}], "e": ["f"]}},
        detail(d="abc", e="f"),
        True,
    ),
    # arrays in events
    (detail(tags=["b"]), detail(tags=["a", "b"]), True),
    (detail(tags=["c"]), detail(tags=["a", "b"]), False),
]

OURS: list[tuple[dict[str, Any], dict[str, Any], bool]] = [
    # where moto has no opinion, or another one than the User Guide
    (detail(n=[300]), detail(n=300.0), False),
    (detail(n=[1]), detail(n=True), False),
    (detail(on=[True]), detail(on=1), False),
    (detail(s=[{"anything-but": "a"}]), detail(s=["a", "b"]), True),
    (detail(s=[{"anything-but": "a"}]), detail(s=["a"]), False),
    (detail(c=[{"exists": True}]), detail(c={"d": 1}), False),
    (detail(users={"name": ["ada"], "role": ["admin"]}), detail(users=[{"name": "ada", "role": "admin"}]), True),
    (
        detail(users={"name": ["ada"], "role": ["admin"]}),
        detail(users=[{"name": "ada", "role": "guest"}, {"name": "bob", "role": "admin"}]),
        False,
    ),
    (detail(tags=[{"exists": False}]), detail(tags=[]), True),
    (detail(ip=[{"cidr": "2001:db8::/32"}]), detail(ip="2001:db8::1"), True),
    (detail(deep=["x"]), detail(deep=[["x"], ["y"]]), True),
]


def shown(case: object) -> str:
    return json.dumps(case)[:80] if isinstance(case, dict) else str(case)


@pytest.mark.parametrize(("pattern", "event", "wanted"), [*CASES, *OURS], ids=shown)
def test_a_pattern_matches_what_the_user_guide_says(
    pattern: dict[str, Any], event: dict[str, Any], wanted: bool
) -> None:
    assert check(pattern) == pattern
    assert matches(pattern, event) is wanted


@pytest.mark.parametrize(("pattern", "event", "wanted"), CASES, ids=shown)
def test_motos_matcher_agrees(pattern: dict[str, Any], event: dict[str, Any], wanted: bool) -> None:
    found: Any = MotoPattern.load(json.dumps(pattern))
    assert found.matches_event(event) is wanted


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ({}, "at least one field"),
        ("source", "must be a dict"),
        ({"source": "aws.s3"}, "'source' must be a list"),
        ({"source": []}, "'source' must be a list"),
        ({"detail_type": ["x"]}, "'detail_type' is no field of an EventBridge event"),
        ({"$or": [{"source": ["a"]}, {"detailType": ["b"]}]}, "'detailType' is no field"),
        ({"detail": {}}, "'detail' is an empty object"),
        ({"detail": {"a": 5}}, "'detail.a' must be a list"),
        ({"detail": {"a": [[1]]}}, "list in its list"),
        ({"detail": {"a": [{"exists": "yes"}]}}, "true or false"),
        ({"detail": {"a": [{"starts": "x"}]}}, "no operator 'starts'"),
        ({"detail": {"a": [{"prefix": "a", "suffix": "b"}]}}, "one operator"),
        ({"detail": {"a": [{"prefix": 1}]}}, "prefix takes a string"),
        ({"detail": {"a": [{"numeric": [">"]}]}}, "comparison and a number"),
        ({"detail": {"a": [{"numeric": ["!=", 1]}]}}, "comparison and a number"),
        ({"detail": {"a": [{"numeric": ["<", 5, ">", 0]}]}}, "range"),
        ({"detail": {"a": [{"numeric": [">", 6e9]}]}}, "-5e9 to 5e9"),
        ({"detail": {"a": [{"cidr": "10.0.0.0/99"}]}}, "block of addresses"),
        ({"detail": {"a": [{"wildcard": "a**b"}]}}, "two stars"),
        ({"detail": {"a": [{"wildcard": "a\\b"}]}}, "backslash"),
        ({"detail": {"a": [{"anything-but": ["a", 1]}]}}, "strings or numbers"),
        ({"detail": {"a": [{"anything-but": {"cidr": "10.0.0.0/8"}}]}}, "anything-but takes"),
        ({"detail": {"a": [{"anything-but": []}]}}, "empty"),
        ({"detail": {"$or": [{"a": [1]}]}}, "two or more"),
        ({"detail": {"a": [float("nan")]}}, "not JSON"),
        ({"detail": {"a": ["x" * 4096]}}, "at most 4096"),
    ],
)  # fmt: skip
def test_a_pattern_that_cannot_work_is_refused_with_the_place(pattern: Any, said: str) -> None:
    with pytest.raises(WorkflowDefinitionError, match=said.replace("$", "\\$")):
        check(pattern)
