"""Reviews in parallel, chunks of data, tasks that nobody waits for; queues of every form."""

# ruff: noqa: T201

import asyncio

from pydantic import BaseModel

from polos import Polos, WorkflowContext, queue, workflow
from polos.types.types import BatchWorkflowInput

api_queue = queue("api-calls", concurrency_limit=5)
unlimited = queue("unlimited")


class ReviewRequest(BaseModel):
    reviewer: str
    text: str


class Review(BaseModel):
    reviewer: str
    approved: bool
    score: int


@workflow(id="single_review", queue=api_queue)
async def single_review(ctx: WorkflowContext, payload: ReviewRequest) -> Review:
    score = await ctx.step.run("score", lambda: len(payload.text.split()))
    return Review(reviewer=payload.reviewer, approved=score > 2, score=score)


@workflow(id="parallel_review", queue=unlimited)
async def parallel_review(ctx: WorkflowContext, payload: dict) -> dict:
    requests = [
        BatchWorkflowInput(id="single_review", payload=ReviewRequest(reviewer=one, text=payload["text"]))
        for one in payload.get("reviewers", ["ada", "bob"])
    ]
    results = await ctx.step.batch_invoke_and_wait("reviews", requests)
    reviews = [one.result for one in results if one.success and one.result]
    return {"approved": all(one.approved for one in reviews), "by": [one.reviewer for one in reviews]}


@workflow(id="process_chunk", queue={"concurrency_limit": 3})
async def process_chunk(ctx: WorkflowContext, payload: dict) -> dict:
    doubled = await ctx.step.run("double", lambda items: [2 * item for item in items], payload["chunk"])
    return {"processed": doubled}


@workflow(id="chunks", queue="my-named-queue")
async def chunks(ctx: WorkflowContext, payload: dict) -> dict:
    data, size = payload["data"], payload["size"]
    requests = [
        BatchWorkflowInput(id="process_chunk", payload={"chunk": data[i : i + size]}) for i in range(0, len(data), size)
    ]
    results = await ctx.step.batch_invoke_and_wait("chunks", requests)
    return {"chunks": len(results), "results": [n for one in results for n in one.result.get("processed", [])]}


@workflow(id="forget")
async def forget(ctx: WorkflowContext, payload: dict) -> dict:
    tasks = [BatchWorkflowInput(id="process_chunk", payload={"chunk": [n]}) for n in payload["tasks"]]
    handles = await ctx.step.batch_invoke("launch", tasks)
    return {"launched": len(handles), "ids": [one.id for one in handles]}


async def main() -> None:
    async with Polos(log_file="polos.log") as polos:
        print(await parallel_review.run(polos, {"text": "a fine text", "reviewers": ["ada", "bob", "eve"]}))
        print(await chunks.run(polos, {"data": list(range(7)), "size": 3}))
        result = await forget.run(polos, {"tasks": [1, 2]})
        print(result["launched"], len(set(result["ids"])))
        handles = [
            await polos.invoke(
                workflow_id="process_chunk",
                payload={"chunk": [n]},
                queue_name="sequential",
                queue_concurrency_limit=1,
            )
            for n in range(3)
        ]
        for handle in handles:
            while (await polos.get_execution(handle.id)).get("status") not in ["completed", "failed"]:
                await asyncio.sleep(0.05)
        print([(await polos.get_execution(one.id))["result"]["processed"] for one in handles])


if __name__ == "__main__":
    asyncio.run(main())
