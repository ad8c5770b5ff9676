"""Fan-out research: sub-questions as children, searches side by side in each, a summary of what succeeded."""

# ruff: noqa: T201

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from pydantic import BaseModel, Field

from polos import Polos, WorkflowContext, batch_invoke, queue, workflow
from polos.types.types import BatchWorkflowInput

search_queue = queue("search", concurrency_limit=2)


class Question(BaseModel):
    text: str
    depth: int = Field(default=2, ge=1)


@dataclass
class Finding:
    source: str
    facts: list[str] = field(default_factory=list)


class Report(BaseModel):
    question: str
    findings: dict[str, list[str]]
    failed: list[str] = []


async def search(source: str, text: str) -> Finding:
    if "nonsense" in text:
        raise LookupError(f"{source} knows nothing of {text}")
    await asyncio.sleep(0)
    return Finding(source, [f"{source}: {word}" for word in text.split()])


@workflow(id="sub-question", queue=search_queue)
async def sub_question(ctx: WorkflowContext, question: Question) -> list[Finding]:
    searches = [
        ctx.step.run(f"search_{source}", search, source, question.text, max_retries=0) for source in ("web", "library")
    ]
    return list(await asyncio.gather(*searches))


@workflow(id="deep-research")
async def deep_research(ctx: WorkflowContext, question: Question) -> Report:
    async def plan() -> list[str]:
        return [f"{question.text} {aspect}" for aspect in ("past", "future", "nonsense")[: question.depth]]

    aspects = await ctx.step.run("plan", plan)
    results = await ctx.step.batch_invoke_and_wait(
        "answers", [BatchWorkflowInput(id="sub-question", payload=Question(text=aspect)) for aspect in aspects]
    )
    findings = {
        aspect: [fact for finding in one.result for fact in finding.facts]
        for aspect, one in zip(aspects, results, strict=True)
        if one.success
    }
    failed = [one.error or "" for one in results if not one.success]
    return Report(question=question.text, findings=findings, failed=failed)


async def main() -> None:
    async with Polos(log_file="polos.log") as polos:
        report = await deep_research.run(polos, Question(text="moon"), timeout=30)
        print(type(report).__name__, report.findings)
        report = await deep_research.run(polos, {"text": "mars", "depth": 3}, timeout=30)
        print(sorted(report.findings), len(report.failed), "knows nothing of mars nonsense" in report.failed[0])
        handles = await batch_invoke(
            polos, [BatchWorkflowInput(id="sub-question", payload=Question(text=text)) for text in ("sun", "earth")]
        )
        for handle in handles:
            while (found := await handle.get(polos))["status"] not in ("completed", "failed"):
                await asyncio.sleep(0.05)
            print(found["status"], [type(one).__name__ for one in found["result"]], found["result"][0].facts)


if __name__ == "__main__":
    asyncio.run(main())
