# ruff: noqa
"""Clock, randomness and I/O in steps, and things of the same names that are something else."""

import asyncio
import datetime
import random
import time
import uuid
from datetime import timedelta
from pathlib import Path

import boto3
import httpx
from polos import Polos, WorkflowContext, workflow

s3 = boto3.client("s3")
STARTED = time.time()


def fetch(url: str) -> str:
    time.sleep(0.1)
    return httpx.get(url).text


async def fetch_with(client: httpx.AsyncClient, url: str) -> str:
    return (await client.get(url)).text


@workflow
async def careful(ctx: WorkflowContext, url: str):
    def save(text: str) -> float:
        Path("out").write_text(text)
        with open("x") as file:
            file.read()
        return time.time()

    text = await ctx.step.run("fetch", fetch, url)
    await ctx.step.run("save", save, text)
    await ctx.step.run("put", s3.put_object, Bucket="b", Key="k")
    await ctx.step.run("lambda", lambda: random.random())
    now = await ctx.step.now("now")
    moment = datetime.datetime.fromtimestamp(now / 1000, datetime.UTC)
    name = uuid.uuid5(uuid.NAMESPACE_URL, url)
    dice = random.Random(ctx.execution_id)
    dice.shuffle([1, 2])
    later = moment + timedelta(days=1)
    await ctx.step.wait_until("later", later)
    async with httpx.AsyncClient() as client:
        await ctx.step.run("with-client", fetch_with, client, url)
    text = time.strftime("%Y", time.gmtime(now / 1000))
    path = Path("a") / "b"
    return [str(name), path.name, text]


@workflow
async def shadowed(ctx: WorkflowContext, time, open):
    random = await ctx.step.random("random")
    uuid4 = await ctx.step.uuid("uuid")
    return time.time(), open("x"), random.real, uuid4.upper()


@workflow
async def raw_asyncio(ctx: WorkflowContext):
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await asyncio.sleep(0.1)
    await asyncio.wait_for(asyncio.sleep(0), 1)
    done, _ = await asyncio.wait(
        [
            asyncio.create_task(ctx.step.wait_for_event("a", topic="a", timeout=60)),
            asyncio.create_task(ctx.step.wait_for("b", seconds=60)),
        ],
        return_when=asyncio.FIRST_COMPLETED,
    )
    return len(done)


@workflow
def plain(ctx):
    return time.time(), Path("x").read_text()


async def main():
    async with Polos() as polos:
        print(time.time(), uuid.uuid4())
        await careful.run(polos, "https://example.org")
        await asyncio.wait_for(careful.invoke("x"), 10)
