"""The snippets of the page, as written. What the page leaves undefined is supplied above each of them."""

# ruff: noqa: E402, I001, RET504, W293
# fmt: off
from __future__ import annotations

from typing import Any

from pydantic import BaseModel

calls: list[tuple[str, Any]] = []
results: list[dict[str, str]] = []


class ResearchInput(BaseModel):
    topic: str


class Response:
    def __init__(self, body: Any) -> None:
        self._body = body

    def json(self) -> Any:
        return self._body


class HttpClient:
    async def get(self, url: str) -> Response:
        calls.append(("get", url))
        return Response(results)


http_client = HttpClient()


async def summarize_results(found: list[dict[str, str]]) -> str:
    calls.append(("summarize", len(found)))
    return f"summary of {len(found)}"


def detailed_analysis(found: list[dict[str, str]]) -> str:
    calls.append(("detailed_analysis", len(found)))
    return f"analysis of {len(found)}"


async def generate_report(summary: str) -> str:
    calls.append(("generate_report", summary))
    return f"report on {summary}"


# ---- What is a workflow?

from polos import workflow, WorkflowContext

@workflow
async def research(ctx: WorkflowContext, input: ResearchInput):
    # Step 1: Search for information
    results = await ctx.step.run("search_web", search_web, input.topic)
    
    # Step 2: Analyze results (dynamic logic)
    if len(results) > 10:
        summary = await ctx.step.run("summarize", summarize_results, results)
    else:
        summary = await ctx.step.run("detailed_analysis", detailed_analysis, results)
    
    # Step 3: Generate report
    report = await ctx.step.run("generate_report", generate_report, summary)
    
    return report

async def search_web(query: str):
    response = await http_client.get(f"https://api.search.com?q={query}")
    return response.json()


# ---- Step: The unit of durability


class Input(BaseModel):
    items: list[str] = []
    id: str = ""
    data: dict[str, str] = {}


async def process_item(item: str) -> str:
    calls.append(("process", item))
    return item.upper()


@workflow
async def process_items(ctx: WorkflowContext, input: Input):
    # ✅ GOOD: Unique step key per iteration
    for i, item in enumerate(input.items):
        await ctx.step.run(f"process_{i}", process_item, item)


# ---- Workflow composition


class ParentInput(BaseModel):
    name: str = "parent"


class ChildInput(BaseModel):
    message: str


@workflow
async def child_workflow(ctx: WorkflowContext, input: ChildInput) -> str:
    return f"child heard {input.message}"


@workflow
async def parent_workflow(ctx: WorkflowContext, input: ParentInput):
    # Invoke child and wait for result
    result = await ctx.step.invoke_and_wait(
        "call_child",
        child_workflow,
        ChildInput(message="Hello!")
    )
    
    # Parent resumes here with result
    return result


# ---- Waiting


async def request_approval(data: dict[str, str]) -> None:
    calls.append(("request_approval", data))


async def execute_action(data: dict[str, str]) -> None:
    calls.append(("execute_action", data))


async def handle_rejection(decision: dict[str, Any]) -> None:
    calls.append(("handle_rejection", decision))


@workflow
async def approval_workflow(ctx: WorkflowContext, input: Input):
    # Request approval
    await ctx.step.run("request", request_approval, input.data)
    
    # Wait for event (hours or days) - no compute consumed
    decision = await ctx.step.wait_for_event("wait_approval", topic=f"approval/{input.id}")
    
    # Resumes here when event arrives
    if decision.data["approved"]:
        await ctx.step.run("execute", execute_action, input.data)
    else:
        await ctx.step.run("handle_rejection", handle_rejection, decision.data)


# ---- Starting workflows


async def direct_invocation() -> Any:
    result = await research.invoke(ResearchInput(topic="AI agents"))
    return result


class UserSignUpEvent(BaseModel):
    user: str
    plan: str = "free"


onboarded: list[UserSignUpEvent] = []


@workflow(trigger_on_event="user/signup")
async def onboard_user(ctx: WorkflowContext, event: UserSignUpEvent):
    # runs when event occurs
    onboarded.append(event)


from polos import SchedulePayload

reports: list[SchedulePayload] = []


@workflow(schedule="0 9 * * *")  # Daily at 9am
async def daily_report(ctx: WorkflowContext, input: SchedulePayload):
    # runs at the defined schedule
    reports.append(input)
