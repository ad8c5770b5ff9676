"""Dead letters: acted on as far as the table confirms it, sent anew or failed, and never silence (SPEC 8.9, L14)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from polos import ChildWorkflowError, WorkflowContext, workflow
from polos.aws.dead_letters import PROGRESS, ROUNDS
from polos.core import items
from polos.core.conditions import Change
from polos.engine import dead_letters
from polos.engine.commands import Start, cancel, millis
from polos.errors import BackendError
from polos.testing import Environment
from polos.testing.moto_harness import MotoHarness
from polos.workflow import _registry
from tests.aws import dying
from tests.laws.worlds import law, noise

_before = dict(_registry)
LAST = dead_letters.ROUNDS
effects: list[str] = []


@workflow(id="dead-plain")
async def plain(ctx: WorkflowContext) -> str:
    await ctx.step.run("effect", effects.append, ctx.execution_id)
    return "done"


@workflow(id="dead-waiting")
async def waiting(ctx: WorkflowContext) -> str:
    return str((await ctx.step.suspend("ask", {})).get("data"))


@workflow(id="dead-parent")
async def parent(ctx: WorkflowContext) -> str:
    try:
        return str(await ctx.step.invoke_and_wait("child", plain))
    except ChildWorkflowError as error:
        return f"{error.status}: {error.error}"


@workflow(id="dead-echo")
async def echo(ctx: WorkflowContext, text: str) -> str:
    return text


_registry.clear()
_registry.update(_before)


class Stack:
    """An environment on moto, and hands on its queues."""

    def __init__(self, env: Environment) -> None:
        self.env = env
        harness: Any = env._open
        self.harness: MotoHarness = harness
        self.account, self.engine = self.harness.account, self.harness.engine

    def send(self, queue: str, body: object) -> None:
        dying.send(self.account, queue, body)

    def give_up(self, queue: str, **counts: int) -> None:
        dying.give_up(self.account, queue, **counts)

    def bury(self, queue: str, body: object, **counts: int) -> None:
        """A message that died in a queue."""
        self.send(queue, body)
        self.give_up(queue, **counts)

    def invoke(self, queue: str) -> None:
        """One invocation of a queue's function. On a thread, for it may run a workflow."""
        delivery = self.harness.take_due()
        assert delivery is not None
        assert delivery._queue == queue
        with ThreadPoolExecutor(1) as pool:
            pool.submit(delivery.run).result()

    def handle(self) -> None:
        """One invocation of the handler, which must leave no message in its queue."""
        self.invoke("DeadLetters")
        assert self.bodies("DeadLetters") == []

    def bodies(self, queue: str) -> list[dict[str, Any]]:
        return [json.loads(message.body) for message in self.account.queue(queue)._messages]

    @property
    def kept(self) -> list[str]:
        """The reasons of what is kept for a person."""
        url = self.account.queue_urls["KeptLetters"]
        got = self.account.aws.sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"], VisibilityTimeout=0
        )
        return [one["MessageAttributes"]["reason"]["StringValue"] for one in got.get("Messages", [])]

    def item(self, execution_id: str) -> dict[str, Any]:
        return dict(self.engine.table.get(items.execution(execution_id)) or {})

    def change(self, execution_id: str, **attributes: Any) -> None:
        self.engine.table.update(items.execution(execution_id), Change(set=attributes))


@pytest.fixture
def stack() -> Iterator[Stack]:
    effects.clear()
    env = Environment(backend="moto", workflows=[plain, waiting, parent, echo])
    yield Stack(env)
    env.close()


def _wake(execution_id: str, workflow_id: str = "dead-waiting") -> dict[str, Any]:
    return {"t": "wake", "x": execution_id, "wf": workflow_id}


async def _suspended(stack: Stack) -> str:
    handle = await stack.env.start(waiting)
    await stack.env.settle()
    assert stack.item(handle.id)[items.STATUS] == "waiting"
    return handle.id


# ---- sent anew


@law
async def test_a_dead_start_goes_on_and_runs_once(stack: Stack) -> None:
    handle = await stack.env.start(plain)
    stack.give_up("StartQueue")

    assert await stack.env.finish(handle) == "done"
    assert effects == [handle.id]


@law
async def test_a_dead_message_goes_back_to_its_queue_later_each_time_and_is_noted(stack: Stack) -> None:
    execution_id = await _suspended(stack)
    delays: list[int] = []
    stack.send("WakeQueue", _wake(execution_id))
    for _ in range(6):
        stack.give_up("WakeQueue")
        stack.handle()
        (message,) = stack.account.queue("WakeQueue")._messages
        delays.append(round((message.delayed_until - millis(stack.env.now)) / 1000))

    assert delays == [60, 120, 240, 480, 900, 900]
    assert stack.bodies("WakeQueue")[0][ROUNDS] == 6
    assert stack.item(execution_id)[items.REDRIVEN] == 6


