"""What is none of ours, or the table does not confirm, changes nothing; it is kept, with the reason (SPEC 8.9, 12)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from polos.aws.kept_letters import LARGEST
from polos.engine import dead_letters
from polos.engine.commands import cancel
from tests.aws.dead_letters.parts import LAST, Stack, suspended, waiting, wake
from tests.laws.worlds import law


@pytest.mark.parametrize(
    ("queue", "body", "reason"),
    [
        ("WakeQueue", "not json", "not JSON"),
        ("WakeQueue", {"t": "wake"}, "execution id"),
        ("WakeQueue", {"t": "dance"}, "unknown type 'dance'"),
        (
            "WakeQueue",
            {"t": "resume", "x": "e1", "wf": "w", "k": "a", "at": 1, "v": {"b": 1}},
            "v of a message must be",
        ),
        (
            "StartQueue",
            {"t": "start", "x": "e1", "wf": "w", "so": {}, "cr": 1, "in": {"b": 1}},
            "in of a message must be",
        ),
        ("WakeQueue", {"source": "polos", "detail": {"t": "event"}}, "not handled here"),
        ("EventsQueue", {"source": "polos", "detail": {"hello": 1}}, "not an event of a topic"),
        ("EventsQueue", {"t": "cancel", "x": "e1", "wf": "w"}, "not handled here"),
    ],
)
@law
async def test_what_is_none_of_ours_is_kept_with_the_reason(
    stack: Stack, queue: str, body: object, reason: str
) -> None:
    stack.bury(queue, body)
    stack.handle()

    assert len(stack.kept) == 1
    assert reason in stack.kept[0]


FORGED = [
    cancel("e1", "dead-waiting", "cancel"),
    {"t": "resume", "x": "e1", "wf": "dead-waiting", "k": "ask", "v": '"yes"', "at": 1},
    {"t": "start", "x": "forged", "wf": "dead-plain", "so": {}, "cr": 1, "in": "null"},
    {"source": "polos", "detail": {"t": "event", "id": "a", "tp": "b", "sq": 1, "v": "1"}},
    {"t": "tick", "wf": "dead-plain", "key": "k", "cron": "0 8 * * *", "tz": "UTC", "at": "2030-01-02T08:00:00Z"},
    {"t": "wake", "x": "e1", "wf": "another", "rd": LAST},
    {"t": "wake", "x": "nobody", "wf": "dead-waiting", "rd": LAST},
]


@pytest.mark.parametrize("body", FORGED, ids=lambda body: str(body.get("t", "event")))
@law
async def test_a_forged_dead_letter_changes_nothing(stack: Stack, body: dict[str, Any]) -> None:
    await stack.env.start(waiting, id="e1")
    await stack.env.settle()
    before = stack.account.aws.dynamodb.scan(TableName=stack.account.settings.table)["Items"]

    stack.send("DeadLetters", body)
    stack.handle()
    await stack.env.advance(hours=1)

    assert stack.account.aws.dynamodb.scan(TableName=stack.account.settings.table)["Items"] == before
    assert "came from outside the stack's queues" in stack.kept[0]


@law
async def test_a_timer_that_scheduler_could_not_deliver_wakes_its_execution(stack: Stack) -> None:
    """It comes without a mark, but the table knows the execution, and a wake is only a hint."""
    execution_id = await suspended(stack)
    stack.send("DeadLetters", {**wake(execution_id), "due": 5})
    stack.handle()

    assert stack.bodies("WakeQueue") == [wake(execution_id)]
    assert stack.kept == []


@law
async def test_a_message_that_cannot_be_handled_is_kept_before_its_queue_drops_it(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("no table")

    monkeypatch.setattr(dead_letters, "judge", broken)
    stack.bury("WakeQueue", wake("e1"))
    stack.invoke("DeadLetters")
    assert (len(stack.bodies("DeadLetters")), stack.kept) == (1, [])

    stack.env._open.clock.advance(12.5 * 86_400)
    stack.handle()

    assert "RuntimeError: no table" in stack.kept[0]


@pytest.mark.parametrize("room", [0, 20, 30, 60, 5_000])
@law
async def test_a_message_of_any_size_that_sqs_takes_is_kept_whole(stack: Stack, room: int) -> None:
    """Attributes count: "Name, type, value and the message body" (SQS API reference, "SendMessage")."""
    body = '"' + "ü" * ((LARGEST - room - 2) // 2) + '"'
    stack.bury("WakeQueue", body)
    stack.handle()

    (kept,) = stack.kept_messages
    said = {name: one["StringValue"] for name, one in kept.get("MessageAttributes", {}).items()}
    size = len(body.encode()) + sum(len(f"{name}String{value}".encode()) for name, value in said.items())
    assert kept["Body"] == body
    assert size <= LARGEST
    assert ("reason" in said) == (room > 20)


@law
async def test_a_message_that_its_count_makes_too_large_is_kept_at_once(stack: Stack) -> None:
    body = {**wake("e1"), "padding": ""}
    body["padding"] = "x" * (LARGEST - len(json.dumps(body, separators=(",", ":"))))
    stack.send("WakeQueue", json.dumps(body, separators=(",", ":")))
    stack.give_up("WakeQueue")
    stack.handle()

    (kept,) = stack.kept_messages
    assert json.loads(kept["Body"]) == body
    assert stack.bodies("WakeQueue") == []
