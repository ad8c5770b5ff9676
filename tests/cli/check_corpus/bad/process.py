# ruff: noqa
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from os import environ, getpid

from polos import WorkflowContext, workflow


@workflow
async def process(ctx: WorkflowContext, order: str):
    shard = hash(f"{order}") % 8  # expect: random
    other = hash(("a", 1))  # expect: random
    third = hash(str(order))  # expect: random
    fine = hash(7)
    named = hash(order), hash((order, 1))  # expect: random
    pid = os.getpid(), getpid()  # expect: process
    mode = os.environ["MODE"]  # expect: process
    debug = environ.get("DEBUG") or os.getenv("DEBUG")  # expect: process
    threading.Thread(target=print).start()  # expect: io
    with ThreadPoolExecutor() as pool:  # expect: io
        pool.submit(print)
    return shard, other, third, fine, pid, mode, debug
