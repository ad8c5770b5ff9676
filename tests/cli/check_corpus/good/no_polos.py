# ruff: noqa
"""Decorators of the same name from elsewhere, and a line that says that it is meant."""

import time

from somewhere import workflow
from polos import workflow as durable


@workflow
async def not_ours(ctx):
    return time.time()


@durable
async def meant(ctx):
    ctx.logger.info("took %s", time.perf_counter())  # polos: ignore
    return open.__name__
