"""SPEC 11 with real processes: `polos dev`, a `polos run` that others tell things, Ctrl-C, and a reload."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest

from polos.local.backend import local_backend

pytestmark = [pytest.mark.process, pytest.mark.timeout(240)]
Start = Callable[..., subprocess.Popen[str]]
PATIENCE = 50.0  # of a busy machine: starting one process can take seconds


UPLOADS = """
from polos import EventPattern, WorkflowContext, workflow


@workflow(trigger_on_event=EventPattern({"source": ["aws.s3"], "detail-type": ["Object Created"]}))
async def on_upload(ctx: WorkflowContext, event: dict) -> str:
    return event["detail"]["object"]["key"]
"""


def output(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """The exit code and what was printed, of a process that ends by itself."""
    with process:
        try:
            stdout, stderr = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    return process.returncode, stdout, stderr


def wait_for(process: subprocess.Popen[str], words: str) -> str:
    """Read lines of standard output until one has these words."""
    return _line(process, process.stdout, lambda line: words in line)


def _line(process: subprocess.Popen[str], stream: IO[str] | None, wanted: Callable[[str], bool]) -> str:
    assert stream is not None
    limit = threading.Timer(PATIENCE, process.kill)
    limit.start()
    try:
        seen: list[str] = []
        for line in stream:
            seen.append(line)
            if wanted(line):
                return line
    finally:
        limit.cancel()
    raise AssertionError(f"the process never said it, only {seen}")


def stop(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Ctrl-C. The exit code, and standard error."""
    with process:
        process.send_signal(signal.SIGINT)
        try:
            _, stderr = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    return process.returncode, stderr


def status(start: Start, execution_id: str) -> str:
    code, stdout, stderr = output(start("show", execution_id, "--json"))
    return json.loads(stdout)["status"] if code == 0 else stderr  # at first there is no database, or no execution


def until(start: Start, execution_id: str, wanted: str) -> None:
    end = time.monotonic() + PATIENCE
    while (found := status(start, execution_id)) != wanted:
        assert time.monotonic() < end, f"{execution_id} is still {found}"
        time.sleep(0.1)


def test_dev_runs_what_others_start_publish_and_resume(processes: Start) -> None:
    dev = processes("dev", "greetings.py", "--no-reload")
    try:
        assert output(processes("run", "asks", "--app", "greetings.py", "--no-wait", "--id", "one"))[1] == "one\n"
        wait_for(dev, "one  started")
        assert output(processes("publish", "orders", '{"item": "tea"}'))[0] == 0
        assert output(processes("resume", "one", "confirm", "true"))[0] == 0
        wait_for(dev, "one  completed")
    finally:
        code, stderr = stop(dev)
    assert code == 0
    assert "stopping" in stderr
    assert "Traceback" not in stderr
    shown = json.loads(output(processes("show", "one", "--json"))[1])
    assert shown["result"] == [{"item": "tea"}, True]


def test_dev_starts_what_a_native_event_triggers(processes: Start, place: Path) -> None:
    (place / "uploads.py").write_text(UPLOADS, encoding="utf-8")
    put = ("publish", "--source", "aws.s3", "--detail-type", "Object Created", "--id", "e1")
    dev = processes("dev", "uploads.py", "--no-reload", "--json")
    try:
        _line(dev, dev.stderr, lambda line: "on_upload (on native events)" in line)
        local = local_backend(place / ".polos" / "local.db")
        while not local.backend.default_bus.list():
            time.sleep(0.05)
        local.close()
        for _ in range(2):
            code, stdout, _ = output(processes(*put, '{"object": {"key": "cat.png"}}'))
            assert (code, stdout) == (0, "put the event e1 of aws.s3 on the default bus\n")
        line = json.loads(wait_for(dev, '"completed"'))
    finally:
        stop(dev)
    assert line["execution"]["workflow_id"] == "on_upload"
    assert json.loads(output(processes("show", line["execution"]["id"], "--json"))[1])["result"] == "cat.png"
    assert len(json.loads(output(processes("list", "--json"))[1])["executions"]) == 1


