"""The state of a workflow: rebuilt by replay, returned at the end."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class WorkflowState(BaseModel):
    """Base of a workflow's `state_schema`. Assignments are validated.

    The body changes `ctx.state` between steps; every replay rebuilds it by running the same code. What a step's
    callable changes in it is lost.
    """

    model_config = ConfigDict(validate_assignment=True)
