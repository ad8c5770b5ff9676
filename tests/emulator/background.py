"""Executions whose invocations die. They take minutes, so they run while the other scenarios do.

A process that dies in the emulator takes 30 s to be missed: that is the lease, in real time. From its second death on
an execution also pauses, for 1, 5 and 15 minutes. The pauses are the product's, and no setting shortens them, as nobody
would gain by it but this lane; so the lane moves the clock for the one execution that needs it, by moving the end of
the pause that the execution's item names to now, and sends the wake that would have come then.
"""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

from polos import Polos
from polos.aws.wire import to_json
from polos.core import items
from polos.engine import commands
from tests.emulator.driving import until
from tests.emulator.stack import Stack

KILLED, OVERLONG, STUCK, DOOMED = "slow-killed", "slow-overlong", "slow-stuck", "slow-doomed"


class Background:
    """`since` is the position in the emulator's log at which they began.

    `meanwhile` is the result of another execution, and what had been recorded of one that holds up its function then.
    """

    def __init__(self, stack: Stack, folder: Path) -> None:
        self._stack, self.folder = stack, folder
        self.since = len(stack.emulator.entries())
        self.meanwhile: tuple[int, list[str]] = (0, [])
        self._end = threading.Event()
        self._clock = threading.Thread(target=self._move_the_clock, name="clock of the doomed", daemon=True)

    def begin(self) -> None:
        import lane

        async def start() -> None:
            async with Polos(stack=self._stack.name) as polos:
                for name in (KILLED, OVERLONG, STUCK, DOOMED):
                    (self.folder / name).mkdir(parents=True)
                    workflow = getattr(lane, name.removeprefix("slow-"))
                    await workflow.start(str(self.folder / name), id=name, client=polos)
                await until(lambda: asyncio.to_thread((self.folder / STUCK / "body").exists))
                other = await lane.square.start(12, client=polos)
                result = await other.result(timeout=40)
                self.meanwhile = result, [step.key for step in (await polos.describe(STUCK)).steps]

        asyncio.run(start())
        self._clock.start()

    def end(self) -> None:
        self._end.set()
        self._clock.join(30)

    def _move_the_clock(self) -> None:
        table, queues = self._stack.client("dynamodb"), self._stack.client("sqs")
        outputs = self._stack.outputs()
        key = {items.PK: {"S": DOOMED}, items.SK: {"S": items.EXECUTION}}
        while not self._end.wait(2):
            item = table.get_item(TableName=outputs["TableName"], Key=key).get("Item", {})
            until = int(item.get(items.NOT_BEFORE, {"N": "0"})["N"])
            if items.ENDED in item or until <= time.time() * 1000:
                continue
            table.update_item(
                TableName=outputs["TableName"],
                Key=key,
                UpdateExpression=f"SET {items.NOT_BEFORE} = :now",
                ExpressionAttributeValues={":now": {"N": str(int(time.time() * 1000))}},
            )
            queues.send_message(QueueUrl=outputs["WakeQueueUrl"], MessageBody=to_json(commands.wake(DOOMED, "doomed")))
