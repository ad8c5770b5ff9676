"""An environment on moto with hands on its queues, and the workflows whose messages die in them."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from polos import ChildWorkflowError, EventPattern, WorkflowContext, workflow
from polos.core import items
from polos.core.conditions import Change
from polos.engine import dead_letters
from polos.testing import Environment
from polos.testing.moto_harness import MotoHarness
from polos.workflow import _registry
from tests.aws import dying

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


@workflow(id="dead-uploads", trigger_on_event=EventPattern({"source": ["aws.s3"]}))
async def uploads(ctx: WorkflowContext, event: dict[str, Any]) -> str:
    return str(event["source"])


WORKFLOWS = [plain, waiting, parent, echo, uploads]

_registry.clear()
_registry.update(_before)


class Stack:
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
        return [one["MessageAttributes"]["reason"]["StringValue"] for one in self.kept_messages]

    @property
    def kept_messages(self) -> list[dict[str, Any]]:
        url = self.account.queue_urls["KeptLetters"]
        got = self.account.aws.sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"], VisibilityTimeout=0
        )
        return list(got.get("Messages", []))

    def item(self, execution_id: str) -> dict[str, Any]:
        return dict(self.engine.table.get(items.execution(execution_id)) or {})

    def change(self, execution_id: str, **attributes: Any) -> None:
        self.engine.table.update(items.execution(execution_id), Change(set=attributes))


def wake(execution_id: str, workflow_id: str = "dead-waiting") -> dict[str, Any]:
    return {"t": "wake", "x": execution_id, "wf": workflow_id}


async def suspended(stack: Stack) -> str:
    handle = await stack.env.start(waiting)
    await stack.env.settle()
    assert stack.item(handle.id)[items.STATUS] == "waiting"
    return handle.id