@law
async def test_a_dead_resume_and_a_dead_cancel_do_what_they_would_have_done(stack: Stack) -> None:
    handle = await stack.env.start(waiting)
    await stack.env.settle()
    await stack.env.resume(handle, "ask", "yes")
    stack.give_up("WakeQueue")
    assert await stack.env.finish(handle) == "yes"

    other = await stack.env.start(waiting)
    await stack.env.settle()
    await stack.env.cancel(other)
    stack.give_up("WakeQueue")
    await stack.env.advance(minutes=2)
    assert (await stack.env.describe(other)).status == "cancelled"


@law
async def test_a_dead_event_goes_back_to_the_events_queue(stack: Stack) -> None:
    await stack.env.publish("somewhere", {"n": 1})
    stack.give_up("EventsQueue")
    stack.handle()

    (body,) = stack.bodies("EventsQueue")
    assert (body["detail"]["tp"], body[ROUNDS]) == ("somewhere", 1)


@law
async def test_a_dead_letter_that_comes_twice_works_once(stack: Stack) -> None:
    handle = await stack.env.start(plain)
    (body,) = stack.bodies("StartQueue")
    stack.give_up("StartQueue")
    stack.bury("StartQueue", body)

    assert await stack.env.finish(handle) == "done"
    assert effects == [handle.id]


# ---- failed


@law
async def test_an_execution_that_does_not_move_fails_visibly(stack: Stack) -> None:
    execution_id = await _suspended(stack)
    stack.bury("WakeQueue", _wake(execution_id), rd=LAST, rp=int(stack.item(execution_id)[items.PROGRESS]))
    stack.handle()

    detail = await stack.env.client.describe(execution_id)
    assert (detail.status, detail.error and detail.error.type) == ("failed", "UndeliverableError")
    listed = await stack.env.client.list_executions(status="failed")
    assert [one.id for one in listed] == [execution_id]


@law
async def test_a_retry_brings_it_back(stack: Stack) -> None:
    execution_id = await _suspended(stack)
    stack.bury("WakeQueue", _wake(execution_id), rd=LAST, rp=int(stack.item(execution_id)[items.PROGRESS]))
    stack.handle()
    await stack.env.settle()

    await stack.env.client.retry(execution_id)
    await stack.env.settle()

    assert stack.item(execution_id)[items.STATUS] == "waiting"


@law
async def test_a_start_that_is_never_carried_out_is_recorded_and_its_parent_told(stack: Stack) -> None:
    handle = await stack.env.start(parent)
    stack.invoke("StartQueue")
    stack.give_up("StartQueue", rd=LAST)

    result = await stack.env.finish(handle)

    assert result.startswith("failed: ")
    assert "UndeliverableError" in result or "gave up a 'start' message" in result
    assert effects == []


@law
async def test_a_tick_that_is_never_carried_out_is_recorded_as_a_failed_execution(stack: Stack) -> None:
    tick = {"t": "tick", "wf": "dead-plain", "key": "k", "cron": "0 8 * * *", "tz": "UTC", "at": "2030-01-02T08:00:00Z"}
    stack.bury("EventsQueue", tick, rd=LAST)
    stack.handle()

    (one,) = await stack.env.client.list_executions(workflow_id="dead-plain")
    assert one.status == "failed"


@law
async def test_a_start_that_was_given_up_keeps_its_long_payload_for_a_retry(stack: Stack) -> None:
    text = noise(2_000)
    stored = stack.engine.stash(json.dumps(text), "given-up", "it")
    start = Start.of("given-up", "dead-echo", stored, stack.engine.now(), {})
    assert start.payload_item() is not None
    stack.bury("StartQueue", dict(start.message().body), rd=LAST)
    stack.handle()
    await stack.env.settle()
    assert stack.item("given-up")[items.STATUS] == "failed"

    await stack.env.client.retry("given-up")
    await stack.env.settle()

    assert (await stack.env.client.describe("given-up")).result == text


