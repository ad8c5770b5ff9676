"""Event triggers with batches: by size, by time, and one at a time; what they start publishes again."""

# ruff: noqa: T201

import asyncio

from polos import BatchEventPayload, EventPayload, Polos, WorkflowContext, workflow
from polos.features import events


@workflow(id="audit", trigger_on_event="shop/order", batch_size=3)
async def audit(ctx: WorkflowContext, payload: BatchEventPayload) -> None:
    total = await ctx.step.run("sum", sum, [event.data["amount"] for event in payload.events])
    await ctx.step.publish_event("done", topic="shop/audited", data={"count": len(payload.events), "total": total})


@workflow(id="digest", trigger_on_event="shop/order", batch_size=100, batch_timeout_seconds=1)
async def digest(ctx: WorkflowContext, payload: dict) -> None:
    amounts = [event["data"]["amount"] for event in payload["events"]]
    await ctx.step.publish_event("done", "shop/digested", {"amounts": amounts}, event_type="digest")


@workflow(id="each", trigger_on_event="shop/order")
async def each(ctx: WorkflowContext, payload: EventPayload) -> None:
    if payload.event_type == "refund":
        await ctx.step.publish_event("done", topic="shop/refunded", data={"id": payload.data["id"]})


async def collect(polos: Polos, topic: str, count: int) -> list[dict]:
    found: list[dict] = []
    async for event in events.stream_topic(polos, topic, last_sequence_id=0):
        found.append(event.data)
        if len(found) == count:
            break
    return found


async def main() -> None:
    async with Polos(log_file="polos.log") as polos:
        orders = [
            events.EventData(event_type="refund" if n == 4 else "order", data={"id": f"o{n}", "amount": n})
            for n in range(1, 8)
        ]
        sequences = await events.batch_publish(client=polos, topic="shop/order", events=orders)
        print(len(sequences), sequences == sorted(sequences))
        async with asyncio.timeout(20):
            audited, digested, refunded = await asyncio.gather(
                collect(polos, "shop/audited", 2),
                collect(polos, "shop/digested", 1),
                collect(polos, "shop/refunded", 1),
            )
        print(sorted(audited, key=lambda one: one["total"]))
        print(digested[0]["amounts"])
        print(refunded)


if __name__ == "__main__":
    asyncio.run(main())
