"""A stack whose roles' requests are noted, and the workflows that run on it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from polos import BatchEventPayload, BatchWorkflowInput, EventPattern, EventPayload, Polos, WorkflowContext, workflow
from polos.aws.backend import aws_backend
from polos.aws.entry import Service, handler_of
from polos.aws.telemetry import Silent
from polos.aws.visibility import Visibility
from polos.engine.engine import Engine
from polos.testing import Environment, moto_template
from polos.testing.moto_harness import MotoHarness
from tests.aws.permissions import Names, Need, Recorded, grants, of_platform
from tests.laws.worlds import noise

TEMPLATE = moto_template.load(moto_template.find())
RESOURCES: dict[str, Any] = TEMPLATE["Resources"]
FUNCTIONS = {
    str(one["Properties"]["Handler"]).split(".")[1]: one
    for one in RESOURCES.values()
    if one["Type"] == "AWS::Serverless::Function"
}
LARGE = 220_000


@workflow(id="lp-child")
async def child(ctx: WorkflowContext, n: int) -> str:
    return await ctx.step.run("make", lambda: noise(LARGE))


@workflow(id="lp-waits")
async def waits_long(ctx: WorkflowContext, text: str) -> None:
    await ctx.step.wait_for("long", days=300)


@workflow(id="lp-all")
async def everything(ctx: WorkflowContext, payload: Any) -> str:
    await ctx.step.run("large", lambda: noise(LARGE))
    await ctx.step.wait_for("short", seconds=30)
    await ctx.step.wait_for("long", hours=3)
    await ctx.step.publish_event("publish", "lp/out", noise(LARGE))
    await ctx.step.wait_for_event("event", "lp/in", timeout=timedelta(days=2))
    answer = await ctx.step.suspend("ask", {"q": 1}, timeout=timedelta(days=2))
    await ctx.step.invoke_and_wait("one", child, 1)
    await ctx.step.batch_invoke_and_wait("many", [BatchWorkflowInput(id="lp-child", payload=n) for n in range(3)])
    return str(answer["data"])


@workflow(id="lp-limited", queue={"name": "lp-queue", "concurrency_limit": 1})
async def limited(ctx: WorkflowContext, n: int) -> int:
    return await ctx.step.run("step", lambda: n)


@workflow(id="lp-triggered", trigger_on_event="lp/trigger")
async def triggered(ctx: WorkflowContext, event: EventPayload) -> None: ...


@workflow(id="lp-batched", trigger_on_event="lp/batch", batch_size=3, batch_timeout_seconds=1000)
async def batched(ctx: WorkflowContext, events: BatchEventPayload) -> None: ...


@workflow(id="lp-patient", trigger_on_event="lp/rare", batch_size=2)
async def patient(ctx: WorkflowContext, events: BatchEventPayload) -> None: ...


@workflow(id="lp-native", trigger_on_event=EventPattern({"source": ["lp.shop"]}))
async def native(ctx: WorkflowContext, event: dict[str, Any]) -> None: ...


@workflow(id="lp-scheduled", schedule={"cron": "0 */6 * * *", "key": "six"})
async def scheduled(ctx: WorkflowContext) -> None: ...


@workflow(id="lp-fails", max_retries=0)
async def fails(ctx: WorkflowContext) -> None:
    await ctx.step.run("kept", lambda: noise(LARGE))
    await ctx.step.run("no", lambda: [].pop(), max_retries=0)


WORKFLOWS = [everything, child, limited, triggered, batched, native, scheduled, fails, waits_long, patient]


class Stack:
    """A stack under moto in which each role has clients of its own, that note what their requests need."""

    def __init__(self, env: Environment) -> None:
        harness = env.harness
        assert isinstance(harness, MotoHarness)
        self.env, self.harness, self.account = env, harness, harness.account
        self.clients: dict[str, Recorded] = {}
        self.names = Names(self.account)
        for source in self.account.sources:
            role = source.handler.split(".")[-2]
            harness.handlers[source.queue] = handler_of(self._service(role), role)
        self.client = Polos(engine=self.engine("client"))

    def of(self, role: str) -> Recorded:
        return self.clients.setdefault(role, Recorded(self.account.session))

    def engine(self, role: str) -> Engine:
        limits = self.harness.engine.limits
        backend = aws_backend(self.account.settings, self.account.clock, clients=self.of(role), limits=limits)
        return Engine(backend, workflows=self.harness.engine.workflows)

    def _service(self, role: str) -> Service:
        settings = self.account.settings
        return Service(self.engine(role), settings, Visibility(self.of(role), settings), Silent())

    def used(self, role: str) -> set[Need]:
        found = set(self.of(role).needs)
        return found | of_platform(FUNCTIONS[role], self.names) if role in FUNCTIONS else found

    def check(self, role: str, resource: str) -> tuple[list[str], list[str]]:
        """What a role lacks, and what it has and does not use."""
        given, used = grants(RESOURCES[resource], self.names), self.used(role)
        missing = [str(need) for need in sorted(used) if not any(grant.covers(need) for grant in given)]
        unused = [str(grant) for grant in given if not any(grant.covers(need) for need in used)]
        return missing, unused
