"""What the workflows of several tests are given and keep, and steps by their key."""

from __future__ import annotations

from pydantic import BaseModel

from polos import WorkflowState
from polos.types.types import StepDetail


class Order(BaseModel):
    item: str
    count: int = 1


class Tally(WorkflowState):
    count: int = 0


def by_key(steps: list[StepDetail]) -> dict[str, StepDetail]:
    return {step.key: step for step in steps}
