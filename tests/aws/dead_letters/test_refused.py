"""What a handler finds to be none of ours is kept by itself, at once: it never dies in its queue first (SPEC 12)."""

from __future__ import annotations

from tests.aws.dead_letters.parts import Stack
from tests.laws.worlds import law

EVENT = {"id": "e", "source": "aws.s3", "detail-type": "x", "time": "2030-01-01T00:00:00Z", "detail": {}}


@law
async def test_a_strangers_message_is_kept_after_one_receipt(stack: Stack) -> None:
    stack.send("StartQueue", "not JSON")
    stack.invoke("StartQueue")

    (kept,) = stack.kept_messages
    assert kept["Body"] == "not JSON"
    assert {name: one["StringValue"] for name, one in kept["MessageAttributes"].items()}["source"] == "start"
    assert "not JSON" in stack.kept[0]
    assert len(stack.account.queue("StartQueue")._messages) == 0


@law
async def test_an_event_of_another_rule_that_no_pattern_matches_is_kept_at_once(stack: Stack) -> None:
    """It is no error that may pass: without this it comes again for two weeks."""
    stack.send("NativeEventsQueue", {**EVENT, "source": "aws.ec2"})
    stack.invoke("NativeEventsQueue")

    assert "matches no workflow's EventPattern" in stack.kept[0]
    assert len(stack.account.queue("NativeEventsQueue")._messages) == 0
    assert stack.bodies("DeadLetters") == []


@law
async def test_an_event_whose_source_could_be_no_topic_starts_what_it_triggers(stack: Stack) -> None:
    source = "aws.s3/" + "long" * 200
    stack.send("NativeEventsQueue", {"t": "native", "wf": "dead-uploads", "event": {**EVENT, "source": source}})
    await stack.env.settle()

    (one,) = await stack.env.client.list_executions(workflow_id="dead-uploads")
    assert (await stack.env.client.describe(one.id)).result == source
    assert stack.kept == []