def test_dev_cancels_an_execution_and_says_so(processes: Start) -> None:
    dev = processes("dev", "greetings", "--no-reload", "--json")
    try:
        output(processes("run", "asks", "--app", "greetings", "--no-wait", "--id", "one"))
        wait_for(dev, '"started"')
        output(processes("cancel", "one"))
        line = json.loads(wait_for(dev, '"cancelled"'))
    finally:
        stop(dev)
    assert (line["execution"]["id"], line["execution"]["status"]) == ("one", "cancelled")


def test_dev_goes_on_with_the_new_code_when_a_file_changes(processes: Start, place: Path) -> None:
    source = place / "greetings.py"
    dev = processes("dev", "greetings.py")
    try:
        output(processes("run", "asks", "--app", "greetings.py", "--no-wait", "--id", "one"))
        wait_for(dev, "one  started")
        source.write_text(source.read_text(encoding="utf-8") + "\n\nthis is no python\n", encoding="utf-8")
        _line(dev, dev.stderr, lambda line: line.startswith("polos:") and "SyntaxError" in line)
        better = source.read_text(encoding="utf-8").replace("this is no python", "").replace("[event.data,", '["new",')
        source.write_text(better, encoding="utf-8")
        wait_for(dev, "one  goes on")
        output(processes("publish", "orders", "1"))
        output(processes("resume", "one", "confirm", "2"))
        wait_for(dev, "one  completed")
    finally:
        stop(dev)
    assert json.loads(output(processes("show", "one", "--json"))[1])["result"] == ["new", 2]


def test_run_in_its_own_process_hears_what_other_processes_say(processes: Start) -> None:
    run = processes("run", "asks", "--app", "greetings", "--id", "one")
    try:
        until(processes, "one", "waiting")
        assert output(processes("publish", "orders", '"tea"'))[0] == 0
        assert output(processes("resume", "one", "confirm", '"yes"'))[0] == 0
    except BaseException:
        run.kill()
        run.communicate()
        raise
    code, stdout, stderr = output(run)
    assert (code, json.loads(stdout)) == (0, ["tea", "yes"]), stderr


def test_run_that_is_interrupted_says_how_to_go_on_and_dev_does(processes: Start) -> None:
    run = processes("run", "asks", "--app", "greetings", "--id", "one")
    try:
        _line(run, run.stderr, lambda line: "waits for" in line)  # it is seen through
        until(processes, "one", "waiting")
    finally:
        code, stderr = stop(run)
    assert code == 130
    assert "polos dev" in stderr
    assert "Traceback" not in stderr
    dev = processes("dev", "greetings", "--no-reload")
    try:
        wait_for(dev, "one  goes on")
        output(processes("publish", "orders", "1"))
        output(processes("resume", "one", "confirm", "2"))
        wait_for(dev, "one  completed")
    finally:
        stop(dev)


def test_dev_without_reload_tells_an_application_that_fails_to_import(processes: Start, place: Path) -> None:
    (place / "faulty.py").write_text("1 / 0\n", encoding="utf-8")
    code, stdout, stderr = output(processes("dev", "faulty.py", "--no-reload"))
    assert (code, stdout) == (2, "")
    assert "ZeroDivisionError" in stderr.splitlines()[-1]


def test_the_worker_of_dev_ends_with_the_process_that_started_it(processes: Start) -> None:
    dev = processes("dev", "greetings", "--no-reload")
    output(processes("run", "hello", "--app", "greetings", "--input", '{"name": "x"}', "--no-wait"))
    wait_for(dev, "completed")
    dev.kill()
    dev.communicate()  # ends only when the worker has closed the pipes, too


def test_dev_stops_on_sigterm(processes: Start) -> None:
    dev = processes("dev", "greetings", "--no-reload")
    output(processes("run", "hello", "--app", "greetings", "--input", '{"name": "x"}', "--no-wait"))
    wait_for(dev, "completed")
    with dev:
        dev.terminate()
        try:
            assert dev.wait(PATIENCE) == 0
        finally:
            dev.kill()
