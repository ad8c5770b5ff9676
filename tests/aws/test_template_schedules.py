"""Schedule expressions that stand in template.yaml: no linter reads them, and Scheduler would refuse the deployment."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.aws.template import TEMPLATE
from tests.core import aws_cron


def _expressions(part: Any) -> Iterator[Any]:
    if isinstance(part, dict):
        for name, value in part.items():
            if name in ("ScheduleExpression", "Schedule"):
                yield value
            yield from _expressions(value)
    elif isinstance(part, list):
        for value in part:
            yield from _expressions(value)


def check(expression: Any) -> None:
    """Raises `ValueError` for what Scheduler would not take (User Guide, "Schedule types in EventBridge Scheduler")."""
    if not isinstance(expression, str):
        raise ValueError(f"not a literal: {expression}")
    rate = re.fullmatch(r"rate\(([1-9][0-9]*) (minute|hour|day)(s?)\)", expression)
    if rate is None:
        aws_cron.parse(expression)
    elif (rate[1] == "1") == bool(rate[3]):
        raise ValueError(f"one is singular, more are plural: {expression}")


def test_every_schedule_of_the_template_is_one_that_scheduler_takes() -> None:
    found = list(_expressions(TEMPLATE["Resources"]))

    assert found
    for expression in found:
        check(expression)


@pytest.mark.parametrize(
    "expression",
    [
        "rate(6 hour)",
        "rate(1 hours)",
        "rate(0 hours)",
        "rate(6hours)",
        "rate(2 weeks)",
        "cron(0 8 * * *)",
        "cron(0 8 * * * *)",
        "0 8 * * *",
        {"Ref": "Often"},
    ],
)
def test_another_one_is_found(expression: Any) -> None:
    with pytest.raises(ValueError, match="."):
        check(expression)


@pytest.mark.parametrize("expression", ["rate(1 hour)", "rate(30 minutes)", "cron(0 8 * * ? *)"])
def test_a_good_one_is_none_of_them(expression: str) -> None:
    check(expression)
