"""examples/digest/fetch.py: a service that fails on purpose, and effects that happen once."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from polos import Polos

FETCH = Path(__file__).parents[2] / "examples" / "digest" / "fetch.py"
pytestmark = pytest.mark.sockets


def test_every_order_counts_once_however_often_it_is_sent(example: Callable[[str], ModuleType]) -> None:
    fetch = example("fetch")

    async def body() -> tuple[Any, Any, Any]:
        with fetch.Shop() as shop:
            async with Polos(local=":memory:") as polos:
                orders = fetch.Orders(shop=shop.url, items=["tea", "milk", "cups", "no!"])
                handle = await fetch.order_all.start(orders, client=polos)
                return await handle.result(timeout=30), await polos.describe(handle.id), shop

    outcome, detail, shop = asyncio.run(body())
    assert sorted(one.item for one in outcome.receipts) == ["cups", "milk", "tea"]
    assert sorted(one.number for one in outcome.receipts) == [1, 2, 3]
    assert outcome.refused == ["there is no 'no!' in this shop"]
    assert {one.item for one in shop.orders.values()} == {"cups", "milk", "tea"}
    assert {step.key: step.attempts for step in detail.steps} == {
        "order:tea": 2, "order:milk": 2, "order:cups": 2, "order:no!": 1,
    }  # fmt: skip
    assert not any("serve_forever" in thread.name for thread in threading.enumerate()), "the shop is still open"


@pytest.mark.process
def test_the_script_runs_by_itself() -> None:
    done = subprocess.run([sys.executable, str(FETCH)], capture_output=True, text=True, timeout=40, check=True)
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == "6 orders took 11 requests; the shop counted 5, each once"
