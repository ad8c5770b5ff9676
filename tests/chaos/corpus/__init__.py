"""The corpus: some forty workflows as data, one of each kind of thing that the runtime can do."""

from tests.chaos.corpus import families, outside, steps, waits
from tests.chaos.corpus.case import CASES, Case, Outside, Program

__all__ = ["CASES", "Case", "Outside", "Program", "families", "outside", "steps", "waits"]