@law
async def test_an_execution_whose_every_turn_meets_an_error_of_the_backend_fails_in_the_end(stack: Stack) -> None:
    """A lease that is given back after an error is no progress."""
    execution_id = await _suspended(stack)
    stack.send("WakeQueue", _wake(execution_id))
    stack.give_up("WakeQueue", rd=LAST - 1)
    stack.handle()

    def down(*_: Any, **__: Any) -> Any:
        raise BackendError("down")

    query, stack.engine.table.query = stack.engine.table.query, down  # type: ignore[method-assign]
    for _ in range(3):
        stack.env._open.clock.advance(1_000)
        stack.invoke("WakeQueue")
    stack.engine.table.query = query  # type: ignore[method-assign]
    stack.give_up("WakeQueue")
    stack.handle()

    assert stack.item(execution_id)[items.STATUS] == "failed"


# ---- races


@law
async def test_what_moved_since_is_not_failed(stack: Stack) -> None:
    """Race "dead letter of an execution that moved": its progress is not the one that was seen."""
    execution_id = await _suspended(stack)
    stack.bury("WakeQueue", _wake(execution_id), rd=LAST, rp=int(stack.item(execution_id)[items.PROGRESS]) - 1)
    stack.handle()

    assert stack.item(execution_id)[items.STATUS] == "waiting"
    (body,) = stack.bodies("WakeQueue")
    assert (body[ROUNDS], body[PROGRESS]) == (1, stack.item(execution_id)[items.PROGRESS])


@law
async def test_what_moves_between_the_look_and_the_write_is_not_failed(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    execution_id = await _suspended(stack)
    seen = int(stack.item(execution_id)[items.PROGRESS])
    give_up = stack.engine.ledger.give_up

    def overtaken(*arguments: Any) -> Any:
        stack.change(execution_id, **{items.PROGRESS: seen + 1})
        return give_up(*arguments)

    monkeypatch.setattr(stack.engine.ledger, "give_up", overtaken)
    stack.bury("WakeQueue", _wake(execution_id), rd=LAST, rp=seen)
    stack.handle()

    assert items.ENDED not in stack.item(execution_id)


@law
async def test_a_live_owner_is_left_alone(stack: Stack) -> None:
    execution_id = await _suspended(stack)
    until = millis(stack.env.now) + 30_000
    stack.change(execution_id, **{items.LEASE_TOKEN: "somebody", items.LEASE_UNTIL: until})
    stack.bury("WakeQueue", _wake(execution_id), rd=LAST, rp=int(stack.item(execution_id)[items.PROGRESS]))
    stack.handle()

    assert items.ENDED not in stack.item(execution_id)


@law
async def test_a_handler_that_dies_after_the_end_tells_the_parent_the_next_time(stack: Stack) -> None:
    handle = await stack.env.start(parent)
    stack.invoke("StartQueue")
    (body,) = stack.bodies("StartQueue")
    wake = stack.engine.wake

    def dies(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    stack.engine.wake = dies  # type: ignore[method-assign]
    stack.give_up("StartQueue", rd=LAST)
    with pytest.raises(KeyboardInterrupt):
        stack.invoke("DeadLetters")
    assert stack.item(body["x"])[items.STATUS] == "failed"
    stack.engine.wake = wake  # type: ignore[method-assign]

    assert (await stack.env.finish(handle)).startswith("failed: ")


@law
async def test_a_start_that_was_carried_out_meanwhile_stands(stack: Stack) -> None:
    handle = await stack.env.start(plain)
    (body,) = stack.bodies("StartQueue")
    await stack.env.settle()
    stack.bury("StartQueue", body, rd=LAST)
    stack.handle()

    assert stack.item(handle.id)[items.STATUS] == "completed"
    assert "what follows its end" in stack.kept[0]


# ---- kept


@pytest.mark.parametrize(
    ("queue", "body", "reason"),
    [
        ("WakeQueue", "not json", "not JSON"),
        ("WakeQueue", {"t": "wake"}, "execution id"),
        ("WakeQueue", {"t": "dance"}, "unknown type 'dance'"),
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
    execution_id = await _suspended(stack)
    stack.send("DeadLetters", {**_wake(execution_id), "due": 5})
    stack.handle()

    assert stack.bodies("WakeQueue") == [_wake(execution_id)]
    assert stack.kept == []


@law
async def test_a_message_that_cannot_be_handled_is_kept_before_its_queue_drops_it(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("no table")

    monkeypatch.setattr(dead_letters, "judge", broken)
    stack.bury("WakeQueue", _wake("e1"))
    stack.invoke("DeadLetters")
    assert (len(stack.bodies("DeadLetters")), stack.kept) == (1, [])

    stack.env._open.clock.advance(12.5 * 86_400)
    stack.handle()

    assert "RuntimeError: no table" in stack.kept[0]
