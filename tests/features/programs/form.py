"""A form in several steps: a worker, and a client that follows the run, resumes it and reads its result as a dict."""

# ruff: noqa: T201

import asyncio
import json
import os

from pydantic import BaseModel

from polos import PolosClient, Worker, WorkflowContext, workflow
from polos.features import events


class Person(BaseModel):
    first_name: str
    email: str


class Wishes(BaseModel):
    newsletter: bool = False


class Form(BaseModel):
    form_id: str


class FormResult(BaseModel):
    form_id: str
    status: str
    person: Person | None = None
    wishes: Wishes | None = None


@workflow(id="form")
async def form(ctx: WorkflowContext, payload: Form) -> FormResult:
    person = await ctx.step.suspend("person", data={"form_id": payload.form_id, "step": 1})
    wishes = await ctx.step.suspend("wishes", data={"form_id": payload.form_id, "step": 2}, timeout=86400)
    return FormResult(
        form_id=payload.form_id,
        status="completed",
        person=Person.model_validate(person.get("data", {})),
        wishes=Wishes.model_validate(wishes.get("data", {})),
    )


ANSWERS = {"person": {"first_name": "Ada", "email": "ada@example.com"}, "wishes": {"newsletter": True}}


async def drive(client: PolosClient) -> None:
    handle = await form.invoke(client, {"form_id": "f1"})
    async for event in events.stream_workflow(client, handle.root_workflow_id, handle.id):
        if event.event_type and event.event_type.startswith("suspend_"):
            step_key = event.event_type[len("suspend_") :]
            print("step", event.data.get("step"), step_key)
            await client.resume(
                suspend_workflow_id=handle.root_workflow_id,
                suspend_execution_id=handle.id,
                suspend_step_key=step_key,
                data=ANSWERS[step_key],
            )
    execution = await client.get_execution(handle.id)
    output = execution.get("result", {})
    print(output.get("status"), output["person"].get("first_name"), output["wishes"].get("newsletter"))
    print(type((await handle.get(client))["result"]).__name__, len(json.dumps(execution)) > 100)


async def main() -> None:
    client = PolosClient(
        project_id=os.getenv("POLOS_PROJECT_ID", "mine"), api_url=os.getenv("POLOS_API_URL", "http://localhost:8080")
    )
    worker = Worker(client=client, workflows=[form])
    print([one.id for one in worker.workflows])
    running = asyncio.create_task(worker.run())
    await drive(client)
    await worker.shutdown()
    await running


if __name__ == "__main__":
    asyncio.run(main())
