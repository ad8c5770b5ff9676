"""Messages that are none of ours: they are kept, with a reason, and are in nobody's way."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from polos import Polos
from tests.emulator.driving import drive, until
from tests.emulator.places import ENFORCED, on
from tests.emulator.stack import Stack
from tests.emulator.table import Measured

pytestmark = on(ENFORCED)


def test_what_is_none_of_ours_is_kept_with_a_reason_and_blocks_nobody(stack: Stack, measured: Measured) -> None:
    import lane

    outputs = stack.outputs()
    queues, bus = stack.client("sqs"), stack.client("events")
    kept: dict[str, str] = {}

    def look() -> bool:
        answer: dict[str, Any] = queues.receive_message(
            QueueUrl=outputs["KeptLettersUrl"], MaxNumberOfMessages=10, MessageAttributeNames=["All"]
        )
        for one in answer.get("Messages", []):
            kept[one["Body"]] = one["MessageAttributes"]["reason"]["StringValue"]
        return len(kept) == 3

    async def body(polos: Polos) -> None:
        queues.send_message(QueueUrl=outputs["StartQueueUrl"], MessageBody="not JSON at all")
        queues.send_message(QueueUrl=outputs["WakeQueueUrl"], MessageBody='{"t": "sing"}')
        detail = {"Source": "polos", "DetailType": "polos.event", "Detail": '{"hello": 1}'}
        bus.put_events(Entries=[{**detail, "EventBusName": outputs["BusName"]}])
        handles = [await lane.square.start(number, client=polos) for number in range(5)]
        assert [await handle.result(timeout=60) for handle in handles] == [0, 1, 4, 9, 16]
        await until(lambda: asyncio.to_thread(look), 240)

    with measured.scenario(stack, "messages that are not ours"):
        drive(stack, body)

    assert "is not JSON" in kept.pop("not JSON at all")
    assert "unknown type 'sing'" in kept.pop('{"t": "sing"}')
    ((event, reason),) = kept.items()
    assert json.loads(event)["detail"] == {"hello": 1}
    assert "not an event of a topic" in reason
