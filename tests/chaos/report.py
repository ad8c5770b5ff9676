"""What the parts of a chaos run hand in, and the one table that is printed at its end.

A part is a function `run(effort) -> Iterable[Row]`, named in `parts.py`. A row is yielded when it is known; whatever a
part finds wrong is in `failures`, in words that let a reader find it again (workflow, seed, where it was killed).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Effort:
    """How much to do: `full` is what `make chaos` does, otherwise the part that CI runs. `cores` may work at once."""

    full: bool
    cores: int


@dataclass(frozen=True)
class Row:
    """One line of the table. `runs` counts whole runs (crash points, seeds); `note` is a figure or two in words."""

    part: str
    what: str
    runs: int
    seconds: float
    note: str = ""
    failures: Sequence[str] = field(default_factory=tuple)


_SHOWN_FAILURES = 20


def table(rows: Iterable[Row]) -> str:
    """All rows, then what failed."""
    given = list(rows)
    lines = [("part", "what", "runs", "failed", "seconds", "")]
    lines += [
        (row.part, row.what, f"{row.runs:,}", str(len(row.failures)), f"{row.seconds:.1f}", row.note) for row in given
    ]
    widths = [max(len(line[column]) for line in lines) for column in range(5)]

    def laid_out(line: tuple[str, ...]) -> str:
        cells = [
            cell.rjust(width) if 2 <= column <= 4 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=False))
        ]
        return "  ".join([*cells, line[5]]).rstrip()

    shown = [laid_out(lines[0]), "  ".join("-" * width for width in widths), *map(laid_out, lines[1:])]
    runs, seconds = sum(row.runs for row in given), sum(row.seconds for row in given)
    failed = [(row, failure) for row in given for failure in row.failures]
    shown += ["", f"{runs:,} runs in {seconds:.0f} s, {len(failed)} failed"]
    for row, failure in failed[:_SHOWN_FAILURES]:
        shown += ["", f"{row.part}, {row.what}: {failure}"]
    if len(failed) > _SHOWN_FAILURES:
        shown += ["", f"… and {len(failed) - _SHOWN_FAILURES} more"]
    return "\n".join(shown)
