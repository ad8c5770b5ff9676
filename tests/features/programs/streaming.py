"""A driver that follows a run and its children while they work, and a topic besides."""

# ruff: noqa: T201

import asyncio

from polos import Polos, WorkflowContext, events, workflow


@workflow(id="chapter")
async def chapter(ctx: WorkflowContext, payload: dict) -> str:
    text = await ctx.step.run("write", lambda: f"chapter {payload['n']}")
    await ctx.step.publish_workflow_event("told", data={"written": payload["n"]}, event_type="progress")
    return text


@workflow(id="book")
async def book(ctx: WorkflowContext, payload: dict) -> str:
    chapters = []
    for n in range(payload["chapters"]):
        chapters.append(await ctx.step.invoke_and_wait(f"chapter_{n}", chapter, {"n": n}))
        percent = 100 * (n + 1) // payload["chapters"]
        await ctx.step.publish_event(f"news_{n}", topic="books/news", data={"percent": percent}, event_type="percent")
    return ", ".join(chapters)


async def follow_topic(polos: Polos, ready: asyncio.Event) -> list[int]:
    seen = []
    stream = events.stream_topic(polos, "books/news", last_sequence_id=0)
    ready.set()
    async for event in stream:
        seen.append(event.data["percent"])
        if event.data["percent"] == 100:
            return seen
    return []


async def main() -> None:
    async with Polos(log_file="polos.log") as polos:
        ready = asyncio.Event()
        topic = asyncio.create_task(follow_topic(polos, ready))
        await ready.wait()
        handle = await book.invoke(polos, {"chapters": 2})
        kinds, steps = [], []
        last = -1
        async for event in events.stream_workflow(polos, handle.root_workflow_id, handle.root_execution_id):
            assert event.sequence_id > last or event.event_type.startswith("step_"), "in order"
            last = event.sequence_id
            if event.event_type in ("step_start", "step_finish"):
                steps.append(event.data["step_key"])
            elif event.event_type == "progress":
                kinds.append(f"progress {event.data['written']}")
            else:
                kinds.append(f"{event.event_type} {event.data['_metadata']['workflow_id']}")
        print(kinds)
        print(sorted(set(steps)))
        print(await asyncio.wait_for(topic, 10))
        again = [e.event_type async for e in events.stream_workflow(polos, "book", handle.id, last_sequence_id=last)]
        print(again, await handle.result())


if __name__ == "__main__":
    asyncio.run(main())
