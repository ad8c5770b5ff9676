# ruff: noqa
import asyncio
import subprocess
import time
from pathlib import Path

import boto3
import httpx
import polos
import requests

s3 = boto3.client("s3")
session = requests.Session()


@polos.workflow
async def reads(ctx, name: str):
    with open(name) as file:  # expect: io
        text = file.read()  # expect: io
    more = Path(name).read_text()  # expect: io
    path = Path("out")
    path.write_text(more)  # expect: io
    time.sleep(1)  # expect: io
    subprocess.run(["ls"], check=True)  # expect: io
    return text


@polos.workflow
async def calls(ctx, url: str):
    a = requests.get(url, timeout=3)  # expect: io
    async with httpx.AsyncClient() as client:
        b = await client.get(url)  # expect: io
    c = httpx.get(url)  # expect: io
    s3.put_object(Bucket="b", Key="k", Body=b"")  # expect: io
    d = session.post(url)  # expect: io
    table = boto3.resource("dynamodb").Table("t")  # expect: io
    e = await asyncio.to_thread(print, url)  # expect: io
    return a, b, c, d, e, table
