# ruff: noqa
import datetime as dt
import os
import random
import secrets
import time
import uuid
from datetime import date, datetime
from random import choice as pick
from time import time as wall_clock
from uuid import uuid4

from polos import WorkflowContext, workflow


@workflow
async def clocks(ctx: WorkflowContext):
    started = time.time()  # expect: clock
    today = datetime.now()  # expect: clock
    also = dt.datetime.now(dt.UTC).isoformat()  # expect: clock
    day = date.today()  # expect: clock
    stamp = time.strftime("%Y")  # expect: clock
    if wall_clock() > 1:  # expect: clock
        await ctx.step.run("late", print, started)
    return [today, also, day, stamp]


@workflow(id="draws", max_retries=0)
async def draws(ctx: WorkflowContext, count: int):
    a = random.random()  # expect: random
    b = [random.randint(1, 6) for _ in range(count)]  # expect: random
    c = uuid4()  # expect: random
    d = str(uuid.uuid4())  # expect: random
    e = secrets.token_hex(8)  # expect: random
    f = os.urandom(8)  # expect: random
    await ctx.step.run(f"send-{uuid4()}", print, "x")  # expect: random
    await ctx.step.run("pick", print, pick([1, 2]))  # expect: random
    generator = random.Random()  # expect: random
    return a, b, c, d, e, f, generator
