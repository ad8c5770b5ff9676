# ruff: noqa
import random
import time

from polos import WorkflowContext, workflow


class Pricer:
    def __init__(self, rate: float) -> None:
        self.rate = rate

    def quote(self) -> float:
        return self.rate * self.double()

    def double(self) -> float:
        return 2 * self.rate

    def fetched(self) -> float:
        return time.time() + random.random()

    async def book(self, ctx: WorkflowContext, key: str) -> float:
        return await ctx.step.run(key, self.fetched)


class Endless(Pricer):
    def quote(self) -> float:
        return self.quote()


@workflow
async def methods(ctx: WorkflowContext, order, pricer: Pricer):
    own = Pricer(1.0)
    await own.book(ctx, "a")
    await pricer.book(ctx, "b")
    own = Endless(2.0)
    await ctx.step.run("fetched", pricer.fetched)
    return own.fetched() + order.fetched() + pricer.quote() + Endless(1.0).quote()
