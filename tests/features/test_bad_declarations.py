"""SPEC 12: a declaration that cannot work is an error at import that says what to do."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest
from pydantic import BaseModel

from polos import InvalidPayloadError, WorkflowContext, WorkflowDefinitionError, workflow


@workflow(id="bad-declared")
async def declared(ctx: WorkflowContext) -> None: ...


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"id": "bad id"}, "bad id"),
        ({"id": "x" * 129}, "x" * 129),
        ({"id": ""}, "id"),
        ({"queue": 5}, "queue"),
        ({"queue": {"limit": 3}}, "limit"),
        ({"queue": {"concurrency_limit": 0}}, "concurrency limit"),
        ({"queue": {"concurrency_limit": True}}, "concurrency limit"),
        ({"queue": {"concurrency_limit": 1001}}, "whole number from 1 to 1,000. Leave it out for no limit"),
        ({"schedule": "0 0 * * *", "trigger_on_event": "t"}, "one trigger"),
        ({"trigger_on_event": "t", "batch_size": 0}, "batch_size"),
        ({"trigger_on_event": "t", "batch_timeout_seconds": -1}, "batch_timeout_seconds"),
        ({"trigger_on_event": "x" * 600}, "topic"),
        ({"max_retries": -1}, "max_retries"),
        ({"timeout": 0}, "timeout"),
    ],
)
def test_a_declaration_that_cannot_work_is_an_error_at_import(options: dict[str, Any], said: str) -> None:
    with pytest.raises((WorkflowDefinitionError, InvalidPayloadError), match=said):

        @workflow(**options)
        async def mistaken(ctx: WorkflowContext) -> None: ...


def test_two_workflows_of_one_id_and_odd_signatures_are_errors_at_import() -> None:
    with pytest.raises(WorkflowDefinitionError, match="Two workflows have the id 'bad-declared'"):

        @workflow(id="bad-declared")
        async def another(ctx: WorkflowContext) -> None: ...

    with pytest.raises(WorkflowDefinitionError, match="three_arguments"):

        @workflow
        async def three_arguments(ctx: WorkflowContext, one: int, two: int) -> None: ...

    with pytest.raises(WorkflowDefinitionError, match="none"):

        @workflow
        async def none() -> None: ...


@pytest.mark.parametrize(
    "options",
    [
        {"id": 5},
        {"queue": ""},
        {"queue": {"concurrency_limit": "3"}},
        {"queue": {"concurrency_limit": 2.5}},
        {"queue": {"name": None}},
        {"trigger_on_event": ""},
        {"trigger_on_event": 5},
        {"trigger_on_event": "t", "batch_size": "3"},
        {"trigger_on_event": "t", "batch_size": 2.5},
        {"trigger_on_event": "t", "batch_timeout_seconds": "soon"},
        {"schedule": {"cron": "0 9 * * *", "key": ""}},
        {"schedule": {"cron": "0 9 * * *", "key": 5}},
        {"schedule": "0 0 31 2 *"},
        {"state_schema": dict},
        {"state_schema": 5},
        {"max_retries": "2"},
        {"max_retries": 1.5},
        {"max_retries": True},
        {"timeout": "5"},
        {"timeout": float("inf")},
        {"timeout": float("nan")},
        {"on_start": "greet"},
    ],
)
def test_a_declaration_of_the_wrong_type_is_an_error_that_names_the_function(options: dict[str, Any]) -> None:
    with pytest.raises(WorkflowDefinitionError, match=r"of_the_wrong_type.*\.misdeclared|'misdeclared'"):

        @workflow(**options)
        async def misdeclared(ctx: WorkflowContext) -> None: ...


def test_what_is_no_function_that_returns_is_refused_as_a_workflow() -> None:
    with pytest.raises(WorkflowDefinitionError, match=r"'my-id'; write @workflow\(id=\.\.\.\)"):
        workflow("my-id")  # type: ignore[call-overload]
    with pytest.raises(WorkflowDefinitionError, match="decorates a function"):
        workflow(WorkflowContext)  # type: ignore[call-overload]
    with pytest.raises(WorkflowDefinitionError, match="telling .*is a generator"):

        @workflow
        async def telling(ctx: WorkflowContext) -> AsyncGenerator[int]:
            yield 1


class Order(BaseModel):
    id: str


def test_a_function_that_takes_its_input_without_the_context_is_an_error_at_import() -> None:
    with pytest.raises(WorkflowDefinitionError, match=r"only_input .*first .* is the context: write \(ctx, order\)"):

        @workflow
        async def only_input(order: Order) -> None: ...

    with pytest.raises(WorkflowDefinitionError, match=r"swapped .*first .* is the context"):

        @workflow
        async def swapped(payload: dict[str, int], ctx: WorkflowContext) -> None: ...


def test_an_option_that_does_not_exist_is_an_error_that_names_it_and_the_function() -> None:
    with pytest.raises(TypeError, match=r"mistaken .*has no option 'retries'.*max_retries"):

        @workflow(retries=3)  # type: ignore[call-overload]
        async def mistaken(ctx: WorkflowContext) -> None: ...
