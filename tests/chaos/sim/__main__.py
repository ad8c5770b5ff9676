"""`python -m tests.chaos.sim SEED [--shape SHAPE] [--whole]`: run one seed, and print it; shrunk if it fails."""

from __future__ import annotations

import argparse
import sys

from tests.chaos.sim.seeds import be_quiet
from tests.chaos.sim.shapes import SHAPES
from tests.chaos.sim.shrink import report, shrink
from tests.chaos.sim.simulate import simulate


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.sim", description=__doc__)
    parser.add_argument("seed", type=int)
    parser.add_argument("--shape", choices=sorted(SHAPES), help="this kind of workload, instead of the seed's own")
    parser.add_argument("--whole", action="store_true", help="do not shrink a run that fails")
    asked = parser.parse_args()
    be_quiet()
    outcome = simulate(asked.seed, shape=asked.shape, trace=True)
    if outcome.violations:
        sys.stdout.write(report(outcome if asked.whole else shrink(outcome)) + "\n")
        return 1
    sys.stdout.write("\n".join(outcome.lines) + f"\nseed {asked.seed}, {outcome.plan.shape}: every law holds\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
