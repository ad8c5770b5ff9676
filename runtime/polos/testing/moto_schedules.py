"""What EventBridge Scheduler does and moto does not: firing. One-time schedules delete themselves when they have fired.

The ticks of recurring schedules are those of `polos.core.cron`, for the schedules that the runtime's own listing finds
(Scheduler's reading of its expressions is compared with it elsewhere). Nothing fires late, and nothing twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from moto.scheduler.models import scheduler_backends

from polos.aws.recurrences import PREFIX, SCHEDULED_TIME, SchedulerRecurrences, tick_input
from polos.aws.wire import to_json
from polos.core.cron import parse
from polos.ports import Recurring
from polos.testing.harness import Upcoming
from polos.testing.moto_account import ACCOUNT, MotoAccount
from polos.testing.moto_template import REGION


class MotoSchedules:
    """The schedules of one account. Not thread-safe."""

    def __init__(self, account: MotoAccount) -> None:
        self._account = account
        self._recurrences = SchedulerRecurrences(account.aws, account.settings)
        self._seen: object = None
        self._fired: dict[Recurring, datetime] = {}

    def fire_due(self) -> None:
        """Send what everything that is due now has to send."""
        now = self._account.clock.now()
        for name, at, schedule in list(self._once()):
            if at <= now:
                self._send(schedule.target["Arn"], schedule.target["Input"], at)
                self._group().pop(name, None)
        for schedule, fired in list(self._recurring().items()):
            if not schedule.paused:
                for tick in parse(schedule.cron, schedule.timezone).ticks(fired, max(fired, now)):
                    self._tick(schedule, tick)
            self._fired[schedule] = max(fired, now)

    def upcoming(self) -> list[Upcoming]:
        """The next tick of each recurring schedule that is not paused."""
        return [
            Upcoming(f"tick {one.workflow_id}", one.key, due, partial(self._fire, one, due))
            for one, fired in self._recurring().items()
            if not one.paused
            for due in [parse(one.cron, one.timezone).next_after(fired)]
        ]

    def _fire(self, schedule: Recurring, due: datetime) -> None:
        self._tick(schedule, due)
        self._fired[schedule] = due

    def _tick(self, schedule: Recurring, at: datetime) -> None:
        self._send(self._account.settings.events_queue_arn, to_json(tick_input(schedule)), at)

    def next_due(self) -> datetime | None:
        """When the next one fires."""
        dues = [at for _, at, _ in self._once()]
        for schedule, fired in self._recurring().items():
            if not schedule.paused:
                dues.append(parse(schedule.cron, schedule.timezone).next_after(fired))
        return min(dues, default=None)

    def _group(self) -> dict[str, Any]:
        backend: Any = scheduler_backends[ACCOUNT][REGION]
        return backend.schedule_groups[self._account.settings.schedule_group].schedules

    def _once(self) -> Iterator[tuple[str, datetime, Any]]:
        for name, schedule in list(self._group().items()):
            expression = schedule.schedule_expression
            if expression.startswith("at("):
                yield name, datetime.fromisoformat(expression[3:-1]).replace(tzinfo=UTC), schedule

    def _recurring(self) -> dict[Recurring, datetime]:
        """Each recurring schedule, and until when it has fired: a new or changed one begins now."""
        seen = {
            (name, one.last_modified_date, one.state) for name, one in self._group().items() if name.startswith(PREFIX)
        }
        if seen != self._seen:
            self._seen = seen
            now = self._account.clock.now()
            before = {replace(one, paused=False): (one.paused, fired) for one, fired in self._fired.items()}
            self._fired = {}
            for one in self._recurrences.list():
                if not one.cron:
                    continue  # half made
                paused, fired = before.get(replace(one, paused=False), (one.paused, now))
                self._fired[one] = now if paused else fired
        return self._fired

    def _send(self, queue_arn: str, text: str, at: datetime) -> None:
        account = self._account
        url = next(url for url in account.queue_urls.values() if url.rpartition("/")[2] == queue_arn.rpartition(":")[2])
        body = text.replace(SCHEDULED_TIME, f"{at:%Y-%m-%dT%H:%M:%SZ}")
        json.loads(body)
        account.aws.sqs.send_message(QueueUrl=url, MessageBody=body)
