"""An application that cannot be imported fails its deployment with the reason, whatever it does (SPEC 8.7)."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.aws.registrar.deployment import DAILY, RAISES, Deployment, failed

pytestmark = [pytest.mark.sockets, pytest.mark.process]


def test_an_import_that_raises_fails_the_deployment_with_its_traceback(deployment: Deployment) -> None:
    reason = failed(deployment, RAISES)

    assert "The application 'shop' could not be imported: RuntimeError: no database" in reason
    assert 'shop.py", line 3, in deep' in reason
    assert "importlib" not in reason


def test_a_long_traceback_is_cut_from_its_start(deployment: Deployment) -> None:
    source = 'raise RuntimeError("".join(f"line {n} \\"ä\\"\\n" for n in range(5000)))'

    reason = failed(deployment, source)

    assert "[...]" in reason
    assert reason.rstrip().endswith('line 4999 "ä"')


def test_an_import_that_exits_fails_the_deployment(deployment: Deployment) -> None:
    assert "SystemExit: 3" in failed(deployment, "import sys\nsys.exit(3)")


def test_an_import_that_ends_the_process_fails_the_deployment(deployment: Deployment) -> None:
    reason = failed(deployment, "import os\nprint('so far', flush=True)\nos._exit(0)")

    assert "ended its process with the exit code 0" in reason
    assert reason.endswith("so far")


def test_an_import_that_is_killed_fails_the_deployment(deployment: Deployment) -> None:
    reason = failed(deployment, "import os, signal\nos.kill(0, signal.SIGKILL)")

    assert "was killed by SIGKILL" in reason


def test_an_import_that_hangs_is_stopped_and_says_where(deployment: Deployment) -> None:
    source = """
        import threading
        def wait_for_ever():
            threading.Event().wait()
        wait_for_ever()
    """

    reason = failed(deployment, source, import_seconds=6)

    assert "was stopped after 6 s" in reason
    assert "in wait_for_ever" in reason


def test_what_a_hanging_import_has_started_is_stopped_with_it(deployment: Deployment, tmp_path: Path) -> None:
    source = f"""
        import subprocess, sys, threading
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        open({str(tmp_path / "pid")!r}, "w").write(str(child.pid))
        threading.Event().wait()
    """
    failed(deployment, source, import_seconds=6)

    status = Path(f"/proc/{(tmp_path / 'pid').read_text()}/status")
    assert not status.exists() or "State:\tZ" in status.read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_an_import_that_takes_too_much_memory_is_stopped(deployment: Deployment) -> None:
    source = """
        kept = []
        for _ in range(100):
            kept.append(b"x" * 20_000_000)
    """

    reason = failed(deployment, source, memory=600)

    assert "MB of memory" in reason
    assert "parameter Memory" in reason


def test_an_import_that_prints_without_end_is_read_and_stopped(deployment: Deployment) -> None:
    reason = failed(deployment, "while True:\n    print('tick' * 1000)", import_seconds=6)

    assert "was stopped after 6 s" in reason


def test_threads_and_exit_handlers_of_the_application_do_not_keep_it(deployment: Deployment) -> None:
    deployment.code("import threading, atexit\nthreading.Thread(target=threading.Event().wait).start()\n" + DAILY)

    assert deployment.call("Create")["Status"] == "SUCCESS"


def test_a_missing_module_is_named(deployment: Deployment) -> None:
    assert "ModuleNotFoundError: No module named 'nowhere'" in failed(deployment, "import nowhere")


def test_a_bad_declaration_is_named(deployment: Deployment) -> None:
    source = DAILY.replace("0 8 * * *", "0 25 * * *")

    assert "WorkflowDefinitionError" in failed(deployment, source)


def test_what_an_import_prints_is_no_answer(deployment: Deployment) -> None:
    deployment.code("print('{\"declared\": {}}')\n" + DAILY)

    assert deployment.call("Create")["Status"] == "SUCCESS"
    assert deployment.schedules == {"daily": "0 8 * * *"}
