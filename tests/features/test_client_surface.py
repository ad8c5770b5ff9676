"""SPEC 4: the client takes the names and arguments of upstream, and refuses others."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import polos
from polos import (
    BatchWorkflowInput,
    InvalidPayloadError,
    Polos,
    PolosClient,
    UsageError,
    WorkflowNotFoundError,
    batch_invoke,
    get_all_workflows,
    get_workflow,
)
from tests.features.client_workflows import Number, doubled


def test_an_unknown_workflow_or_option_is_named(local: Path) -> None:
    async def main() -> None:
        async with Polos(local=local) as client:
            with pytest.raises(WorkflowNotFoundError, match="'nowhere'") as raised:
                await client.invoke("nowhere", {})
            assert raised.value.workflow_id == "nowhere"
            with pytest.raises(TypeError, match="priority"):
                await doubled.invoke(client, Number(n=1), priority=3)
            assert await client.list_executions() == []

    asyncio.run(main())
    assert get_workflow("nowhere") is None
    assert get_workflow("client-double") is get_all_workflows()["client-double"] is doubled


def test_batch_invoke_starts_several(local: Path) -> None:
    async def main() -> None:
        async with Polos(local=local) as client:
            inputs = [BatchWorkflowInput(id="client-double", payload=Number(n=n)) for n in range(3)]
            handles = await batch_invoke(client, inputs, session_id="s")
            handles += await client.batch_invoke(inputs, user_id="u")
            assert [(await one.result()).n for one in handles] == [0, 2, 4, 0, 2, 4]
            assert {one.session_id for one in handles[:3]} == {"s"}

    asyncio.run(main())


def test_the_names_of_upstream_are_there() -> None:
    names = [
        "Polos",
        "PolosClient",
        "workflow",
        "Workflow",
        "WorkflowContext",
        "WorkflowState",
        "ExecutionHandle",
        "Queue",
        "queue",
        "hook",
        "HookContext",
        "HookResult",
        "HookAction",
        "events",
        "schedules",
        "EventPayload",
        "BatchEventPayload",
        "SchedulePayload",
        "BatchWorkflowInput",
        "BatchStepResult",
        "batch_invoke",
        "StepExecutionError",
        "WorkflowTimeoutError",
        "Worker",
        "get_workflow",
        "get_all_workflows",
    ]
    assert [name for name in names if not hasattr(polos, name)] == []
    from polos.features import events, schedules
    from polos.types import types

    assert (polos.events, polos.schedules) == (events, schedules)
    assert types.BatchWorkflowInput is BatchWorkflowInput


def test_an_option_that_does_not_exist_is_refused_and_upstream_ones_are_taken(local: Path) -> None:
    with pytest.raises(TypeError, match="locl"):
        Polos(locl=":memory:")
    with pytest.raises(UsageError, match="channels"):
        Polos(channels=[object()])
    for count in (0, -1, 1.5, True):
        with pytest.raises(UsageError, match="max_concurrent_workflows"):
            Polos(max_concurrent_workflows=count)  # type: ignore[arg-type]
    PolosClient(project_id="p", api_url="http://localhost:8080", api_key="k", deployment_id=None)
    Polos(port=8001, channels=None, max_concurrent_workflows=None)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (BatchWorkflowInput(id="nowhere"), WorkflowNotFoundError),
        (BatchWorkflowInput(id="client-double", payload={"n": "x"}), InvalidPayloadError),
    ],
)
def test_batch_invoke_starts_nothing_where_one_of_them_is_wrong(
    local: Path, wrong: BatchWorkflowInput, error: type[Exception]
) -> None:
    async def main() -> None:
        async with Polos(local=local) as client:
            with pytest.raises(error):
                await client.batch_invoke([BatchWorkflowInput(id="client-double", payload=Number(n=1)), wrong])
            assert await client.list_executions() == []
            assert await client.batch_invoke([]) == []

    asyncio.run(main())


def test_publish_takes_the_arguments_of_upstream(local: Path) -> None:
    async def main() -> None:
        async with Polos(local=local) as client:
            data = polos.events.EventData(data={})
            found = await polos.events.publish(
                client=client, topic="t", event_data=data, execution_id="x", root_execution_id=None
            )
            assert isinstance(found, int)

    asyncio.run(main())


def test_what_is_no_client_no_workflow_and_no_time_is_refused_by_name(local: Path) -> None:
    async def main() -> None:
        async with Polos(local=local) as client:
            handle = await doubled.invoke(client, Number(n=1))
            for call in (handle.get, handle.cancel):
                with pytest.raises(UsageError, match="'mine' is no client"):
                    await call("mine")  # type: ignore[arg-type]
            for wrong in ("5", -1, float("nan"), True):
                with pytest.raises(InvalidPayloadError, match=r"timeout must be a number of seconds from 0"):
                    await handle.result(timeout=wrong)  # type: ignore[arg-type]
            for act in (client.pause_workflow, client.unpause_workflow):
                with pytest.raises(UsageError, match="5 is no workflow"):
                    await act(5)  # type: ignore[arg-type]
            assert await handle.result(timeout=5) == Number(n=2)
            assert await handle.result(timeout=0) == Number(n=2)

    asyncio.run(main())


def test_a_client_has_one_backend(local: Path) -> None:
    with pytest.raises(UsageError, match="stack= and local="):
        Polos(stack="shop", local=local)
