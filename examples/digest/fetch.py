"""Call a service that fails on purpose, and see that every effect happens once.

`Shop` is the service: it answers on 127.0.0.1, loses every other request, and counts an order once however often it is
sent, because the step hands it an idempotency key that stays the same over attempts, restarts and replays.

    python examples/digest/fetch.py
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType

from pydantic import BaseModel

from polos import Polos, StepExecutionError, WorkflowContext, current_step, workflow

TIMEOUT = 5.0


class Orders(BaseModel):
    """What to order, and where."""

    shop: str
    items: list[str]


class Receipt(BaseModel):
    """What the shop made of one order."""

    item: str
    number: int


class Outcome(BaseModel):
    """What was ordered, and what the shop refused for good."""

    receipts: list[Receipt]
    refused: list[str]


@workflow
async def order_all(ctx: WorkflowContext, orders: Orders) -> Outcome:
    """Order everything at the same time, a step an item. A refusal (4xx) is not tried again; a failure (5xx) is."""
    results = await asyncio.gather(
        *[
            ctx.step.run(f"order:{item}", order, orders.shop, item, max_retries=6, base_delay=0.05, retry_on=is_passing)
            for item in orders.items
        ],
        return_exceptions=True,
    )
    receipts = [one for one in results if isinstance(one, Receipt)]
    refused = [one.message for one in results if isinstance(one, StepExecutionError)]
    return Outcome(receipts=receipts, refused=refused)


class Refused(Exception):
    """The shop has said no; asking again would not help."""


def is_passing(error: BaseException) -> bool:
    return not isinstance(error, Refused)


async def order(shop: str, item: str) -> Receipt:
    """POST one order. The standard library has no async client, so the call waits in a thread."""
    request = urllib.request.Request(
        f"{shop}/orders",
        data=json.dumps({"item": item}).encode(),
        headers={"Content-Type": "application/json", "Idempotency-Key": current_step().idempotency_key},
    )
    return await asyncio.to_thread(_post, request)


def _post(request: urllib.request.Request) -> Receipt:
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as reply:
            return Receipt.model_validate_json(reply.read())
    except urllib.error.HTTPError as error:
        with error:
            text = error.read().decode()
        if 400 <= error.code < 500:
            raise Refused(text) from None
        raise


class Shop:
    """A service on 127.0.0.1, in threads of this process, from `with` to the end of it.

    The first try of every order is lost: for every other one before it is counted (503), for the rest after it (the
    connection breaks, and the caller can't know).
    """

    def __init__(self) -> None:
        self.orders: dict[str, Receipt] = {}
        self.requests = 0
        self._seen: dict[str, int] = {}
        self._lock = threading.Lock()
        shop = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                shop._answer(self, self.headers["Idempotency-Key"], body["item"])

            def log_message(self, format: str, *args: object) -> None:
                """Keep quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Shop:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _answer(self, request: BaseHTTPRequestHandler, key: str, item: str) -> None:
        with self._lock:
            self.requests += 1
            place = list(self._seen).index(key) if key in self._seen else len(self._seen)
            tries = self._seen[key] = self._seen.get(key, 0) + 1
            if not item.isalpha():
                _reply(request, 422, f"there is no {item!r} in this shop".encode())
            elif tries == 1 and place % 2 == 0:
                _reply(request, 503, b"try again")
            else:
                receipt = self.orders.setdefault(key, Receipt(item=item, number=len(self.orders) + 1))
                if tries == 1:
                    request.close_connection = True  # the order is taken, the answer is lost
                else:
                    _reply(request, 200, receipt.model_dump_json().encode())


def _reply(request: BaseHTTPRequestHandler, status: int, body: bytes) -> None:
    request.send_response(status)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)


async def main() -> None:
    items = ["apples", "bread", "cheese", "dates", "eggs!", "figs"]
    with Shop() as shop, tempfile.TemporaryDirectory() as folder:
        async with Polos(local=Path(folder) / "fetch.db") as polos:
            outcome = await order_all.run(polos, Orders(shop=shop.url, items=items), timeout=60)
        for receipt in sorted(outcome.receipts, key=lambda one: one.number):
            print(f"order {receipt.number}: {receipt.item}")
        for reason in outcome.refused:
            print(f"refused: {reason}")
        print(f"{len(items)} orders took {shop.requests} requests; the shop counted {len(shop.orders)}, each once")


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        sys.exit(130)
