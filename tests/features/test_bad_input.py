"""SPEC 12: what a program gets wrong is a typed error that says what to do and changes nothing; on every backend.

What is AWS's own (stacks, credentials, throttling, an application that fails to import) is in tests/aws and tests/cli.
"""

from __future__ import annotations

from typing import Any

import pytest

from polos import ExecutionStateError, InvalidPayloadError, SerializationError, WorkflowNotFoundError, events
from tests.features.baskets import basket, nothing
from tests.features.listing import listed
from tests.laws.worlds import World, law


@law
async def test_a_payload_that_does_not_validate_names_the_path_of_the_field(world: World) -> None:
    bad = {"owner": "ada", "lines": [{"sku": "hat", "count": 1}, {"sku": "shoe", "count": "many"}]}
    async with world.deploy(basket, nothing) as env:
        with pytest.raises(InvalidPayloadError, match=r"lines(\.|\[)1\]?\.count") as raised:
            await env.start(basket, bad, id="b")
        assert "bad-basket" in str(raised.value)
        assert len(raised.value.errors) == 1
        for given, said in ((None, "bad-basket"), ("text", "bad-basket"), ({"owner": 1}, "lines")):
            with pytest.raises(InvalidPayloadError, match=said):
                await env.start(basket, given)
        with pytest.raises(InvalidPayloadError, match="takes no input"):
            await env.start(nothing, {"a": 1})
        assert await listed(env) == []
        assert sum(env.requests[name] for name in ("PutItem", "SendMessage")) == 0, "nothing is stored or sent"
        good = await env.start(basket, {"owner": "ada", "lines": [{"sku": "hat", "count": 2}]}, id="b")
        assert await env.finish(good) == 2


@law
async def test_ids_topics_and_options_that_are_too_long_or_odd_are_refused_by_name(world: World) -> None:
    long, over = "x" * 256, "é" * 257  # 514 bytes
    async with world.deploy(nothing) as env:
        for options, said in (
            ({"id": long}, "execution id"),
            ({"id": ""}, "execution id"),
            ({"id": "a b"}, "execution id"),
            ({"id": "parent/child"}, "'/'"),
            ({"id": "chain~1"}, "after continue_as_new"),
            ({"id": f"chain~~{'0' * 32}"}, "after continue_as_new"),
            ({"queue": over}, "queue name"),
            ({"queue": 5}, "queue must be"),
            ({"queue": ""}, "queue name"),
            ({"queue_name": ""}, "queue name"),
            ({"queue": "q", "queue_concurrency_limit": 0}, "concurrency limit"),
            ({"queue": "q", "concurrency_key": over}, "concurrency key .* 512"),
            ({"session_id": "s" * 257}, "session_id"),
            ({"user_id": 5}, "user_id"),
            ({"tags": {"a": "b" * 2000}}, "tags"),
            ({"tags": {"a": 1}}, "tags"),
            ({"run_timeout_seconds": 0}, "run_timeout_seconds"),
            ({"run_timeout_seconds": -5}, "run_timeout_seconds"),
            ({"run_timeout_seconds": True}, "run_timeout_seconds"),
        ):
            with pytest.raises(InvalidPayloadError, match=said):
                await env.start(nothing, **options)
        for topic, event, said in (
            (over, events.EventData(data=1), "topic"),
            ("", events.EventData(data=1), "topic"),
            (5, events.EventData(data=1), "topic"),
            ("t", events.EventData(data=1, event_type="x" * 300), "event_type"),
            ("t", events.EventData(data=1, event_id="x" * 300), "event_id"),
        ):
            with pytest.raises(InvalidPayloadError, match=said):
                await events.publish(env.client, topic, event)
        with pytest.raises(WorkflowNotFoundError, match="'bad-unknown'"):
            await env.client.invoke("bad-unknown")
        assert await listed(env) == []


@law
async def test_events_with_data_that_cannot_be_stored_are_refused_and_nothing_is_published(world: World) -> None:
    async with world.deploy() as env:
        with pytest.raises(SerializationError, match=r"\$\.a\[1\]"):
            await events.publish(env.client, "bad/event", events.EventData(data={"a": [1, object()]}))
        with pytest.raises(SerializationError):
            await events.batch_publish(env.client, "bad/event", [{"fine": 1}, {"odd": object()}])
        assert env.requests["PutEvents"] == 0


@law
async def test_resume_of_what_has_ended_and_listing_with_an_odd_cursor_are_typed_errors(world: World) -> None:
    async with world.deploy(nothing) as env:
        handle = await env.start(nothing)
        await env.finish(handle)
        with pytest.raises(ExecutionStateError, match="is completed; resume is not possible"):
            await env.resume(handle, "ask", 1)
        for bad in ({"cursor": "garbage"}, {"limit": 0}, {"limit": -1}, {"status": "sleeping"}):
            with pytest.raises(InvalidPayloadError, match=next(iter(bad))):
                await env.client.list_executions(**bad)  # type: ignore[arg-type]


@law
async def test_a_listing_with_arguments_of_the_wrong_type_is_a_typed_error(world: World) -> None:
    async with world.deploy() as env:
        wrong: dict[str, list[Any]] = {
            "limit": ["3", 2.5, 0, True],
            "cursor": ["x", 5],
            "since": ["2030", 5],
            "until": ["2030"],
            "tags": [5, ["a"], {"a": 1}],
            "status": ["done", 5],
            "workflow_id": [5, "no such id"],
        }
        for name, values in wrong.items():
            for value in values:
                with pytest.raises(InvalidPayloadError, match=name):
                    await env.client.list_executions(**{name: value})
