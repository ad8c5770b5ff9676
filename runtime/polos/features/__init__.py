"""Events and schedules, from outside of a workflow."""
