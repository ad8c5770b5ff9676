"""Measure a folder: a child workflow per subfolder, an approval, a report.

    digest ─ find_folders ─┬─ measure:docs    (child: list_files, batch_0, batch_1, …)
                           ├─ measure:src     (child: …)
                           └─ …
           ─ approval      (waits for an event, at most `approval_seconds`; nothing runs meanwhile)
           ─ write_report  (the same bytes however often it runs)

Only steps touch the disk: what a step has returned is on record, and a replay gets the record.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from pathlib import Path

from pydantic import BaseModel, Field

from polos import StepTimeoutError, WorkflowContext, current_step, workflow

SKIPPED = {"__pycache__", "node_modules", "build", "dist", "venv"}
TOP = "."  # the files that lie directly in the folder


class DigestRequest(BaseModel):
    """What to measure, and where the report goes. `pace` is how long a batch takes at least, for those who watch."""

    folder: str
    report: str
    batch_size: int = Field(default=20, ge=1)
    approval_seconds: float = Field(default=600, gt=0)
    pace: float = Field(default=0, ge=0)
    log: str | None = None


class Subfolder(BaseModel):
    """A subfolder by its path inside the folder, and how many files are in it."""

    name: str
    files: int


class MeasureRequest(BaseModel):
    """The work of one child."""

    folder: str
    name: str
    batch_size: int
    pace: float = 0
    log: str | None = None


class Measured(BaseModel):
    """What a batch, a subfolder or the whole folder comes to. `sha256` covers every path and every byte."""

    name: str
    files: int = 0
    bytes: int = 0
    lines: int = 0
    sha256: str = ""


class Digest(BaseModel):
    """The result of `digest`. `report` is None if the report was not approved in time."""

    approved: bool
    approved_by: str | None
    total: Measured
    report: str | None


@workflow
async def digest(ctx: WorkflowContext, request: DigestRequest) -> Digest:
    """Measure every subfolder at the same time, ask for approval, write the report."""
    folders = await ctx.step.run("find_folders", find_folders, request.folder, request.log)
    measured: list[Measured] = await asyncio.gather(
        *[
            ctx.step.invoke_and_wait(
                f"measure:{one.name}",
                measure,
                MeasureRequest(
                    folder=request.folder,
                    name=one.name,
                    batch_size=request.batch_size,
                    pace=request.pace,
                    log=request.log,
                ),
            )
            for one in folders
        ]
    )
    total = add_up(Path(request.folder).name, measured)
    try:
        answer = await ctx.step.wait_for_event(
            "approval", topic=approval_topic(ctx.execution_id), timeout=request.approval_seconds
        )
    except StepTimeoutError:
        return Digest(approved=False, approved_by=None, total=total, report=None)
    if not answer.data["approved"]:
        return Digest(approved=False, approved_by=answer.data["by"], total=total, report=None)
    report = await ctx.step.run("write_report", write_report, request.report, total, measured, request.log)
    return Digest(approved=True, approved_by=answer.data["by"], total=total, report=report)


@workflow
async def measure(ctx: WorkflowContext, request: MeasureRequest) -> Measured:
    """Measure one subfolder, a batch of files a step: after a crash only the batch under way is measured again."""
    files = await ctx.step.run("list_files", list_files, request.folder, request.name, request.log)
    batches = [files[at : at + request.batch_size] for at in range(0, len(files), request.batch_size)]
    measured = [
        await ctx.step.run(f"batch_{number}", measure_files, request.folder, batch, request.pace, request.log)
        for number, batch in enumerate(batches)
    ]
    return add_up(request.name, measured)


def approval_topic(execution_id: str) -> str:
    """Where the approval of one execution is published: `{"approved": bool, "by": str}`."""
    return f"digest/approval/{execution_id}"


# ---- steps


def find_folders(folder: str, log: str | None = None) -> list[Subfolder]:
    """The subfolders that hold files, and the top itself."""
    note(log)
    root = Path(folder)
    if not root.is_dir():
        raise NotADirectoryError(f"{folder} is not a folder")
    names = [TOP, *sorted(one.name for one in root.iterdir() if one.is_dir() and wanted(one.name))]
    found = [Subfolder(name=name, files=len(files_in(root, name))) for name in names]
    return [one for one in found if one.files]


def list_files(folder: str, name: str, log: str | None = None) -> list[str]:
    """The files of a subfolder, by their paths inside the folder, sorted."""
    note(log)
    return files_in(Path(folder), name)


def measure_files(folder: str, files: list[str], pace: float = 0, log: str | None = None) -> Measured:
    """Hash and count. A file that has gone since it was listed counts as empty."""
    note(log)
    started = time.monotonic()
    total, whole = Measured(name="batch", files=len(files)), hashlib.sha256()
    for name in files:
        try:
            data = (Path(folder) / name).read_bytes()
        except OSError:
            data = b""
        whole.update(name.encode() + b"\0" + hashlib.sha256(data).digest())
        total.bytes += len(data)
        total.lines += data.count(b"\n")
    total.sha256 = whole.hexdigest()
    time.sleep(max(0.0, pace - (time.monotonic() - started)))
    return total


def write_report(path: str, total: Measured, measured: list[Measured], log: str | None = None) -> str:
    """Write the report in one move. Running it again writes the same bytes, so a crash in the middle harms nothing."""
    note(log)
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.{current_step().idempotency_key}")
    draft.write_text(report_text(total, measured), encoding="utf-8")
    draft.replace(target)
    return str(target)


def report_text(total: Measured, measured: list[Measured]) -> str:
    """The report, in Markdown."""
    width = max(len(one.name) for one in [total, *measured])
    lines = [f"# {total.name}", "", f"{total.files:,} files, {total.lines:,} lines, {total.bytes:,} bytes", ""]
    lines += [f"| {'folder':<{width}} |  files |   lines |       bytes | sha256       |"]
    lines += [f"|{'-' * (width + 2)}|-------:|--------:|------------:|--------------|"]
    lines += [
        f"| {one.name:<{width}} | {one.files:>6,} | {one.lines:>7,} | {one.bytes:>11,} | {one.sha256[:12]} |"
        for one in sorted(measured, key=lambda one: -one.bytes)
    ]
    return "\n".join([*lines, "", f"sha256 of it all: {total.sha256}", ""])


# ---- plain functions


def add_up(name: str, parts: list[Measured]) -> Measured:
    """The sum of parts, in their order."""
    whole = hashlib.sha256("".join(one.sha256 for one in parts).encode())
    return Measured(
        name=name,
        files=sum(one.files for one in parts),
        bytes=sum(one.bytes for one in parts),
        lines=sum(one.lines for one in parts),
        sha256=whole.hexdigest(),
    )


def files_in(root: Path, name: str) -> list[str]:
    """Regular files below `root / name`, without hidden and generated ones; of the top only those directly in it."""
    found: list[str] = []
    for folder, folders, files in os.walk(root / name):
        folders[:] = [] if name == TOP else sorted(one for one in folders if wanted(one))
        paths = (Path(folder) / one for one in files if wanted(one))
        found += [path.relative_to(root).as_posix() for path in paths if path.is_file() and not path.is_symlink()]
    return sorted(found)


def wanted(name: str) -> bool:
    return not name.startswith(".") and name not in SKIPPED and not name.endswith(".egg-info")


def note(log: str | None) -> None:
    """Append this attempt's idempotency key to a log, so that a test can see what ran twice."""
    if log is not None:
        with open(log, "a", encoding="utf-8") as lines:
            lines.write(f"{current_step().idempotency_key} {current_step().execution_id} {current_step().key}\n")
