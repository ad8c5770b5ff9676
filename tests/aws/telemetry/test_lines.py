"""What the functions say about their work: log lines and metrics through the log, each one bounded."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest

from polos.aws import metrics, telemetry
from polos.engine.threads import Threads
from polos.ports import Notice
from tests.aws.telemetry.telling import made


def test_a_line_says_what_it_is_about(lines: Callable[[], list[dict[str, Any]]]) -> None:
    told, log = made(), logging.getLogger("polos.engine")
    with told.about({"t": "wake", "x": "e1", "wf": "w"}):
        told.owns("w", 7)
        log.warning("inside")
    log.warning("outside")

    inside, outside = lines()
    about = {"stack": "mystack", "execution_id": "e1", "workflow_id": "w", "message_type": "wake", "epoch": 7}
    assert about.items() <= inside.items()
    assert outside["stack"] == "mystack"
    assert not {"execution_id", "epoch"} & outside.keys()


def test_a_heartbeat_says_what_it_is_about(lines: Callable[[], list[dict[str, Any]]]) -> None:
    told = made()
    with told.about({"t": "wake", "x": "e1", "wf": "w"}):
        join = Threads().start("beat", lambda: logging.getLogger("polos.aws").warning("beat"))
    join()

    (line,) = lines()
    assert line["execution_id"] == "e1"


def test_a_message_that_is_not_ours_cannot_break_the_log(lines: Callable[[], list[dict[str, Any]]]) -> None:
    told = made()
    with told.about({"t": ["x"], "x": {"a": 1}, "wf": "w" * 10_000}):
        logging.getLogger("polos.aws").warning("strange")

    (line,) = lines()
    assert line["workflow_id"] == "w" * 256
    assert not {"execution_id", "message_type"} & line.keys()


def test_a_metric_counts_under_the_stack_and_under_what_it_is_about(
    lines: Callable[[], list[dict[str, Any]]],
) -> None:
    told = made()
    told.message(telemetry.HANDLED, "wake")
    told.message(telemetry.HANDLED, "wake")
    told.waited("wake", 12)
    told.flush()
    told.flush()

    (line,) = lines()
    assert line["MessagesHandled"] == [1, 1]
    assert line["MessageAge"] == 12
    assert (line["stack"], line["queue"]) == ("mystack", "wake")
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "Polos"
    assert directive["Dimensions"] == [["stack"], ["stack", "queue"]]
    assert {"Name": "MessageAge", "Unit": "Milliseconds"} in directive["Metrics"]


def test_workflows_are_bounded(lines: Callable[[], list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch) -> None:
    known = {f"w{number:03}": None for number in range(60)}
    monkeypatch.setattr(telemetry, "get_all_workflows", lambda: known)
    told = made()
    for workflow_id in ("w000", "w049", "w050", "forged"):
        told.note(Notice.STARTED, workflow_id)
    told.flush()

    assert [line["workflow"] for line in lines()] == ["w000", "w049", "other", "other"]
    assert metrics.MOST == 50


def test_metrics_by_workflow_can_be_turned_off(lines: Callable[[], list[dict[str, Any]]]) -> None:
    told = made(by_workflow=False)
    told.note(Notice.STARTED, "w")
    told.flush()

    (line,) = lines()
    assert line["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["stack"]]
    assert "workflow" not in line


def test_a_flood_of_values_stays_one_valid_line(lines: Callable[[], list[dict[str, Any]]]) -> None:
    told = made()
    threads = [threading.Thread(target=lambda: [told.note(Notice.STEP_RETRIES, "w") for _ in range(50)]) for _ in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told.flush()

    (line,) = lines()
    assert len(line["StepRetries"]) == 100
