"""SPEC section 9: the reference run's price, every billed request counted."""

from __future__ import annotations

import asyncio

from tests.bench import bench_cost


def test_the_reference_run_stays_under_its_price() -> None:
    units = asyncio.run(bench_cost.measure())
    assert units["write units"] >= 10  # it was measured at all
    assert bench_cost.cost(units) <= bench_cost.LIMIT
