"""The programs of a plan by the names under which its executions run them."""

from __future__ import annotations

from tests.chaos.sim.programs import Op, Plan, Program


class Library:
    """`ops` are the operations of all programs by their keys."""

    def __init__(self, plan: Plan) -> None:
        self._programs, self.ops = _programs_of(plan)

    def program(self, program_id: str) -> Program:
        return self._programs.get(program_id, ())

    def goes_another_way(self, program_id: str) -> bool:
        """Whether a second run of the body may leave out what the first came to: a cleanup after its failure."""
        return any(_fails_into_cleanup(op) for op in self.program(program_id))


def _fails_into_cleanup(op: Op) -> bool:
    """Whether a body may fail inside a try that has a cleanup, and not fail there in its next run."""
    inner = [one for part in op.parts for one in part]
    here = op.kind == "try" and len(op.parts) > 1 and any(_holds_boom(one) for one in op.parts[0])
    return op.kind not in ("child", "batch", "spawn") and (here or any(map(_fails_into_cleanup, inner)))


def _holds_boom(op: Op) -> bool:
    inner = [one for part in op.parts for one in part]
    return op.kind == "boom" or (op.kind not in ("child", "batch", "spawn") and any(map(_holds_boom, inner)))


def _programs_of(plan: Plan) -> tuple[dict[str, Program], dict[str, Op]]:
    programs: dict[str, Program] = dict.fromkeys(("triggered", "batched", "ticked", "native", "natives"), ())
    ops: dict[str, Op] = {}

    def add(program: Program) -> None:
        for op in program:
            if op.key:
                ops[op.key] = op
            for number, part in enumerate(op.parts):
                programs[f"{op.key}.{number}"] = part
                add(part)

    for name, program in [*((root.id, root.program) for root in plan.roots), *plan.programs]:
        programs[name] = program
        add(program)
    return programs, ops
