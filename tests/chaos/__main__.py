"""`python -m tests.chaos [--full] [PART ...]`: run the parts, print one table, end with 1 if anything failed."""

from __future__ import annotations

import argparse
import importlib
import os
import sys

from tests.chaos.parts import PARTS
from tests.chaos.report import Effort, Row, table


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--full", action="store_true", help="everything, instead of the part that CI runs")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"only these: {', '.join(PARTS)}")
    asked = parser.parse_args()
    unknown = set(asked.parts) - PARTS.keys()
    if unknown:
        parser.error(f"there is no part {', '.join(sorted(unknown))}; the parts are {', '.join(PARTS)}")
    effort = Effort(full=asked.full, cores=len(os.sched_getaffinity(0)))
    rows: list[Row] = []
    for name, module in PARTS.items():
        if not asked.parts or name in asked.parts:
            for row in importlib.import_module(module).run(effort):
                rows.append(row)
                sys.stderr.write(f"{row.part}, {row.what}: {row.runs:,} runs, {len(row.failures)} failed\n")
                sys.stderr.writelines(f"  {failure}\n" for failure in row.failures)
                sys.stderr.flush()
    sys.stdout.write(table(rows) + "\n")
    return 1 if any(row.failures for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
