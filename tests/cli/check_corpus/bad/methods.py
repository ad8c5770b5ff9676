# ruff: noqa
import random
import time
from dataclasses import dataclass

from polos import WorkflowContext, workflow


class Base:
    def inherited(self) -> float:
        return time.time()  # expect: clock


class Pricer(Base):
    def __init__(self) -> None:
        self.at = time.time()  # expect: clock

    def quote(self) -> float:
        return self._noise() + self.inherited()

    def _noise(self) -> float:
        return random.random()  # expect: random

    @staticmethod
    def stamp(ctx) -> float:
        return time.time()  # expect: clock

    @classmethod
    def of(cls, when=None):
        return open("prices")  # expect: io

    async def book(self, ctx: WorkflowContext, item: str) -> None:
        await ctx.step.run("book", print, item)

    def nobody_calls(self) -> float:
        return time.time()


@dataclass
class Order:
    at: float

    def age(self) -> float:
        return time.time() - self.at  # expect: clock

    def untimed(self) -> float:
        return self.at


@workflow
async def methods(ctx: WorkflowContext, order: Order, other: "Order | None" = None):
    pricer = Pricer()
    Pricer.stamp(ctx)
    Pricer.of()
    await pricer.book(ctx, "a")
    await pricer.book(ctx, "b")  # expect: key
    return pricer.quote() + order.age() + order.untimed()
