"""A person in the loop: one process runs the workflow, others start it, look at it and answer, and a worker goes on."""

# ruff: noqa: T201

import asyncio
import subprocess
import sys

from pydantic import BaseModel

from polos import Polos, PolosClient, WorkflowContext, workflow


class Draft(BaseModel):
    title: str
    version: int = 1


def edit(draft: Draft, title: str) -> Draft:
    return Draft(title=title, version=draft.version + 1)


@workflow(id="publish-article")
async def publish_article(ctx: WorkflowContext, draft: Draft) -> Draft:
    while True:
        review = await ctx.step.suspend(f"review_{draft.version}", data=draft)
        if review["data"]["ok"]:
            return draft
        draft = await ctx.step.run(f"edit_{draft.version}", edit, draft, review["data"]["title"])


async def answer(execution_id: str, step_key: str, data: dict) -> None:
    """What a web server does, that runs no workflow."""
    client = PolosClient()
    await client.resume("publish-article", execution_id, step_key, data)
    print("answered", step_key)


async def start() -> None:
    """The first process: it starts the article, waits until somebody is asked, and ends."""
    async with Polos(log_file="polos.log") as polos:
        handle = await publish_article.invoke(polos, Draft(title="Helo"))
        while (await polos.get_execution(handle.id))["status"] != "waiting":
            await asyncio.sleep(0.02)
        print(handle.id)


async def go_on(execution_id: str) -> None:
    """A worker that is started later, and takes up what the first has left."""
    async with Polos(log_file="polos.log") as polos:
        while (found := await polos.get_execution(execution_id))["status"] not in ("completed", "failed"):
            await asyncio.sleep(0.02)
        print(found["status"], found["result"], found["payload"])


def in_a_process(*arguments: str) -> str:
    return subprocess.run([sys.executable, __file__, *arguments], capture_output=True, text=True, check=True).stdout


def main() -> None:
    execution_id = in_a_process("start").strip()
    print(in_a_process("answer", execution_id, "review_1").strip())
    print(in_a_process("answer", execution_id, "review_2").strip())
    print(in_a_process("go-on", execution_id).strip())


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["start"]:
            asyncio.run(start())
        case ["answer", execution_id, step_key]:
            data = {"ok": step_key != "review_1", "title": "Hello"}
            asyncio.run(answer(execution_id, step_key, data))
        case ["go-on", execution_id]:
            asyncio.run(go_on(execution_id))
        case _:
            main()
