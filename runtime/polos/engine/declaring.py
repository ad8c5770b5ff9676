"""What a deployment runs in a process of its own: import an application, write down what it declares, and end.

    python -m polos.engine.declaring VARIABLE FILE

VARIABLE is the environment variable that names the application.
FILE gets {"declared": ...} or {"failed": {"error", "traceback"}}, at once or not at all.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from polos import loading
from polos.engine.registration import Declarations
from polos.workflow import get_all_workflows


def main(variable: str, file: str) -> None:
    """Does not return: threads and exit handlers of the application must not keep the process."""
    _be_the_first_to_die()
    try:
        loading.load(variable, "the application")
        outcome: dict[str, Any] = {"declared": Declarations.of(get_all_workflows().values()).to_json()}
    except BaseException as error:  # noqa: BLE001 - sys.exit and the like are failures of the import, too
        outcome = {"failed": {"error": _first_line(error), "traceback": _traceback(error)}}
    part = Path(f"{file}.part")
    part.write_text(json.dumps(outcome))
    part.replace(file)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # the application may have closed them
            stream.flush()
    os._exit(0)


def _be_the_first_to_die() -> None:
    """Have the kernel end this process, and not the one that has to answer, when memory runs out (proc(5))."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _first_line(error: BaseException) -> str:
    return "".join(traceback.format_exception_only(error)).strip()


def _traceback(error: BaseException) -> str:
    """As Python prints it, but for the frames of the import itself."""
    whole = traceback.TracebackException.from_exception(error)
    told: traceback.TracebackException | None = whole
    while told is not None:
        told.stack = traceback.StackSummary.from_list([frame for frame in told.stack if not _is_ours(frame.filename)])
        told = told.__cause__ or told.__context__
    return "".join(whole.format())


def _is_ours(filename: str) -> bool:
    return filename.startswith("<frozen importlib") or filename in (__file__, loading.__file__, _IMPORTLIB)


_IMPORTLIB = str(sys.modules["importlib"].__file__)

if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
