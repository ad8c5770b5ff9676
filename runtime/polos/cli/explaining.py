"""Saying in plain words why an execution is where it is: from its details alone, without a look at anything else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from polos.cli.following import describe_wait
from polos.cli.timeline import length
from polos.limits import Limits
from polos.types.types import ExecutionDetail, StepDetail

_LONG_IN_LINE: Final = timedelta(minutes=1)
_DONE: Final = ("completed", "failed", "abandoned")
_RUNNING: Final = 5
_DEATHS: Final = Limits().max_deaths


@dataclass(frozen=True, slots=True)
class Wait:
    """One thing that an execution waits for. `wakes` says what would end it."""

    step: str
    kind: str
    what: str
    since: datetime | None
    until: datetime | None
    wakes: str
    children: list[str] = field(default_factory=list[str])


@dataclass(frozen=True, slots=True)
class Explanation:
    """`summary` is one sentence, `waits` what it waits for, `advice` what can be done, a sentence each."""

    execution_id: str
    workflow_id: str
    status: str
    summary: str
    waits: list[Wait]
    advice: list[str]


def explain(detail: ExecutionDetail, now: datetime) -> Explanation:
    """Why an execution is where it is."""
    waits = [] if detail.completed_at is not None else [_wait(detail, step) for step in detail.waiting_for]
    match detail.status:
        case "queued" | "waiting" | "running" if detail.paused_at is not None:
            summary = f"It has been paused since {_time(detail.paused_at)} ({length(now - detail.paused_at)})."
            advice = [f"It goes on after: polos unpause {detail.id}."]
        case "queued" | "waiting" | "running" if detail.held_by is not None:
            held = detail.held_by
            of = f"Its {held.kind} {held.name} has been paused since {_time(held.since)} ({length(now - held.since)})"
            summary = f"{of}: it starts nothing new."
            advice = [f"It goes on after: polos {held.kind}s unpause {held.name}."]
        case "queued" | "waiting" if detail.next_try_at is not None:
            summary, advice = _resting(detail, detail.next_try_at, now)
        case "queued":
            summary, advice = _queued(detail, now)
        case "running":
            summary, advice = _running(detail, now)
        case "waiting":
            summary, advice = _waiting(waits)
        case "failed":
            summary, advice = _failed(detail)
        case "cancelled":
            summary, advice = f"It was cancelled {_at(detail.completed_at)}{_during(detail)}.", [_again(detail)]
        case "timed_out":
            summary, advice = _timed_out(detail)
        case _:
            took = length((detail.completed_at or now) - detail.created_at)
            summary, advice = f"It completed {_at(detail.completed_at)}, after {took}.", []
    if detail.completed_at is None and detail.timeout_at is not None:
        advice.append(f"The whole execution may take until {_time(detail.timeout_at)}; then it is timed out.")
    return Explanation(detail.id, detail.workflow_id, detail.status, summary, waits, advice)


def sentences(found: Explanation, now: datetime) -> Iterator[str]:
    """The explanation for people, a line each."""
    yield found.summary
    for wait in found.waits:
        since = f" since {_time(wait.since)} ({length(now - wait.since)})" if wait.since is not None else ""
        until = f", until {_time(wait.until)} at the latest" if wait.until is not None else ""
        if wait.kind in ("timer", "step") and wait.until is not None:
            until = f", until {_time(wait.until)} (in {length(wait.until - now)})"
        yield f"  {wait.step}: waits for {wait.what}{since}{until}."
        yield f"    {wait.wakes}"
    yield from found.advice


def _wait(detail: ExecutionDetail, step: StepDetail) -> Wait:
    due, child = step.detail.get("due"), step.detail.get("child")
    topic = step.detail.get("topic")
    what = describe_wait(step.model_copy(update={"detail": {**step.detail, "due": None}}))
    expiry = "; at its time limit the step fails with StepTimeoutError" if due is not None else ""
    match step.kind:
        case "event":
            wakes = f"An event there wakes it: polos publish {topic or 'TOPIC'} JSON{expiry}."
        case "suspend":
            wakes = f"This wakes it: polos resume {detail.id} {step.key} JSON{expiry}."
        case "timer":
            wakes = "It goes on by itself at that time."
        case "child":
            wakes = "The end of the child wakes it" + (f": polos why {child}." if child is not None else ".")
        case "batch":
            wakes = "The end of the last of them wakes it."
        case _:
            because = f": {step.error.type}: {step.error.message}" if step.error is not None else ""
            wakes = f"Attempt {step.attempts} failed{because}. The next comes by itself."
    since = step.ended_at if step.status == "retrying" else step.started_at
    children = [child] if child is not None else list(step.detail.get("open", []))
    return Wait(step.key, step.kind, what, since, due, wakes, children)


def _queued(detail: ExecutionDetail, now: datetime) -> tuple[str, list[str]]:
    since = f"since {_time(detail.created_at)} ({length(now - detail.created_at)})"
    line = detail.in_line
    if line is not None:
        key = f" for the key {line.concurrency_key!r}" if line.concurrency_key is not None else ""
        what = "It is to go on, but" if line.resumes else f"It has been in line {since}:"
        summary = f"{what} its queue {line.queue!r} has the {line.limit} running that its limit{key} allows."
        ahead = {0: "It is next", 1: "One stands before it"}.get(line.ahead, f"{line.ahead} stand before it")
        advice = [f"{ahead}. It goes on by itself when one of these ends or suspends:"]
        advice += [f"  polos why {one}" for one in line.running[:_RUNNING]]
        return summary, advice
    again = "It is to go on, and" if detail.steps else "It has not begun: it"
    summary = f"{again} has been in the queue {since}."
    if now - detail.created_at < _LONG_IN_LINE:
        return summary, ["A worker takes it next: on the local backend `polos dev APP` is one."]
    return summary, [
        "No worker takes it. On the local backend: is `polos dev APP` running, with this workflow in it? On AWS: look "
        "at the log of the function that does the work, whether it fails or is throttled.",
    ]


def _resting(detail: ExecutionDetail, again: datetime, now: datetime) -> tuple[str, list[str]]:
    """Between two tries of the whole execution."""
    when = f"it is tried again at {_time(again)} (in {length(again - now)})"
    if detail.deaths >= 2:
        return (
            f"Its process died {detail.deaths} times in a row without getting any further; {when}.",
            [f"After {_DEATHS} deaths in a row it fails. {_REMEDIES['CrashLoopError']}"],
        )
    return f"Its code failed with an error that is no step's, for the {_nth(detail.retry_count)} time; {when}.", []


def _nth(number: int) -> str:
    return {1: "first", 2: "second", 3: "third"}.get(number, f"{number}th")


def _running(detail: ExecutionDetail, now: datetime) -> tuple[str, list[str]]:
    active = [step for step in detail.steps if step.status in ("started", "running")]
    parts = [
        f"{step.key}{f' since {_time(step.started_at)} ({length(now - step.started_at)})' if step.started_at else ''}"
        for step in active
    ]
    if active:
        return f"It is running: {', '.join(parts)}.", []
    done = [step for step in detail.steps if step.ended_at is not None]
    last = max(done, key=lambda step: step.ended_at or detail.created_at, default=None)
    since = last.ended_at if last is not None else detail.started_at
    after = f"after {last.key}" if last is not None else "at its beginning"
    ago = f", {length(now - since)} ago" if since is not None else ""
    return (
        f"It is running, {after}{ago}: a step is under way that has not been recorded yet, or its code is between two.",
        ["If its process has died, another one goes on with it within a minute."],
    )


def _waiting(waits: list[Wait]) -> tuple[str, list[str]]:
    if not waits:
        return (
            "It waits for no step: what it waited for has come.",
            ["A worker takes it next: on the local backend `polos dev APP` is one."],
        )
    count = "one thing" if len(waits) == 1 else f"{len(waits)} things"
    return f"It waits for {count}; meanwhile nothing runs.", []


def _failed(detail: ExecutionDetail) -> tuple[str, list[str]]:
    error = detail.error
    if error is None:
        return f"It failed {_at(detail.completed_at)}, with no error on record.", [_again(detail)]
    summary = f"It failed {_at(detail.completed_at)}: {error.type}: {error.message}"
    failed = [step for step in detail.steps if step.status == "failed" and step.error is not None]
    last = failed[-1] if failed else None
    advice: list[str] = []
    told = last is not None and last.attempts <= 1 and error.type.startswith("Step") and last.key in error.message
    told = told or error.type == "ChildWorkflowError"
    if last is not None and last.error is not None and not told:
        tries = f" after {last.attempts} attempts" if last.attempts > 1 else ""
        advice.append(f"The step {last.key} failed{tries}: {last.error.type}: {last.error.message}")
    elif last is None and detail.retry_count:
        advice.append(f"Its code was tried {detail.retry_count + 1} times.")
    child = next((step.detail["child"] for step in failed if step.detail.get("child")), None)
    if error.type == "ChildWorkflowError" and child is not None:
        advice.append(f"Why its child failed: polos why {child}")
    advice.append(_REMEDIES.get(error.type, "Mend the cause first, in the code or wherever the step reaches out to."))
    advice.append(f"Then it goes on from its last good step: polos retry {detail.id}")
    if last is not None:
        advice.append(f"Or try it on a copy: polos fork {detail.id} --from-step {last.key}")
    return summary, advice


_REMEDIES: Final = {
    "DuplicateStepKeyError": "Give each step a key of its own (polos check finds such keys), and deploy that.",
    "NonDeterminismError": "Give the changed step a new key, and deploy that.",
    "CrashLoopError": "Its process died again and again: look for memory, the function's time limit, a killed process.",
    "SerializationError": "Let the step return something that can be stored: JSON, pydantic models, dataclasses.",
    "PayloadTooLargeError": "Store the large value elsewhere and pass a reference to it.",
    "StepTimeoutError": "What it waited for did not come in time: give it more time, or handle StepTimeoutError.",
    "WorkflowNotFoundError": "Import the module that defines that workflow, and deploy that.",
}


def _timed_out(detail: ExecutionDetail) -> tuple[str, list[str]]:
    limit = f" of {length(detail.timeout)}" if detail.timeout is not None else ""
    summary = f"It reached its time limit{limit} {_at(detail.completed_at)}{_during(detail)}."
    return summary, ["Give it more time: @workflow(timeout=...) or run_timeout_seconds at its start.", _again(detail)]


def _during(detail: ExecutionDetail) -> str:
    open_steps = [step.key for step in detail.steps if step.status not in _DONE or step.status == "abandoned"]
    return f", during {', '.join(open_steps)}" if open_steps else ""


def _again(detail: ExecutionDetail) -> str:
    done = [step.key for step in detail.steps if step.status == "abandoned"]
    step = done[0] if done else "KEY"
    return f"A copy can go on from a step of it: polos fork {detail.id} --from-step {step}"


def _at(moment: datetime | None) -> str:
    return f"at {_time(moment)}" if moment is not None else ""


def _time(moment: datetime) -> str:
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S}"
