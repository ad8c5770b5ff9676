"""Queues that give messages up, without the hundred receipts that it takes."""

from __future__ import annotations

import json

from polos.testing.moto_account import MotoAccount


def send(account: MotoAccount, queue: str, body: object) -> None:
    text = body if isinstance(body, str) else json.dumps(body)
    account.aws.sqs.send_message(QueueUrl=account.queue_urls[queue], MessageBody=text)


def give_up(account: MotoAccount, queue: str, **counts: int) -> None:
    """A queue gives up its only message, as after the last receipt. `counts` are those of earlier deaths."""
    with account.lock:
        source, target = account.queue(queue), account.queue("DeadLetters")
        (message,) = source._messages
        source._messages.remove(message)
        message.delayed_until = message.visible_at = 0
        if counts:
            message.body = json.dumps({**json.loads(message.body), **counts})
        target.add_message(message)
