# ruff: noqa
from polos import WorkflowContext, workflow

import shop.pricing
from shop import price
from shop.pricing import allowed, stamp as moment

from . import notices
from .pricing import Desk, in_a_step, nobody_calls
from shop.missing import gone


@workflow
async def sale(ctx: WorkflowContext, item: str) -> float:
    gone()
    await notices.tell(ctx, item)
    await notices.tell(ctx, "again")  # expect: key
    await notices.tell_twice(ctx, moment())  # expect: key
    notices.template()
    shop.pricing.rates()
    await ctx.step.run("rates", in_a_step)
    Desk().quote()
    handler = nobody_calls
    return price(item) + allowed() + bool(handler)
